"""COCO mean average precision of detections. Needs no torch."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robot_assets.tasks.detection.predictions import Detections
from robot_assets.tasks.detection.task import METRIC
from robot_assets.tasks.metrics import Metrics

if TYPE_CHECKING:
    from robot_assets.tasks.task import Split


class DetectionScorer:
    """Scores the detections of a split, in pixels of the images.

    The values are ``map50``, the mean over classes of the average precision at IoU 0.5, and ``map50_95``, the mean over
    classes and IoU 0.50:0.05:0.95, the COCO metric.
    """

    def __init__(self, split: Split) -> None:
        self._truth, self._image_ids, self._classes = split.coco(), split.image_ids, split.classes

    def measured(self, index: int, prediction: Detections) -> Detections:
        """The detections themselves: precision is of all images together."""
        return prediction

    def metrics(self, measured: Sequence[Detections]) -> Metrics:
        """COCO metrics of the detections of each image."""
        return score(measured, self._truth, self._image_ids, self._classes)


def score(
    found: Sequence[Detections], truth: dict[str, Any], image_ids: Sequence[int], classes: Sequence[str]
) -> Metrics:
    """COCO metrics of detections in pixels of the original images.

    Args:
        found: One per image, in the order of ``image_ids``.
        truth: COCO ground truth; category id = class index + 1.
        image_ids: Image ids of ``truth``.
        classes: Class names.
    """
    present = {annotation["category_id"] for annotation in truth["annotations"]}
    rows = _result_rows(found, image_ids)
    if len(rows) == 0 or not present:
        per_class = {name: 0.0 if index + 1 in present else None for index, name in enumerate(classes)}
        return Metrics(METRIC, {"map50": 0.0, "map50_95": 0.0}, per_class, len(image_ids))
    precision = _precision(truth, rows)  # (IoU, recall, class)
    per_class = {
        name: float(precision[0, :, index].mean()) if index + 1 in present else None
        for index, name in enumerate(classes)
    }
    scored = [index for index in range(len(classes)) if index + 1 in present]
    values = {"map50": float(precision[0][:, scored].mean()), "map50_95": float(precision[:, :, scored].mean())}
    return Metrics(METRIC, values, per_class, len(image_ids))


def _result_rows(found: Sequence[Detections], image_ids: Iterable[int]) -> NDArray[np.float64]:
    """Rows of (image id, x, y, w, h, score, category id), the array form of COCO results."""
    rows = []
    for image_id, one in zip(image_ids, found, strict=True):
        boxes = one.boxes.astype(np.float64)
        rows.append(
            np.column_stack(
                [
                    np.full(len(boxes), image_id),
                    boxes[:, :2],
                    boxes[:, 2:] - boxes[:, :2],
                    one.scores.astype(np.float64),
                    one.labels + 1,
                ]
            )
        )
    return np.concatenate(rows) if rows else np.zeros((0, 7))


def _precision(truth: dict[str, Any], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Precision (IoU 0.50:0.05:0.95, 101 recalls, classes) over all areas, 100 detections per image."""
    from faster_coco_eval import COCO, COCOeval_faster

    with contextlib.redirect_stdout(io.StringIO()):
        ground = COCO(truth)
        results = ground.loadRes(rows)
        evaluation = COCOeval_faster(ground, results, "bbox")
        evaluation.params.catIds = sorted(category["id"] for category in truth["categories"])
        evaluation.evaluate()
        evaluation.accumulate()
    precision: NDArray[np.float64] = np.asarray(evaluation.eval["precision"])[:, :, :, 0, -1]
    return np.clip(precision, 0, None)
