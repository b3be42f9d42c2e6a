"""From the scores of all anchors to detections: the best pairs of anchor and class, and their suppression."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from robot_assets.tasks.detection.decoders.decode.reading import Options
from robot_assets.tasks.detection.nms import suppress
from robot_assets.tasks.detection.predictions import Detections

if TYPE_CHECKING:
    from robot_assets.tasks.interface import Input

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]

COORDINATE_MAX = 1e5
"""Pixels that coordinates are limited to before the suppression: areas of larger boxes overflow."""


class Candidates(NamedTuple):
    """Pairs of an anchor and a class, in descending order of score, then of anchor, then of class.

    Attributes:
        anchors: Index of the anchor.
        labels: Class index.
        scores: Score of the class.
    """

    anchors: Indices
    labels: Indices
    scores: Floats


def of_classes(scores: Floats, channels: Sequence[Sequence[int]], axis: int) -> Floats:
    """Scores of the classes of the data set from those of the export; the best one of classes that are merged.

    Args:
        scores: Scores of the export.
        channels: For each class, its channels along ``axis``.
        axis: Axis of the classes.
    """
    if [list(each) for each in channels] == [[index] for index in range(scores.shape[axis])]:
        return scores
    merged = [np.fmax.reduce(np.take(scores, each, axis=axis), axis=axis) for each in channels]
    return np.stack(merged, axis=axis)


def best(scores: Floats, options: Options, axis: int = 1) -> Candidates:
    """The pairs with the highest scores, at least ``score_min``; a NaN is none.

    Args:
        scores: Of each anchor and class, 2-D.
        options: ``score_min`` and ``candidates_max``.
        axis: Axis of the classes.
    """
    pairs = np.unravel_index(np.flatnonzero(scores >= options["score_min"]), scores.shape)
    values = scores[pairs]
    limit = options["candidates_max"]
    if len(values) > limit:
        # The rest is not sorted: a network that is not trained has a million pairs.
        kept = np.flatnonzero(values >= -np.partition(-values, limit - 1)[limit - 1])
        pairs, values = (pairs[0][kept], pairs[1][kept]), values[kept]
    labels, anchors = pairs[axis].astype(np.int64), pairs[1 - axis].astype(np.int64)
    order = np.lexsort((labels, anchors, -values))[:limit]
    return Candidates(anchors[order], labels[order], values[order])


def suppressed(boxes: Floats, found: Candidates, options: Options, input: Input) -> Detections:
    """Detections after non-maximum suppression within each class.

    Args:
        boxes: (n, 4) xyxy in pixels of the input, one a candidate.
        found: The candidates, in descending order of score.
        options: ``iou_max`` and ``detections_max``.
        input: The input, which boxes are clipped to.
    """
    real = is_real(boxes, input)
    boxes = np.clip(boxes[real], -COORDINATE_MAX, COORDINATE_MAX)
    labels, scores = found.labels[real], found.scores[real]
    keep = suppress(boxes, labels, options["iou_max"], options["detections_max"])
    return Detections(clipped(boxes[keep], input), scores[keep], labels[keep])


def ranked(boxes: Floats, labels: Indices, scores: Floats, options: Options, input: Input) -> Detections:
    """Detections without suppression: rows with a class and at least ``score_min``, in descending order of score.

    Args:
        boxes: (n, 4) xyxy in pixels of the input.
        labels: (n,) class index; below 0: none.
        scores: (n,).
        options: ``score_min`` and ``detections_max``.
        input: The input, which boxes are clipped to.
    """
    rows = np.flatnonzero((labels >= 0) & (scores >= options["score_min"]) & is_real(boxes, input))
    rows = rows[np.argsort(-scores[rows], kind="stable")][: options["detections_max"]]
    return Detections(clipped(boxes[rows], input), scores[rows], labels[rows])


def is_real(boxes: Floats, input: Input) -> NDArray[np.bool_]:
    """Whether boxes (n, 4) xyxy are finite and have a part inside the input."""
    left, top, right, bottom = boxes.T
    has_area = (right > np.maximum(left, 0)) & (bottom > np.maximum(top, 0))
    is_inside = (left < input.width) & (top < input.height)
    real: NDArray[np.bool_] = has_area & is_inside & np.isfinite(boxes).all(axis=1)
    return real


def clipped(boxes: Floats, input: Input) -> Floats:
    """Boxes (n, 4) xyxy inside the input."""
    limit = np.array([input.width, input.height] * 2, np.float32)
    return np.clip(boxes, np.float32(0), limit)


def corners(boxes: Floats) -> Floats:
    """Boxes (n, 4) of centre x, y, width and height as xyxy."""
    half = boxes[:, 2:] * np.float32(0.5)
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)
