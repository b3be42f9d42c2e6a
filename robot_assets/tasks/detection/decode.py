"""Decodes the raw heads of a detector that is trained here. NumPy only: robots, which have no torch, run this too.

The heads at stride ``s`` predict for each cell, whose centre is ``((column + 0.5) * s, (row + 0.5) * s)``:

- ``cls`` (N, classes, rows, columns): logits; the score of a class is their sigmoid (no background class).
- ``box`` (N, 4, rows, columns): ``dx, dy, log w, log h`` in cells. The centre of the box is ``(dx, dy) * s``
  from the centre of the cell, and its width is ``exp(log w) * s``: the parameters of YOLOX (arXiv 2107.08430).
  All four stay within a few units, which int8 represents well, and an object may be thinner than a cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from robot_assets.tasks.detection.nms import suppress
from robot_assets.tasks.detection.predictions import Detections

if TYPE_CHECKING:
    from robot_assets.tasks.interface import Input, Interface

Floats = NDArray[np.float32]

LOG_SIZE_MAX = 6.0
"""Sizes are limited to exp(6) = 403 cells, so that no output of a network can overflow."""


def decode_grid(
    heads: Sequence[NDArray[np.floating]],
    interface: Interface,
    *,
    score_min: float = 0.01,
    iou_max: float = 0.6,
    candidates_max: int = 600,
    detections_max: int = 100,
) -> list[Detections]:
    """Decode raw heads, with non-maximum suppression within each class.

    Args:
        heads: Raw outputs in the order of the interface; each (N, classes or 4, rows, columns).
        interface: The heads, the size of the input and the strides.
        score_min: Lowest score kept. 0.01 is right for mAP; filter by a higher one with :meth:`Detections.above`.
        iou_max: Of two boxes of a class with a larger IoU, the one with the lower score is dropped.
        candidates_max: Limit of (cell, class) pairs per image before suppression, by score.
        detections_max: Limit of detections per image after suppression, by score.

    Returns:
        One :class:`Detections` per image, boxes in pixels of the input.

    Raises:
        ValueError: The heads are not those of ``interface``.
    """
    _check(heads, interface)
    input, strides = interface.input, tuple(interface.options["strides"])
    logits = np.concatenate([_flat(head) for head in heads[0::2]], axis=1)
    raw = np.concatenate([_flat(head) for head in heads[1::2]], axis=1)
    centres, cell_strides = _cached_cells(input.height, input.width, strides)
    logit_min = np.float32(np.log(score_min / (1 - score_min)))
    found = []
    for image_logits, image_raw in zip(logits, raw, strict=True):
        cell, label = np.nonzero(image_logits >= logit_min)
        values = image_logits[cell, label]
        order = np.argsort(-values, kind="stable")[:candidates_max]
        cell, label, values = cell[order], label[order], values[order]
        boxes = _boxes(image_raw[cell], centres[cell], cell_strides[cell])
        scores = (1 / (1 + np.exp(-values))).astype(np.float32)
        keep = suppress(boxes, label, iou_max, detections_max)
        found.append(Detections(_clip(boxes[keep], input), scores[keep], label[keep].astype(np.int64)))
    return found


def cells(height: int, width: int, strides: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Centres (cells, 2) xy in pixels and strides (cells, 1) of all heads, finest first, row by row."""
    centres, sides = [], []
    for stride in strides:
        y, x = np.mgrid[0 : height // stride, 0 : width // stride].astype(np.float32)
        centres.append((np.stack([x.ravel(), y.ravel()], axis=1) + np.float32(0.5)) * np.float32(stride))
        sides.append(np.full((len(centres[-1]), 1), stride, np.float32))
    return np.concatenate(centres), np.concatenate(sides)


_cached_cells = lru_cache(maxsize=16)(cells)
"""Read-only: computing the cells for each image would take a tenth of its decoding time."""


def _check(heads: Sequence[NDArray[np.floating]], interface: Interface) -> None:
    names = interface.head_names
    if len(heads) != len(names):
        raise ValueError(f"{len(heads)} heads, but the network has {len(names)}: {', '.join(names)}")
    for needed, head in zip(interface.heads, heads, strict=True):
        if head.shape[1:] != needed.shape[1:]:
            shape = ", ".join(str(size) for size in needed.shape[1:])
            raise ValueError(f"head {needed.name} has shape {head.shape}, needed (N, {shape})")


def _flat(head: NDArray[np.floating]) -> Floats:
    """(N, C, rows, columns) as float32 (N, rows * columns, C)."""
    return head.reshape(*head.shape[:2], -1).transpose(0, 2, 1).astype(np.float32, copy=False)


def _boxes(raw: Floats, centres: Floats, strides: Floats) -> Floats:
    centre = centres + raw[:, :2] * strides
    half = np.exp(np.minimum(raw[:, 2:], np.float32(LOG_SIZE_MAX))) * strides * np.float32(0.5)
    return np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)


def _clip(boxes: Floats, input: Input) -> Floats:
    limit = np.array([input.width, input.height] * 2, np.float32)
    return np.clip(boxes, np.float32(0), limit)
