"""Mean intersection over union of class maps. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from robot_assets.tasks.metrics import Metrics
from robot_assets.tasks.segmentation.classes import IGNORED
from robot_assets.tasks.segmentation.labels import MASKS
from robot_assets.tasks.segmentation.masks import Mask
from robot_assets.tasks.segmentation.task import METRIC

if TYPE_CHECKING:
    from robot_assets.tasks.segmentation.predictions import ClassMap
    from robot_assets.tasks.task import Split

Counts = NDArray[np.int64]


class SegmentationScorer:
    """Scores class maps in pixels of the images, by the pixels of all images together.

    The IoU of a class is ``TP / (TP + FP + FN)``, as in PASCAL VOC and Cityscapes; ``miou`` is its mean over the
    classes of the split, and ``pixel_accuracy`` the share of pixels with the right class. Ignored pixels count nowhere.
    """

    def __init__(self, split: Split) -> None:
        self._split, self._classes = split, split.classes

    def measured(self, index: int, prediction: ClassMap) -> Counts:
        """The confusion matrix of one image: pixels (classes, classes) by true and by predicted class."""
        return confusion(MASKS.unpacked(self._split, index), prediction.labels, len(self._classes))

    def metrics(self, measured: Sequence[Counts]) -> Metrics:
        """The metrics of the sum of the matrices."""
        size = len(self._classes)
        total = np.sum([np.zeros((size, size), np.int64), *measured], axis=0)
        return score(total, self._classes, len(measured))


def confusion(truth: Mask, predicted: Mask, classes: int) -> Counts:
    """Pixels (classes, classes) by true and by predicted class, without those to ignore.

    Raises:
        ValueError: The masks differ in size, or have an index of no class.
    """
    if truth.shape != predicted.shape:
        raise ValueError(f"a prediction of {predicted.shape} pixels; needed {truth.shape}, those of the mask")
    pairs = np.bincount((truth.astype(np.uint16) << 8 | predicted).ravel(), minlength=2**16).reshape(256, 256)
    counts = pairs[:IGNORED]
    if counts[classes:].any() or counts[:, classes:].any():
        raise ValueError(
            f"a class index of {classes} or more; needed 0 to {classes - 1}, or {IGNORED} to ignore a pixel"
        )
    return counts[:classes, :classes].astype(np.int64)


def score(counts: Counts, classes: Sequence[str], images: int) -> Metrics:
    """The metrics of a confusion matrix.

    Args:
        counts: Pixels (classes, classes) by true and by predicted class.
        classes: Class names.
        images: Number of images.
    """
    right, true, predicted = np.diagonal(counts), counts.sum(axis=1), counts.sum(axis=0)
    ious = right / np.maximum(true + predicted - right, 1)
    present = true > 0
    per_class = {
        name: float(iou) if is_present else None for name, iou, is_present in zip(classes, ious, present, strict=True)
    }
    values = {
        METRIC.key: float(ious[present].mean()) if present.any() else 0.0,
        "pixel_accuracy": float(right.sum() / max(1, counts.sum())),
    }
    return Metrics(METRIC, values, per_class, images)
