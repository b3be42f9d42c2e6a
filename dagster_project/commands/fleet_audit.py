"""``robot-assets audit`` of a robot, and of the assets of a group: which releases its robots run."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from robot_assets.core.errors import RobotAssetsError
from robot_assets.core.text import escaped, listed, near_misses, plural
from robot_assets.pipeline import names

if TYPE_CHECKING:
    from rich.console import RenderableType

    from robot_assets.fleet.reports import Received
    from robot_assets.fleet.view import FleetView, Running
    from robot_assets.lineage.audit import History
    from robot_assets.pipeline.project import Project

_OF_GROUP = (names.FLEET, names.ROLLOUT, names.RELEASE)
_NAMED_AT_MOST = 6


@dataclass(frozen=True)
class Subject:
    """What is known of a robot or a group, beside the chain of an asset.

    Attributes:
        asset: Whose chain is to be shown.
        version: Its data version; None: there is no chain.
        lines: Facts for people: a label and a text each.
        table: Titles and rows; no rows where there is no table.
        facts: The same for machines, below ``key``.
        key: ``robot`` or ``fleet``.
        note: What is not known; empty where all is.
        is_complete: Whether what was asked for is known all the same.
    """

    asset: str
    version: str | None
    key: str
    facts: Mapping[str, Any]
    lines: tuple[tuple[str, str], ...] = ()
    table: tuple[tuple[str, ...], ...] = ()
    note: str = ""
    is_complete: bool = True

    def rendered(self) -> RenderableType:
        """For a terminal or a pipe: the table, the lines and a blank line; nothing where there is neither."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        parts: list[RenderableType] = []
        if self.table:
            table = Table(box=None, pad_edge=False)
            for title in self.table[0]:
                table.add_column(title, header_style="dim", overflow="fold")
            for row in self.table[1:]:
                table.add_row(*(Text(escaped(text)) for text in row))
            parts.append(table)
        if self.lines:
            grid = Table.grid(padding=(0, 2))
            for row in self.lines:
                grid.add_row(*(Text(escaped(text)) for text in row))
            parts += [grid, Text()]
        return Group(*parts)


def subject_of(project: Project, what: str, history: History) -> Subject | None:
    """What is known of ``what``, where it is an asset of a group or an enrolled robot; None for everything else.

    An asset comes before a robot of the same name.

    Raises:
        RobotAssetsError: ``what`` is a robot, and its reports cannot be read.
    """
    from robot_assets.fleet.view import FleetView
    from robot_assets.pipeline.kinds.fleet import MEMO

    fleet = project.params.fleet
    view = FleetView(project.root, fleet, project.state / MEMO)
    group = next((found.group for pattern in _OF_GROUP if (found := pattern.parse(what))), None)
    if group is not None:
        return _of_group(view, group, what, history) if group in fleet.groups else None
    if what not in view.keys or history.latest_version(what) is not None:
        return None
    return _of_robot(view, _group_of(view, what), what, history)


def near_robots(project: Project, what: str) -> list[str]:
    """Enrolled robots whose names are most like ``what``."""
    from robot_assets.fleet.desired import enrolled_keys

    return near_misses(what, enrolled_keys(project.root))


def _group_of(view: FleetView, robot: str) -> str:
    """The group of an enrolled robot.

    Raises:
        FleetError: It is in none.
    """
    from robot_assets.fleet.errors import FleetError

    for group in view.fleet.groups:
        with suppress(FleetError):  # a group that has mistakes is not that of this robot
            if robot in view.robots(group):
                return group
    raise FleetError(
        f"{robot} is enrolled, and in no group",
        needed=f"{robot} among the robots of a group in params.yaml",
        fix=f"edit params.yaml: add {robot} to fleet.groups.GROUP.robots",
    )


def _of_robot(view: FleetView, group: str, robot: str, history: History) -> Subject:
    from robot_assets.fleet.errors import FleetError
    from robot_assets.fleet.status import require_repository

    require_repository(view)
    asset = names.release(group)
    reports = view.reports(group)
    received = reports.received.get(robot)
    if received is None:
        raise FleetError(
            f"{robot} of {group} has never sent a report" + _refusal(reports.refused, robot),
            needed="a report, which names the release that it runs",
            fix="robot-assets agent status   # on the robot",
        )
    report = received.report
    is_known = report.running is not None and bool(history.materializations(asset, report.running))
    facts = {
        "robot": robot,
        "group": group,
        "received_at": received.received_at.isoformat(timespec="seconds"),
        "report": report.model_dump(mode="json"),
        "made_of": [asdict(part) for part in _parts(view, group, report.running)] if not is_known else [],
    }
    note = "" if is_known else _unknown(view, robot, group, report.running)
    return Subject(
        asset, report.running if is_known else None, "robot", facts, tuple(_lines(received, asset)), note=note
    )


