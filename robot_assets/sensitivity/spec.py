"""Parameters of the search for sensitive layers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from robot_assets.core.spec import Spec

Metric = Literal["map50", "output_error"]


class SensitivitySpec(Spec):
    """The ranking of layers, and the limits of the search for layers to leave in float."""

    images: int = Field(default=256, ge=8, description="images of the val split, evenly spaced; at most all of them")
    metric: Metric = Field(
        default="map50",
        description="ranks layers by their loss of mAP@50, or by the error of the heads; the second also "
        "distinguishes layers whose loss is below the noise of mAP",
    )
    max_float_layers: int = Field(default=4, ge=1, le=32, description="limit of layers in float")
    drop_points_max: float | None = Field(
        default=None,
        ge=0,
        description="mAP@50 points (of 100) on val that may be lost against float; if None, as many as the strictest "
        "of the model's targets allows its engine",
    )
