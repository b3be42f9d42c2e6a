"""Greedy non-maximum suppression within each class, shared by all decoders of detectors. NumPy only: robots run it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_BLOCK = 128
"""Boxes that are suppressed at once; an image of a trained detector has about as many candidates."""


def suppress(boxes: Floats, labels: NDArray[np.integer], iou_max: float, detections_max: int) -> NDArray[np.int64]:
    """Greedy non-maximum suppression of ``boxes`` in descending order of score. Returns the indices kept.

    The overlaps of a block are computed at once, and no further block once enough boxes are kept.
    """
    sides = np.ascontiguousarray(boxes.T)

    def overlap(some: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.bool_]:
        is_same_class: NDArray[np.bool_] = labels[some][:, None] == labels[others]
        return _overlap(sides[:, some], sides[:, others], iou_max) & is_same_class

    keep = np.zeros(0, np.int64)
    for start in range(0, len(boxes), _BLOCK):
        block = np.arange(start, min(start + _BLOCK, len(boxes)))
        block = block[~overlap(keep, block).any(axis=0)]
        within = overlap(block, block)
        is_kept = np.ones(len(block), bool)
        for index, suppressed in enumerate(within):
            if is_kept[index]:
                is_kept[index + 1 :] &= ~suppressed[index + 1 :]
        keep = np.concatenate([keep, block[is_kept]])
        if len(keep) >= detections_max:
            break
    return keep[:detections_max]


def _overlap(boxes: Floats, others: Floats, iou_max: float) -> NDArray[np.bool_]:
    """Mask (n, m) of the pairs with IoU above ``iou_max``; boxes (4, n) and (4, m) are left, top, right, bottom."""
    left, top, right, bottom = boxes[:, :, None]
    other_left, other_top, other_right, other_bottom = others
    width = np.minimum(right, other_right) - np.maximum(left, other_left)
    height = np.minimum(bottom, other_bottom) - np.maximum(top, other_top)
    shared = np.maximum(width, 0) * np.maximum(height, 0)
    area, other_area = (right - left) * (bottom - top), (other_right - other_left) * (other_bottom - other_top)
    is_below: NDArray[np.bool_] = shared <= iou_max * (area + other_area - shared)
    return ~is_below
