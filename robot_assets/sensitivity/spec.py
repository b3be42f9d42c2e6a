"""Parameters of the search for sensitive layers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from robot_assets.core.spec import Spec

Metric = Literal["score", "output_error"]


class SensitivitySpec(Spec):
    """The ranking of layers, and the limits of the search for layers to leave in float."""

    images: int = Field(default=256, ge=8, description="images of the val split, evenly spaced; at most all of them")
    metric: Metric = Field(
        default="score",
        description="ranks layers by their loss of the metric of the task, or by the error of the heads; the second "
        "also distinguishes layers whose loss is below the noise of the metric",
    )
    max_float_layers: int = Field(default=4, ge=1, le=32, description="limit of layers in float")
    drop_points_max: float | None = Field(
        default=None,
        ge=0,
        description="points (of 100) of the metric of the task on val that may be lost against float; if None, as many "
        "as the strictest of the model's targets allows its engine",
    )

    @field_validator("metric", mode="before")
    @classmethod
    def _is_renamed(cls, metric: object) -> object:
        if metric == "map50":
            raise ValueError("map50 is called score now, for every task; needed score or output_error")
        return metric
