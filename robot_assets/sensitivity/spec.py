"""Parameters of the search for the layers that quantization hurts."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from robot_assets.core.spec import Spec

Metric = Literal["map50", "output_error"]


class SensitivitySpec(Spec):
    """How layers are ranked, and when the search for those to leave in float is done."""

    images: int = Field(default=256, ge=8, description="of the val split, spread evenly; all where there are fewer")
    metric: Metric = Field(
        default="map50",
        description="what ranks the layers: the mAP@50 that one loses, or how far the heads move; the second is "
        "smooth, and tells layers apart whose loss is below the noise of mAP",
    )
    max_float_layers: int = Field(default=4, ge=1, le=32, description="the most layers that may be left in float")
    drop_points_max: float | None = Field(
        default=None,
        ge=0,
        description="mAP@50 points (of 100) on val that the result may lose against float; if None, what the "
        "strictest of the model's targets allows its engine",
    )
