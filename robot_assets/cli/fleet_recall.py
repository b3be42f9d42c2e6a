"""``robot-assets fleet recall``: nothing that is made of a hash runs on a robot any more."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from robot_assets.cli.console import JsonOption, answer
from robot_assets.cli.fleet_orders import give_order, no_groups, say_all, short, view_of
from robot_assets.cli.usage import CommandLineError
from robot_assets.core.errors import ParamsError, RobotAssetsError
from robot_assets.core.text import escaped, listed, plural
from robot_assets.pipeline.project import Project, find_project

if TYPE_CHECKING:
    from robot_assets.fleet.exposure import Exposure
    from robot_assets.fleet.view import FleetView

_NAMED_AT_MOST = 8


def recall(
    digest: Annotated[
        str,
        typer.Argument(
            metavar="HASH",
            help="First digits, at least 8, of a data version, a code version, a file's sha256 or a commit, or a key.",
        ),
    ],
    reason: Annotated[str | None, typer.Option(help="Why, for the people who see it on a robot.")] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Withdraw the recall.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Recall HASH: robots stop running what is made of it. Each decides offline, by the statements beside its engines.

    Example: robot-assets fleet recall 4e33282f --reason "cones labeled as pedestrians"
    """
    project = find_project()
    if not project.params.fleet.groups:
        raise no_groups()
    if undo:
        _withdraw(project, digest, as_json)
    else:
        _recall(project, digest, _required_reason(digest, reason), as_json)


def _required_reason(digest: str, reason: str | None) -> str:
    words = escaped(" ".join((reason or "").split()))
    if words:
        return words
    raise CommandLineError(
        "no --reason" if reason is None else "an empty --reason",
        needed="why it is recalled, for the people who see it on a robot",
        fix=f"robot-assets fleet recall {shlex.quote(digest)} --reason 'mislabeled recording'",
    )


def _recall(project: Project, typed: str, reason: str, as_json: bool) -> None:
    from robot_assets.fleet import orders

    digest, view = _normalized(project, typed), view_of(project)
    found, said = _exposed(project, view, digest)
    digest = _whole(digest, found) if found else digest
    recalls = view.fleet.recalls
    same = next((one for one in recalls if one.hash == digest), None)
    if same is not None:
        said = [*said, f"{digest[:16]} is recalled already: {same.reason}"]
        answer({"changed": False, "notes": said}, as_json, lambda: say_all(said))
        return
    order = orders.recall(digest, reason, [one.model_dump() for one in recalls])
    groups = list(found.groups if found and found.groups else view.fleet.groups)
    give_order(project, order, groups, f"Recall {digest[:16]}: {reason}", as_json, said)


def _withdraw(project: Project, typed: str, as_json: bool) -> None:
    from robot_assets.fleet import orders
    from robot_assets.fleet.recall import bare

    recalls = project.params.fleet.recalls
    wanted = typed.strip() if typed.strip().startswith("ed25519:") else bare(typed)
    matching = [number for number, one in enumerate(recalls) if wanted and one.hash.startswith(wanted)]
    if len(matching) != 1:
        known = listed(f"{one.hash[:16]} ({one.reason})" for one in recalls)
        raise ParamsError(
            f"fleet.recalls has {'no entry' if not matching else f'{len(matching)} entries'} that begin"
            f"{'s' if not matching else ''} with {typed}",
            needed=f"one of: {known}" if recalls else "a recall; there is none",
            fix=f"robot-assets fleet recall {recalls[0].hash} --undo" if recalls else "robot-assets fleet status",
        )
    [index] = matching
    order = orders.withdraw(index, [one.model_dump() for one in recalls])
    message = f"Withdraw the recall of {recalls[index].hash[:16]}"
    give_order(project, order, list(project.params.fleet.groups), message, as_json)


def _normalized(project: Project, typed: str) -> str:
    """The hash as params.yaml takes it; all of the line of a key.

    Raises:
        CommandLineError: It is no hash.
    """
    from robot_assets.fleet.orders import normalized_hash
    from robot_assets.fleet.recall import KEY_PREFIX, key_id

    try:
        digest = normalized_hash(typed)
    except ValueError as error:
        raise CommandLineError(
            f"{typed!r} is no hash that can be recalled",
            needed=str(error),
            fix="robot-assets audit ASSET   # shows every hash of an asset's chain",
        ) from None
    if not digest.startswith(KEY_PREFIX) or key_id(digest) is not None:
        return digest
    near = [str(key) for key in project.trust().keys if str(key).startswith(digest) and digest != KEY_PREFIX]
    if len(near) == 1:
        return near[0]
    raise CommandLineError(
        f"{typed!r} is no public key",
        needed="all of the line, as provenance.trusted_keys has it",
        fix="robot-assets key show   # prints the line of the key of this checkout",
    )


