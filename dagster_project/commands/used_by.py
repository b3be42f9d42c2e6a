"""``robot-assets audit --used-by``: which engines, releases and robots are made of what a hash names."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_assets.cli.console import console
from robot_assets.core.errors import RobotAssetsError
from robot_assets.core.extras import require
from robot_assets.core.text import escaped, listed, plural
from robot_assets.pipeline.project import Project

if TYPE_CHECKING:
    from robot_assets.fleet.view import FleetView, Running
    from robot_assets.lineage.audit import History
    from robot_assets.lineage.carriers import Key
    from robot_assets.lineage.used_by import Usage, User

_NAMED_AT_MOST = 8


@dataclass(frozen=True)
class _Robots:
    """Robots by what they report.

    Attributes:
        affected: Those that run a release that is made of the hash.
        unknown: Those whose release is neither in the history nor in the repository.
        note: Why robots are not known; empty where all are.
    """

    affected: tuple[Running, ...] = ()
    unknown: tuple[Running, ...] = ()
    note: str = ""


def print_users(project: Project, digest: str, as_json: bool) -> None:
    """Print the engines, releases and robots that are made of what ``digest`` names.

    Raises:
        LineageError: It is no hash, or nothing in the history and in the repository has it.
    """
    from robot_assets.lineage.errors import LineageError
    from robot_assets.lineage.used_by import Usage

    digits = _digits(project, digest)
    try:
        usage, releases = _usage(project, digits)
        robots = _robots(project, digits, usage, releases)
    except LineageError:  # a release of another history, whose statements are in the repository
        usage = Usage((), ())
        robots = _robots(project, digits, usage, frozenset())
        if not robots.affected:
            raise
    if as_json:
        print(json.dumps(_as_json(digest, usage, robots), indent=2, sort_keys=True))
    else:
        _print(digest, usage, robots)


def users_of(digest: str, root: Path) -> list[tuple[str, str]]:
    """Names and versions of what is made of ``digest`` and goes to robots: the entry point ``robot_assets.users``.

    Raises:
        RobotAssetsError: The orchestrator is not installed, it is no hash, or nothing in the history has it.
    """
    require("dagster")
    project = Project(root)
    usage, _ = _usage(project, _digits(project, digest))
    return [(user.asset, user.version) for user in usage.users]


def _usage(project: Project, digits: str) -> tuple[Usage, frozenset[str]]:
    """What the history says, and the versions of all releases in it."""
    from dagster_project.instance.history import InstanceHistory
    from dagster_project.local.instance import open_instance
    from robot_assets.lineage.used_by import used_by

    with open_instance(project.root) as instance:
        history = InstanceHistory(instance)
        usage = used_by(digits, _artifacts(history), history, lambda key: _signers(project, key))
        return usage, frozenset(version for asset, version in history.holders("") if _is_release(asset))


def _digits(project: Project, digest: str) -> str:
    """Digits to look for: of a key, those of its id in signatures.

    Raises:
        LineageError: It is a part of a key, and of no key that is trusted here.
    """
    from robot_assets.fleet.recall import KEY_PREFIX, key_id
    from robot_assets.lineage.errors import LineageError

    if not digest.startswith(KEY_PREFIX):
        return digest
    if (found := key_id(digest)) is not None:
        return found
    near = [key for key in project.trust().keys if str(key).startswith(digest) and digest != KEY_PREFIX]
    if len(near) == 1:
        return near[0].key_id
    raise LineageError(
        f"{digest!r} is no public key",
        needed="all of the line, as provenance.trusted_keys has it, or the first digits of the key's id",
        fix="robot-assets key show   # prints the line of the key of this checkout",
    )


def _artifacts(history: History) -> list[str]:
    """Assets of the history that go to robots: those that are signed, and releases."""
    from robot_assets.pipeline.registry import kind_of

    def is_signed(asset: str) -> bool:
        of = kind_of(asset)
        return of is not None and of[0].production is not None and of[0].production.is_signed

    return [asset for asset in history.assets() if is_signed(asset) or _is_release(asset)]


def _is_release(asset: str) -> bool:
    from robot_assets.pipeline.names import RELEASE

    return RELEASE.parse(asset) is not None


def _signers(project: Project, key: Key) -> list[str]:
    """Ids of the keys that signed a version."""
    asset, version = key
    if _is_release(asset):
        return []
    envelopes = project.store.attestations(version).values()
    return [str(one["keyid"]).lower() for envelope in envelopes for one in json.loads(envelope)["signatures"]]


def _robots(project: Project, digits: str, usage: Usage, releases: frozenset[str]) -> _Robots:
    """The robots that run what is made of ``digits``, by the history and by the statements in the repository."""
    from robot_assets.fleet.view import FleetView
    from robot_assets.pipeline.kinds.fleet import MEMO

    fleet = project.params.fleet
    if not fleet.groups:
        return _Robots(note="params.yaml describes no group of robots")
    view = FleetView(project.root, fleet, project.state / MEMO)
    used = {user.version for user in usage.users}
    affected: list[Running] = []
    unknown: list[Running] = []
    notes = []
    for group in fleet.groups:
        try:
            if not view.exists:
                return _Robots(note=f"there is no distribution repository at {view.repository.files.name}")
            found = [(one, _is_made_of(view, one, digits, used, releases)) for one in view.running(group)]
        except RobotAssetsError as error:
            notes.append(f"{group}: {error.found}")
            continue
        affected += [one for one, is_made_of in found if is_made_of]
        unknown += [one for one, is_made_of in found if is_made_of is None]
    return _Robots(tuple(affected), tuple(unknown), "; ".join(dict.fromkeys(notes)))


def _is_made_of(
    view: FleetView, one: Running, digits: str, used: Collection[str], releases: Collection[str]
) -> bool | None:
    """Whether the release of a robot is made of ``digits``; None where nothing is known of the release."""
    from robot_assets.fleet.recall import match
    from robot_assets.lineage.used_by import DIGITS_MIN

    if one.release is None or one.release in used:
        return one.release is not None
    parts = view.parts(one.group, one.release)
    if parts is None:
        return False if one.release in releases else None
    return match(parts, digits, DIGITS_MIN) is not None


def _as_json(digest: str, usage: Usage, robots: _Robots) -> dict[str, Any]:
    def of(users: Iterator[User]) -> list[dict[str, Any]]:
        return [asdict(user) for user in users]

    return {
        "hash": digest,
        "found": [asdict(origin) for origin in usage.origins],
        "engines": of(user for user in usage.users if not _is_release(user.asset)),
        "releases": of(user for user in usage.users if _is_release(user.asset)),
        "robots": [asdict(one) for one in robots.affected],
        "unknown": [asdict(one) for one in robots.unknown],
        "note": robots.note,
    }


def _print(digest: str, usage: Usage, robots: _Robots) -> None:
    engines = [user for user in usage.users if not _is_release(user.asset)]
    releases = [user for user in usage.users if _is_release(user.asset)]
    meanings = listed((str(origin) for origin in usage.origins), _NAMED_AT_MOST)
    _say(f"{digest.strip()} is {meanings}" if meanings else f"{digest.strip()} is in the statements of a release")
    _print_users("engine", engines)
    _print_users("release", releases)
    if robots.affected:
        rows = [(one.robot, one.group, _short(one.release), one.received_at or "") for one in robots.affected]
        _table(("robot", "group", "runs release", "last report"), rows)
    counts = [plural(len(engines), "engine version"), plural(len(releases), "release version")]
    has_robots = robots.affected or not robots.note
    counts += [plural(len(robots.affected), "robot")] if has_robots else []
    _say(f"made of it: {', '.join(counts[:-1])} and {counts[-1]}")
    if robots.unknown:
        _say(f"unknown: {_unknown(robots.unknown)}")
    if robots.note:
        _say(f"not every robot is known: {robots.note}")


def _unknown(robots: Sequence[Running]) -> str:
    names = listed((f"{one.robot} runs {_short(one.release)}" for one in robots), _NAMED_AT_MOST)
    return f"{names}; neither this history nor the repository has {'it' if len(robots) == 1 else 'these releases'}"


def _print_users(title: str, users: Sequence[User]) -> None:
    if users:
        rows = [
            (one.asset, _short(one.version), "latest" if one.is_latest else "", listed(map(str, one.origins), 2))
            for one in users
        ]
        _table((title, "version", "", "made of"), rows)


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for title in titles:
        table.add_column(title, header_style="dim", overflow="fold")
    for row in rows:
        table.add_row(*(Text(escaped(text)) for text in row))
    console().print(table, highlight=False)


def _short(version: str | None) -> str:
    from robot_assets.lineage.report.phrases import short

    return short(version)


def _say(text: str) -> None:
    console().print(escaped(text), highlight=False, markup=False, soft_wrap=True)
