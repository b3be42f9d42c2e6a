"""Pictures of detections and labelled boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robot_assets.figures import detections as pictures
from robot_assets.figures.detections import Sample

if TYPE_CHECKING:
    from robot_assets.tasks.detection.boxes import Box
    from robot_assets.tasks.detection.predictions import Detections

SHOWN_SCORE_MIN = 0.3
"""Detections with a lower score are not drawn."""

Pixels = NDArray[np.uint8]


def labelled_sheet(images: Sequence[Pixels], labels: Sequence[Sequence[Box]], classes: Sequence[str]) -> bytes:
    """Images with their boxes, as PNG."""
    corners, indices = zip(*(_arrays(one) for one in labels), strict=True) if labels else ((), ())
    return pictures.labelled_sheet(images, corners, indices, classes)


def prediction_sheet(
    images: Sequence[Pixels],
    labels: Sequence[Sequence[Box]],
    predictions: Sequence[Detections],
    classes: Sequence[str],
) -> bytes:
    """Images with their boxes, and with the detections of at least the score that is shown, as PNG."""
    samples = []
    for image, boxes, found in zip(images, labels, predictions, strict=True):
        seen = found.above(SHOWN_SCORE_MIN)
        samples.append(Sample(image, *_arrays(boxes), seen.boxes, seen.labels, seen.scores))
    return pictures.prediction_sheet(samples, classes)


def drawn(image: Pixels, prediction: Detections, classes: Sequence[str], score_min: float) -> Pixels:
    """An image uint8 (H, W, 3) with its detections of at least ``score_min``; small images are enlarged."""
    seen = prediction.above(score_min)
    return pictures.draw_detections(image, seen.boxes, seen.labels, seen.scores, classes)


def findings(prediction: Detections, classes: Sequence[str], score_min: float) -> list[dict[str, Any]]:
    """Class, score and box (xyxy in pixels) of each detection of at least ``score_min``."""
    seen = prediction.above(score_min)
    return [
        {
            "class": classes[int(label)],
            "score": round(float(score), 4),
            "box": [round(float(edge), 1) for edge in box],
        }
        for box, label, score in zip(seen.boxes, seen.labels, seen.scores, strict=True)
    ]


def _arrays(boxes: Sequence[Box]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Corners (n, 4) xyxy in pixels, and class indices (n,); crowd regions are left out."""
    shown = [box for box in boxes if not box.crowd]
    corners = [(box.x, box.y, box.x + box.width, box.y + box.height) for box in shown]
    return np.array(corners, float).reshape(-1, 4), np.array([box.category for box in shown], int)
