"""The budgets that engines were judged by, and whether they are as tight as demanded. Light: robots run it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from robot_assets.engines.budgets import BUDGETS

if TYPE_CHECKING:
    from robot_assets.provenance.evidence import GateResults

_AT_LEAST = {
    "latency_ms_p50_max": ("latency_ms_p95_max", "latency_ms_p99_max"),
    "latency_ms_p95_max": ("latency_ms_p99_max",),
}
"""A percentile is at most as large as a higher one, so a budget of that one holds for it, too."""


def judged_budgets(gates: GateResults) -> dict[str, float]:
    """The budgets that an engine was judged by, as the signed results of its gates state them."""
    stated = {name: gates.figures.get(gate, {}).get(name) for gate, names in BUDGETS.items() for name in names}
    return {name: float(value) for name, value in stated.items() if isinstance(value, int | float)}


def looser(budgets: Mapping[str, float], demanded: Mapping[str, float | None]) -> list[str]:
    """Where budgets are looser than demanded: one phrase for each, with both values; empty where none is.

    Args:
        budgets: What an engine was judged by, by the names of ``targets.TARGET.gate``.
        demanded: What it should at least have been judged by, by the same names; None: not demanded.
    """
    given = {name: limit for name, limit in demanded.items() if limit is not None}
    return [phrase for name, limit in given.items() if (phrase := _phrase(name, budgets, limit))]


def tightest(demanded: Mapping[str, float | None], more: Mapping[str, float | None]) -> dict[str, float]:
    """The tighter of two demands for each budget that either has."""
    found: dict[str, float] = {}
    for name, limit in [*demanded.items(), *more.items()]:
        if limit is not None:
            pick = max if name.endswith("_min") else min
            found[name] = pick(found.get(name, limit), limit)
    return found


def _phrase(name: str, budgets: Mapping[str, float], limit: float) -> str:
    """Why the budget ``name`` is looser than ``limit``; empty where it is not."""
    values = [budgets[one] for one in (name, *_AT_LEAST.get(name, ())) if one in budgets]
    if not values:
        return f"it was judged without {name} (demanded: {limit:g})"
    if name.endswith("_min"):
        return f"{name} was {max(values):g} (demanded: {limit:g} or more)" if max(values) < limit else ""
    return f"{name} was {min(values):g} (demanded: {limit:g} or less)" if min(values) > limit else ""
