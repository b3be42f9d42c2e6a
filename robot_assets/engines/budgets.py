"""The budgets of a target, which its engines have to keep before anything may depend on them."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from pydantic import Field, model_validator

from robot_assets.core.spec import Spec


class GateSpec(Spec):
    """Budgets of a target. Without a budget a figure is measured and reported, and blocks nothing."""

    accuracy_drop_points_max: float = Field(
        default=1.0,
        ge=0,
        description="points (of 100) of the metric that the engine may lose against its network in float",
    )
    parity_differing_share_max: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="share of head values that may differ from the exported ONNX by more than the tolerance of their "
        "meaning, such as 0.025 of a score or 0.1 cells",
    )
    latency_ms_p50_max: float | None = Field(default=None, gt=0, description="median of one frame, ms")
    latency_ms_p95_max: float = Field(gt=0, description="budget of one frame, pre- and post-processing left out")
    latency_ms_p99_max: float | None = Field(default=None, gt=0, description="99 % of all frames, ms")
    throughput_images_per_s_min: float | None = Field(
        default=None, gt=0, description="images a second, one after the other"
    )
    load_s_max: float | None = Field(
        default=None, gt=0, description="seconds until a verified engine is ready for its first image"
    )
    memory_mib_max: float | None = Field(default=None, gt=0, description="memory that a loaded engine adds, MiB")
    engine_size_mib_max: float | None = Field(default=None, gt=0, description="size of the engine's file, MiB")
    power_w_max: float | None = Field(
        default=None, gt=0, description="watts that the device draws on average while the engine runs"
    )
    temperature_c_max: float | None = Field(
        default=None, gt=0, description="degrees Celsius of the hottest part of the device while the engine runs"
    )

    no_holes: bool = Field(
        default=False,
        description="whether every part of an engine has to be made here: no graph and no weights that were trained "
        "elsewhere",
    )

    @model_validator(mode="after")
    def _percentiles_in_order(self) -> GateSpec:
        """Refuse a budget that cannot be exceeded: p50 <= p95 <= p99 for any latencies."""
        names = ("latency_ms_p50_max", "latency_ms_p95_max", "latency_ms_p99_max")
        given = [(name, value) for name in names if (value := getattr(self, name)) is not None]
        for (lower, less), (higher, more) in pairwise(given):
            if less > more:
                raise ValueError(f"{lower} is {less:g} and {higher} {more:g}; needed {lower} of at most {higher}")
        return self

    def of(self, gate: str) -> dict[str, float]:
        """The budgets of one gate, without those that are not set."""
        budgets = {name: getattr(self, name) for name in BUDGETS[gate]}
        return {name: value for name, value in budgets.items() if value is not None}


FOREIGN_DIFFERING_SHARE_MAX = 0.05
"""Budget of parity for the engine of a graph that was trained elsewhere, where its target gives none.

A runtime that misunderstands a graph gives other answers for most values. Nothing else is known to be right of such a
graph, so its parity blocks.
"""


def of_foreign_graph(gate: GateSpec) -> GateSpec:
    """The budgets of a target for the engine of a foreign graph, whose parity always has one."""
    if gate.parity_differing_share_max is not None:
        return gate
    return gate.model_copy(update={"parity_differing_share_max": FOREIGN_DIFFERING_SHARE_MAX})


BUDGETS: Mapping[str, tuple[str, ...]] = {
    "accuracy": ("accuracy_drop_points_max",),
    "parity": ("parity_differing_share_max",),
    "latency": ("latency_ms_p50_max", "latency_ms_p95_max", "latency_ms_p99_max", "throughput_images_per_s_min"),
    "resources": ("load_s_max", "memory_mib_max", "engine_size_mib_max", "power_w_max", "temperature_c_max"),
}
"""Gate of an engine -> the budgets that it reads."""
