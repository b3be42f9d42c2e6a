"""Parameters of a target: the device that an engine is built for, and the budget it has to keep."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from robot_assets.spec import Spec


class GateSpec(Spec):
    """What an engine must hold on its target before anything may depend on it."""

    accuracy_drop_points_max: float = Field(
        default=1.0, ge=0, description="mAP@50 points (of 100) that the engine may lose against its checkpoint"
    )
    latency_ms_p95_max: float = Field(gt=0, description="budget of one frame, pre- and post-processing left out")


class TargetSpec(Spec):
    """One entry of ``targets`` in params.yaml."""

    kind: Literal["onnxruntime"]
    threads: int = Field(default=1, ge=1, le=64, description="intra-op threads of one inference")
    gate: GateSpec
