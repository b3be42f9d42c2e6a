"""Options that decoders share."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator

from robot_assets.core.spec import Spec
from robot_assets.core.validation import unknown
from robot_assets.tasks.detection.decoders.coco import COCO


class DetectorOptions(Spec):
    """Classes of the export by name, and limits of the detections."""

    labels: tuple[str | None, ...] | None = Field(
        default=None,
        description="names of the classes of the export in their order, or coco80 or coco91; a name that is no class "
        "of the data set is dropped; by default the classes of the data set in its order",
    )
    score_min: float = Field(
        default=0.01, gt=0, lt=1, description="lowest score of a detection; 0.01 is right for the metric"
    )
    detections_max: int = Field(default=100, ge=1, le=10_000, description="detections per image, by score")

    @field_validator("labels", mode="before")
    @classmethod
    def _are_names(cls, labels: Any) -> Any:
        if isinstance(labels, str):
            if labels not in COCO:
                raise ValueError(f"{unknown('list of labels', labels, COCO, 'lists of labels')}, or a list of names")
            return COCO[labels]
        if isinstance(labels, list | tuple) and not any(isinstance(label, str) and label for label in labels):
            raise ValueError("needed at least one name")
        return labels


class SuppressionOptions(DetectorOptions):
    """Options of a decoder with non-maximum suppression within each class."""

    iou_max: float = Field(
        default=0.6, gt=0, le=1, description="of two boxes of a class with a larger IoU, the lower score is dropped"
    )
    candidates_max: int = Field(
        default=600, ge=1, le=100_000, description="boxes per image before the suppression, by score"
    )
