"""``robot-assets plan``: what is not fresh and why, what would be rebuilt where, and the expected time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from robot_assets.cli import completion
from robot_assets.cli.console import JsonOption, answer, console
from robot_assets.core.extras import require
from robot_assets.core.text import plural
from robot_assets.pipeline.project import find_project

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagster_project.instance.status import ProjectStatus
    from robot_assets.lineage.plan import Cost, Step

_STYLES = {"stale": "bold yellow", "missing": "bold", "behind": "dim", "gate failed": "bold red"}


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
    answer(_as_json(status, steps), as_json, lambda: _print(status, steps))
    if steps:
        raise typer.Exit(2)


def _as_json(status: ProjectStatus, steps: Sequence[Step]) -> dict[str, Any]:
    from robot_assets.lineage.plan import costs

    return {
        "fresh": [name for name, found in status.found.items() if found.is_fresh],
        "plan": {step.asset: step.as_json() for step in steps},
        "cost": {pool: cost.as_json() for pool, cost in costs(steps).items()},
    }


def _print(status: ProjectStatus, steps: Sequence[Step]) -> None:
    from robot_assets.lineage.plan import common_causes, costs

    if not steps:
        print(f"everything is fresh ({plural(len(status.found), 'asset')})")
        return
    common = common_causes(steps)
    folded = {name for cause in common for name in cause.assets}
    _print_table([step for step in steps if step.asset not in folded])
    for cause in common:
        print(cause)
    print()
    for pool, cost in costs(steps).items():
        print(f"{pool}: {_total(cost)}")
    certain = sum(step.is_certain for step in steps)
    print(f"{certain} to rebuild, {len(steps) - certain} may follow, {len(status.found) - len(steps)} fresh")


def _print_table(steps: Sequence[Step]) -> None:
    """What causes something before what follows from it."""
    from rich.table import Table

    if not steps:
        return
    table = Table("asset", "state", "why", "where", "starts", "expected", box=None, header_style="bold", pad_edge=False)
    for step in steps:
        why = "; ".join(step.causes) or f"after {', '.join(step.after)}"
        row = (step.asset, str(step.state), why, step.pool, _starter(step), _expected(step.expected_s))
        table.add_row(*row, style=_STYLES.get(step.state, ""))
    console().print(table, highlight=False)


def _starter(step: Step) -> str:
    return "by itself" if step.policy == "auto" else "a person"


def _expected(seconds: float | None) -> str:
    if seconds is None:
        return "unknown"
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def _total(cost: Cost) -> str:
    more = f", at most {_expected(cost.at_most_s)} with what may follow" if cost.at_most_s > cost.certain_s else ""
    unknown = f", {cost.unknown} never built before" if cost.unknown else ""
    return f"{_expected(cost.certain_s)} expected{more}{unknown}"