def _exposed(project: Project, view: FleetView, digest: str) -> tuple[Exposure | None, list[str]]:
    """What is made of a hash, and the same as lines. A recall is written even where that cannot be read."""
    from robot_assets.fleet.exposure import exposure
    from robot_assets.fleet.status import require_repository

    built, notes = _built_of(project, digest)
    try:
        require_repository(view)
        found = exposure(view, digest, [version for _, version in built])
    except RobotAssetsError as error:
        return None, [f"warning: what it affects is not known: {error.found}", *notes]
    return found, [*_described(view, digest, found, built), *notes]


def _built_of(project: Project, digest: str) -> tuple[list[tuple[str, str]], list[str]]:
    """Engines and releases of the history that are made of a hash, where the orchestrator is installed; and notes."""
    from robot_assets.cli.plugins import users_of

    search = users_of()
    if search is None:
        return [], ["history of the builds: not searched, pip install 'robot-assets[orchestrator]'"]
    try:
        return search(digest, project.root), []
    except RobotAssetsError as error:
        return [], [f"history of the builds: {error.found}"]


def _described(view: FleetView, digest: str, found: Exposure, built: Sequence[tuple[str, str]]) -> list[str]:
    shown = digest if digest.startswith("ed25519:") else digest[:16]
    if not (found.releases or found.robots or built):
        lines = [f"warning: nothing that is known here is made of {shown}; check its digits"]
    else:
        parts = listed((f"{part.what} {part.digest[:12]}" for part in found.parts), _NAMED_AT_MOST)
        lines = [f"{shown} is {parts}"] if parts else []
    for group in view.fleet.groups:
        lines += _of_group(view, group, found)
    for group, version in found.unseen:
        lines.append(
            f"warning: no statement in release {short(version)} of {group} names it, so that its robots do not see it; "
            f"recall the release as well: robot-assets fleet recall {short(version)} --reason REASON"
        )
    if not found.releases and built:
        lines.append(f"in the history: {listed((f'{asset} {short(version)}' for asset, version in built), 4)}")
    for group, why in found.errors.items():
        lines.append(f"warning: which robots of {group} it affects is not known: {why}")
    if found.unknown:
        robots = listed((f"{one.robot} ({short(one.release)})" for one in found.unknown), _NAMED_AT_MOST)
        lines.append(f"unknown, their releases have no statements here: {robots}; they decide by themselves")
    return lines


def _of_group(view: FleetView, group: str, found: Exposure) -> list[str]:
    releases = [short(version) for of, version in found.releases if of == group]
    robots = [one.robot for one in found.robots if one.group == group]
    if not releases and not robots:
        return []
    lines = [
        f"{group}: {plural(len(releases), 'release')}{f' ({listed(releases, 4)})' if releases else ''}, "
        f"{plural(len(robots), 'robot')}{f' ({listed(robots, _NAMED_AT_MOST)})' if robots else ''}"
    ]
    if group in found.without_release:
        stops = view.fleet.groups[group].rollout.on_recall == "stop"
        effect = "a robot that has no other set stops serving" if stops else "a robot that has no other set keeps it"
        lines.append(f"  no published release of {group} is free of it: {effect} (on_recall)")
    return lines


def _whole(digest: str, found: Exposure) -> str:
    """All digits of what a hash names.

    Raises:
        CommandLineError: It names several things.
    """
    if len(found.parts) > 1:
        things = listed(f"{part.what} {part.digest[:16]}" for part in found.parts)
        raise CommandLineError(
            f"{digest} is the begin of {len(found.parts)} hashes: {things}",
            needed="more digits",
            fix=f"robot-assets fleet recall {found.parts[0].digest} --reason REASON",
        )
    is_key = digest.startswith("ed25519:")
    return found.parts[0].digest if found.parts and not is_key else digest
