"""How a plan is shown: a table with what causes something before what follows from it, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dagster_project.instance.status import Standing
from robot_assets.cli.console import console
from robot_assets.lineage.plan import Cost, Step, costs
from robot_assets.lineage.staleness import State

_STYLES = {State.STALE: "bold yellow", State.MISSING: "bold", State.BEHIND: "dim", State.GATE_FAILED: "bold red"}


def as_json(standing: Standing, steps: Sequence[Step]) -> dict[str, Any]:
    return {
        "fresh": [name for name, status in standing.found.items() if status.is_fresh],
        "plan": {step.asset: step.as_json() for step in steps},
        "cost": {pool: cost.as_json() for pool, cost in costs(steps).items()},
    }


def print_plan(standing: Standing, steps: Sequence[Step]) -> None:
    from rich.table import Table

    if not steps:
        print(f"everything is fresh ({len(standing.found)} assets)")
        return
    table = Table("asset", "state", "why", "where", "starts", "expected", box=None, header_style="bold", pad_edge=False)
    for step in steps:
        why = "; ".join(step.causes) or f"after {', '.join(step.after)}"
        row = (step.asset, str(step.state), why, step.pool, _starter(step), _expected(step.expected_s))
        table.add_row(*row, style=_STYLES.get(step.state, ""))
    console().print(table, highlight=False)
    print()
    for pool, cost in costs(steps).items():
        print(f"{pool}: {_total(cost)}")
    certain = sum(step.is_certain for step in steps)
    print(f"{certain} to rebuild, {len(steps) - certain} may follow, {len(standing.found) - len(steps)} fresh")


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
