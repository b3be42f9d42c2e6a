"""``robot-assets fleet status``: the rollout of each group and why it is where it is, and every robot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from robot_assets.cli import completion
from robot_assets.cli.console import JsonOption, answer, console
from robot_assets.cli.fleet_orders import no_groups, outside_text, project_with, say, short, view_of
from robot_assets.pipeline.project import find_project

if TYPE_CHECKING:
    from robot_assets.fleet.status import FleetStatus, GroupStatus
    from robot_assets.fleet.view import FleetView


_ROWS = 200
"""Robots of a group in a table, those first that need attention."""


def status(
    group: Annotated[
        str | None,
        typer.Argument(metavar="GROUP", help="By default all groups.", autocompletion=completion.groups),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the rollout of each group and why it is where it is, and every robot: what it runs, since when, why not.

    Example: robot-assets fleet status outdoor
    """
    from robot_assets.fleet.status import fleet_status

    project = find_project() if group is None else project_with(group, "status")
    groups = [group] if group is not None else list(project.params.fleet.groups)
    if not groups:
        raise no_groups()
    view, now = view_of(project), datetime.now(UTC)
    found = fleet_status(view, groups, now)
    if group is not None and group in found.errors:
        raise found.errors[group]
    answer(_status_as_json(view, found), as_json, lambda: _print_status(view, found, now))
    if found.errors:
        raise typer.Exit(1)


def _status_as_json(view: FleetView, found: FleetStatus) -> dict[str, Any]:
    return {
        "repository": view.repository.files.name,
        "groups": {name: one.as_json() for name, one in found.groups.items()},
        "errors": {name: {"found": error.found, "fix": error.fix} for name, error in found.errors.items()},
        "recalls": [one.model_dump() for one in view.fleet.recalls],
        "expires": {role: expires.isoformat() for role, expires in found.expiries.items()},
        "renew": [one.role for one in found.renewals],
    }


def _print_status(view: FleetView, found: FleetStatus, now: datetime) -> None:
    from robot_assets.fleet.status import until

    for number, one in enumerate(found.groups.values()):
        if number:
            say("")
        _print_group(one)
    for name, error in found.errors.items():
        say(f"{name}: {error.found}\n  fix: {error.fix}")
    for recalled in view.fleet.recalls:
        say(f"recalled: {recalled.hash[:24]}  {recalled.reason}")
    for renewal in found.renewals:
        say(f"metadata of {renewal.role} {until(renewal, now)}: robot-assets fleet keys   # shows how it is renewed")


def _print_group(found: GroupStatus) -> None:
    from robot_assets.fleet.table import left_out, notable

    decision, spec = found.decision, found.spec
    pinned = "" if spec.release == "latest" else ", pinned"
    release = f"release {short(decision.release)}{pinned}" if decision.release else "no release"
    say(f"{found.group}: {decision.phase}, {release}")
    say(f"  {decision.why}")
    for note in found.notes:
        say(f"  {note}")
    columns = ("status", "release", "state", "healthy", "last seen", "why not")
    shown = notable(decision, _ROWS)
    _print_robots(columns, {robot: row for robot, row in found.rows.items() if robot in shown})
    if more := left_out(decision, _ROWS):
        say(f"  {more}; --json has all")
    for name, reason in found.reports.refused.items():
        say(f"  refused report {name}: {reason}")
    for robot, remark in found.reports.remarks.items():
        say(f"  {robot}: {remark}")


def _print_robots(columns: Sequence[str], rows: Mapping[str, Mapping[str, str]]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in ("robot", *columns):
        table.add_column(title, header_style="dim", overflow="fold")
    for robot, row in rows.items():
        table.add_row(*(outside_text(cell) for cell in (robot, *(row[title] for title in columns))))
    console().print(table, highlight=False)