def _lines(received: Received, asset: str) -> Sequence[tuple[str, str]]:
    from robot_assets.lineage.report.phrases import short, span, when

    report = received.report
    running = f"{asset} {short(report.running)}" if report.running else "no release"
    lines = [
        (report.robot, f"a robot of {report.group}, agent {report.agent or 'of an unknown version'}"),
        ("runs", f"{running}, {report.state.value}"),
        ("healthy for", span(report.healthy_s)),
        ("last report", when(received.received_at.isoformat())),
    ]
    lines += [("why", report.why)] if report.why else []
    return [*lines, *(("failed", f"{short(one.release)}: {one.reason}") for one in report.failed)]


def _unknown(view: FleetView, robot: str, group: str, release: str | None) -> str:
    """Why there is no chain."""
    from robot_assets.lineage.report.phrases import short

    if release is None:
        return f"{robot} runs no release"
    found = [f"{part.what} {part.digest[:12]}" for part in _parts(view, group, release)]
    made_of = f"; by the statements in the repository it is made of {listed(found, 12)}" if found else ""
    return f"{robot} runs a release that this history does not have, {short(release)}{made_of}"


def _parts(view: FleetView, group: str, release: str | None) -> Sequence[Any]:
    return (view.parts(group, release) if release else None) or ()


def _refusal(refused: Mapping[str, str], robot: str) -> str:
    why = refused.get(f"{robot}.json")
    return f" that counts: {why}" if why else ""


def _of_group(view: FleetView, group: str, asset: str, history: History) -> Subject:
    """The releases that the robots of a group run; a note where reports cannot be read."""
    version = history.latest_version(asset)
    try:
        running = view.running(group) if view.exists else None
        why = f"there is no distribution repository at {view.repository.files.name}" if running is None else ""
    except RobotAssetsError as error:
        running, why = None, error.found
    if running is None:
        return Subject(asset, version, "fleet", {"group": group, "releases": None}, note=f"no report was read: {why}")
    return _of_running(running, group, asset, history)


def _of_running(running: Sequence[Running], group: str, asset: str, history: History) -> Subject:
    release = names.release(group)
    latest = history.latest_version(release)
    of_release: dict[str | None, list[str]] = {}
    for one in running:
        of_release.setdefault(one.release, []).append(one.robot)
    known = {one for one in of_release if one and history.materializations(release, one)}
    order = sorted(of_release, key=lambda one: (one is None, one != latest, -len(of_release[one]), one or ""))
    silent = [one.robot for one in running if one.received_at is None]
    releases = [
        {"version": one, "is_latest": one == latest, "is_known": one in known, "robots": of_release[one]}
        for one in order
        if one is not None
    ]
    serving_none = [robot for robot in of_release.get(None, ()) if robot not in silent]
    facts = {"group": group, "releases": releases, "no_release": serving_none, "never_reported": silent}
    rows = [row for one in order for row in _rows(one, of_release[one], silent, latest, known)]
    summary = (group, f"{plural(len(running), 'robot')}, {plural(len(releases), 'release')}")
    chains = [("chain of one", f"robot-assets audit {one}") for one in order if one in known and one != latest]
    lost = sum(not one["is_known"] for one in releases)
    note = f"{plural(lost, 'release')} of these {'is' if lost == 1 else 'are'} not in this history" if lost else ""
    table = (("release", "", "robots", ""), *rows)
    latest_of_asset = history.latest_version(asset)
    return Subject(asset, latest_of_asset, "fleet", facts, (summary, *chains), table, note=note, is_complete=not lost)


def _rows(
    release: str | None, robots: Sequence[str], silent: Sequence[str], latest: str | None, known: Collection[str | None]
) -> list[tuple[str, ...]]:
    """The row of a release; robots without one are those that serve none, and those that never reported."""
    from robot_assets.lineage.report.phrases import short

    if release is None:
        serving_none = [robot for robot in robots if robot not in silent]
        found = (("none", "", serving_none), ("unknown", "never reported", list(silent)))
        return [(name, remark, str(len(of)), listed(of, _NAMED_AT_MOST)) for name, remark, of in found if of]
    remark = "latest" if release == latest else "older" if release in known else "unknown: not in this history"
    return [(short(release), remark, str(len(robots)), listed(robots, _NAMED_AT_MOST))]
