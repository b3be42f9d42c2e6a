"""``robot-assets plan``: what is not fresh and why, what would be rebuilt where, and the expected time."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dagster_project.commands.records import print_records
from robot_assets.cli import completion
from robot_assets.cli.console import JsonOption, answer
from robot_assets.core.extras import require
from robot_assets.core.text import plural
from robot_assets.pipeline.project import find_project

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagster_project.instance.status import ProjectStatus
    from robot_assets.lineage.plan import Cost, Step

_STYLES = {"stale": "bold yellow", "missing": "bold", "behind": "dim", "gate failed": "bold red"}
_GATES_ONLY = ("gate pending", "gate failed")
_TRIGGERS = {"auto": "automatic", "manual": "manual"}


def plan(
    selection: Annotated[
        list[str] | None,
        typer.Argument(help="As for build; none means everything.", autocompletion=completion.selections),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what is not fresh, why, what would be rebuilt where, and the expected cost. Exit code 2 when something is.

    Example: robot-assets plan sidewalk_detector
    """
    require("dagster")
    from dagster_project.local.instance import open_instance

    project = find_project()
    with open_instance(project.root) as instance:
        from dagster_project.definitions import defs
        from dagster_project.instance.selection import select
        from dagster_project.instance.status import observe_and_read

        status = observe_and_read(project, instance, select(project, defs, selection or []))
        steps = status.plan(instance)
    answer(_as_json(status, steps), as_json, lambda: _print_all(status, steps))
    if drift := project.dvc_drift():
        print(drift, file=sys.stderr)
    if steps:
        raise typer.Exit(2)


def _as_json(status: ProjectStatus, steps: Sequence[Step]) -> dict[str, Any]:
    from robot_assets.lineage.plan import costs

    return {
        "fresh": [name for name, found in status.found.items() if found.is_fresh],
        "holes": _holes(status),
        "plan": {step.asset: step.as_json() for step in steps},
        "cost": {pool: cost.as_json() for pool, cost in costs(steps).items()},
    }


def _holes(status: ProjectStatus) -> dict[str, str]:
    """The assets at which the lineage of others ends and should not, with the reason."""
    from robot_assets.pipeline.graph import traits

    return {name: hole for name in status.found if (hole := traits(name).hole)}


def _print_all(status: ProjectStatus, steps: Sequence[Step]) -> None:
    _print(status, steps)
    for name, hole in _holes(status).items():
        print(f"hole in the lineage: {name} was {hole}")


def _print(status: ProjectStatus, steps: Sequence[Step]) -> None:
    from robot_assets.lineage.plan import common_causes

    if not steps:
        print(f"everything is fresh ({plural(len(status.found), 'asset')})")
        return
    common = common_causes(steps)
    folded = {name for cause in common for name in cause.assets}
    _print_steps([step for step in steps if step.asset not in folded], status)
    for cause in common:
        print(cause)
    print()
    built = [step for step in steps if not status.graph[step.asset].is_observed]
    _print_times(built)
    certain = sum(step.is_certain for step in built)
    observed = f", {len(steps) - len(built)} to observe" if len(built) < len(steps) else ""
    fresh = len(status.found) - len(steps)
    print(f"{certain} to build, {len(built) - certain} may follow{observed}, {fresh} fresh")


def _print_steps(steps: Sequence[Step], status: ProjectStatus) -> None:
    """What causes something before what follows from it."""
    if steps:
        print_records(
            ("asset", "state", "why", "where", "trigger", "expected"),
            [
                (step.asset, str(step.state), _why(step), step.pool, _trigger(step, status), _expected(step, status))
                for step in steps
            ],
            [_STYLES.get(step.state, "") for step in steps],
        )


def _trigger(step: Step, status: ProjectStatus) -> str:
    return "observed" if status.graph[step.asset].is_observed else _TRIGGERS[step.policy]


def _why(step: Step) -> str:
    return "; ".join(step.causes) or f"after {', '.join(step.after)}"


def _expected(step: Step, status: ProjectStatus) -> str:
    if status.graph[step.asset].is_observed:
        return "-"
    if step.state in _GATES_ONLY:
        return "gates only"
    return "unknown" if step.expected_s is None else _span(step.expected_s)


def _span(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 1 else "under 1 s"
    return f"{seconds / 60:.0f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def _print_times(built: Sequence[Step]) -> None:
    """The expected time on each pool of nodes."""
    from robot_assets.lineage.plan import costs

    for pool, cost in costs(built).items():
        print(f"{pool}: {_time(cost)}")


def _time(cost: Cost) -> str:
    parts = [f"{_span(cost.certain_s)} expected"] if cost.certain_s else []
    if cost.at_most_s > cost.certain_s:
        parts.append(f"at most {_span(cost.at_most_s)} with what may follow")
    if cost.unknown:
        parts.append(f"time unknown for {plural(cost.unknown, 'asset')} without an earlier build")
    return ", ".join(parts) or "gates only"
