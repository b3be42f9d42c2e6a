"""``robot-assets fleet pause|resume|abort|approve|pin``: orders of people to a rollout.

An order is a line of params.yaml, which is committed like any other change; the rollout step carries it out.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from robot_assets.cli import completion
from robot_assets.cli.console import JsonOption, answer, console
from robot_assets.core.errors import ParamsError
from robot_assets.core.text import escaped, listed, near_misses, plural
from robot_assets.pipeline import names
from robot_assets.pipeline.project import Project, find_project

if TYPE_CHECKING:
    from rich.text import Text

    from robot_assets.fleet.orders import Order
    from robot_assets.fleet.status import GroupStatus
    from robot_assets.fleet.view import FleetView
    from robot_assets.pipeline.params_file import Line

GroupArgument = Annotated[
    str, typer.Argument(metavar="GROUP", help="Of robots.", autocompletion=completion.groups, show_default=False)
]
_NAMED_AT_MOST = 8


def pause(group: GroupArgument, as_json: JsonOption = False) -> None:
    """No further robot of GROUP gets the release; those that have it go on with it.

    Example: robot-assets fleet pause outdoor
    """
    from robot_assets.fleet import orders

    project = project_with(group, "pause")
    give_order(project, orders.pause(group), [group], f"Pause {group}", as_json)


def resume(group: GroupArgument, as_json: JsonOption = False) -> None:
    """The rollout of GROUP goes on after a pause.

    Example: robot-assets fleet resume outdoor
    """
    from robot_assets.fleet import orders

    project = project_with(group, "resume")
    give_order(project, orders.resume(group), [group], f"Resume {group}", as_json)


def pin(
    group: GroupArgument,
    version: Annotated[str, typer.Argument(metavar="VERSION", help="First digits of a published release, or latest.")],
    as_json: JsonOption = False,
) -> None:
    """GROUP runs one release until it is pinned to another one, or to latest.

    Example: robot-assets fleet pin outdoor 0f3c5a7d
    """
    from robot_assets.fleet import orders

    project = project_with(group, "pin", version)
    if version == orders.LATEST:
        order, message = orders.pin(group, version), f"{group} runs the latest release"
    else:
        release = _pinnable(view_of(project), group, version)
        order, message = orders.pin(group, release), f"Pin {group} to {short(release)}"
    give_order(project, order, [group], message, as_json, _if_paused(project, group))


def abort(group: GroupArgument, as_json: JsonOption = False) -> None:
    """Pin GROUP to the release that most of its robots ran before the present one.

    Example: robot-assets fleet abort outdoor
    """
    from robot_assets.fleet import orders

    project = project_with(group, "abort")
    release = _release_before(view_of(project), group)
    message = f"Abort: {group} back to {short(release)}"
    give_order(project, orders.pin(group, release), [group], message, as_json, _if_paused(project, group))


def approve(
    group: GroupArgument,
    batch: Annotated[
        int | None, typer.Option("--batch", min=1, help="Highest batch that may begin; by default the next one.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """The next batch of the present release of GROUP may begin.

    Example: robot-assets fleet approve outdoor --batch 3
    """
    from robot_assets.fleet import orders
    from robot_assets.fleet.status import group_status, require_repository

    project = project_with(group, "approve")
    view = view_of(project)
    require_repository(view)
    release, number = _approvable(group_status(view, group, datetime.now(UTC)), batch)
    message = f"Approve batch {number} of {short(release)} for {group}"
    order = orders.approve(group, release, number)
    give_order(project, order, [group], message, as_json, _if_paused(project, group))


def project_with(group: str, verb: str, *rest: str) -> Project:
    """The project, whose params.yaml has ``group``."""
    project = find_project()
    known = project.params.fleet.groups
    if not known:
        raise no_groups()
    if group not in known:
        near = near_misses(group, known) or list(known)[:1]
        raise ParamsError(
            f"params.yaml has no group {group!r}",
            needed=f"one of: {listed(known)}",
            fix=shlex.join(["robot-assets", "fleet", verb, near[0], *rest]),
        )
    return project


def no_groups() -> ParamsError:
    """The error of a project without a fleet."""
    return ParamsError(
        "params.yaml describes no group of robots",
        needed="an entry of fleet.groups",
        fix="edit params.yaml: fleet: {groups: {GROUP: {robots: [ROBOT], target: TARGET, models: [MODEL]}}}",
    )


def view_of(project: Project) -> FleetView:
    """One look at the fleet of a project."""
    from robot_assets.fleet.view import FleetView
    from robot_assets.pipeline.kinds.fleet import MEMO

    return FleetView(project.root, project.params.fleet, project.state / MEMO)


def give_order(
    project: Project, order: Order, groups: Sequence[str], message: str, as_json: bool, said: Sequence[str] = ()
) -> None:
    """Print ``said``, write an order, and print what changed and what happens next."""
    from robot_assets.pipeline.params_file import give

    if not as_json:
        say_all(said)
    lines = give(project, order)
    following = _next(project, groups, message) if lines else []
    facts = {
        "changed": bool(lines),
        "place": order.place,
        "lines": [{"line": line.number, "sign": line.sign, "text": line.text} for line in lines],
        "next": following,
        "notes": list(said),
    }
    answer(facts, as_json, lambda: _print_given(project, order, lines, following))


def _if_paused(project: Project, group: str) -> list[str]:
    """What an order that moves robots needs in a group that is paused."""
    if not project.params.fleet.groups[group].paused:
        return []
    return [f"{group} is paused: no robot moves before robot-assets fleet resume {group}"]


def _next(project: Project, groups: Sequence[str], message: str) -> list[str]:
    """What carries the order out, as commands with remarks."""
    is_manual = project.params.rebuild.policy.get("rollout") == "manual"
    by_itself = "" if is_manual else "   # now; the sensor does it by itself"
    builds = [f"robot-assets build {names.rollout(group)}{by_itself}" for group in groups]
    return [f"git commit -m {shlex.quote(message)} params.yaml", *builds]


def _print_given(project: Project, order: Order, lines: Sequence[Line], following: Sequence[str]) -> None:
    from robot_assets.core.paths import shown_path
    from robot_assets.core.yaml_edits import flow

    if not lines:
        say(f"{order.place} is {flow(order.value)} already; nothing was changed")
        return

    say(f"{shown_path(project.root / 'params.yaml')}:{lines[0].number}")
    for line in lines:
        console().print(
            outside_text(f"{line.sign} {line.text}", "green" if line.sign == "+" else "red"), soft_wrap=True
        )
    say("next:")
    for one in following:
        say(f"  {one}")


def _pinnable(view: FleetView, group: str, version: str) -> str:
    """The published release that ``version`` names.

    Raises:
        FleetError: There is none, several begin so, or it is recalled.
    """
    from robot_assets.fleet.errors import FleetError
    from robot_assets.fleet.status import recall_of, require_repository, resolve_release

    require_repository(view)
    release = resolve_release(group, version, view.releases(group))
    if found := recall_of(view, group, release):
        raise FleetError(
            f"the release {short(release)} is recalled with its {found[1].what}: {found[0].reason}",
            needed="a release that is not recalled",
            fix=f"robot-assets fleet recall {found[0].hash} --undo   # or pin another release",
        )
    return release


def _release_before(view: FleetView, group: str) -> str:
    """The release that most robots of a group run or have proven, and that is not the present one.

    Raises:
        FleetError: There is none that the robots can still install.
    """
    from robot_assets.fleet.errors import FleetError
    from robot_assets.fleet.status import desired_release, recall_of, require_repository

    require_repository(view)
    present, released = desired_release(view, group), view.releases(group)
    reports = [one.report for one in view.reports(group).received.values()]
    possible = {one for one in released if one != present and recall_of(view, group, one) is None}
    running = Counter(report.running for report in reports if report.running in possible)
    proven = Counter(one for report in reports for one in report.proven if one in possible)
    counted = running or proven
    if counted:
        return max(counted, key=lambda one: (counted[one], -released.index(one)))
    others = sorted(possible, key=released.index)
    fix = f"robot-assets fleet pin {group} {short(others[0])}" if others else f"robot-assets fleet pause {group}"
    raise FleetError(
        f"no robot of {group} reports another release than {short(present)} that it could go back to",
        needed="a published release that a robot runs or has proven",
        fix=fix,
    )


def _approvable(found: GroupStatus, batch: int | None) -> tuple[str, int]:
    """The release and the batch to approve.

    Raises:
        FleetError: There is nothing to approve, or no such batch.
    """
    from robot_assets.fleet.errors import FleetError
    from robot_assets.fleet.rollout import Phase

    decision, group = found.decision, found.group
    if not found.spec.rollout.approval:
        raise FleetError(
            f"batches of {group} need no approval: each begins when the one before has succeeded",
            needed="approval: true under rollout of the group",
            fix=f"edit params.yaml: write in fleet.groups.{group}.rollout: approval: true   # or: robot-assets fleet "
            f"pause {group}",
        )
    if decision.release is None or decision.batches == 0:
        raise FleetError(
            f"nothing of {group} is to be approved: {decision.why}",
            needed="a release that is rolled out",
            fix=f"robot-assets fleet status {group}",
        )
    if batch is None and decision.phase is not Phase.APPROVAL:
        raise FleetError(
            f"{group} does not wait for approval, it is {decision.phase}: {decision.why}",
            needed="a batch that has succeeded and is not the last one, or --batch",
            fix=f"robot-assets fleet approve {group} --batch {min(decision.batch + 1, decision.batches)}",
        )
    number = decision.batch + 1 if batch is None else batch
    if number > decision.batches:
        raise FleetError(
            f"the rollout of {group} has {plural(decision.batches, 'batch', 'batches')}, not {number}",
            needed=f"a batch from 1 to {decision.batches}",
            fix=f"robot-assets fleet approve {group} --batch {decision.batches}",
        )
    return decision.release, number


def outside_text(text: str, style: str = "") -> Text:
    """Text from outside without markup and control characters."""
    from rich.text import Text

    return Text(escaped(text), style)


def short(version: str | None) -> str:
    """The first digits of a version."""
    from robot_assets.fleet.status import short as shortened

    return shortened(version)


def say_all(lines: Sequence[str]) -> None:
    """Print lines."""
    for line in lines:
        say(line)


def say(text: str) -> None:
    """Print a line, which is not cut to the width of the terminal."""
    console().print(escaped(text), highlight=False, markup=False, soft_wrap=True)
