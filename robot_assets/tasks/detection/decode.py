"""Decodes the raw heads of a network into detections. NumPy only: robots, which have no torch, run this too.

The heads at stride ``s`` predict for each cell, whose centre is ``((column + 0.5) * s, (row + 0.5) * s)``:

- ``cls`` (N, classes, rows, columns): logits; the score of a class is their sigmoid (no background class).
- ``box`` (N, 4, rows, columns): ``dx, dy, log w, log h`` in cells. The centre of the box is ``(dx, dy) * s``
  from the centre of the cell, and its width is ``exp(log w) * s``: the parameters of YOLOX (arXiv 2107.08430).
  All four stay within a few units, which int8 represents well, and an object may be thinner than a cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from robot_assets.tasks.detection.nms import suppress
from robot_assets.tasks.detection.spec import NetworkSpec

Floats = NDArray[np.float32]

LOG_SIZE_MAX = 6.0
"""Sizes are limited to exp(6) = 403 cells, so that no output of a network can overflow."""


def output_names(spec: NetworkSpec) -> tuple[str, ...]:
    """Names of the raw heads in order: ``cls_s8, box_s8, cls_s16, box_s16``."""
    return tuple(f"{kind}_s{stride}" for stride in spec.strides for kind in ("cls", "box"))


class Letterbox(Protocol):
    """The mapping from the input of a network back to the original image."""

    def boxes_to_original(self, boxes: Floats) -> Floats:
        """Boxes (n, 4) xyxy in pixels of the input, in pixels of the original."""
        ...


@dataclass(frozen=True)
class Detections:
    """The detections of one image, in descending order of score.

    Attributes:
        boxes: float32 (n, 4) xyxy, pixels of the network's input (of the original after :meth:`in_image`).
        scores: float32 (n,) in [0, 1].
        labels: int64 (n,) class index.
    """

    boxes: Floats
    scores: Floats
    labels: NDArray[np.int64]

    def in_image(self, letterboxed: Letterbox) -> Detections:
        """The same detections in pixels of the original image."""
        return Detections(letterboxed.boxes_to_original(self.boxes), self.scores, self.labels)

    def above(self, score: float) -> Detections:
        """The detections with at least ``score``."""
        keep = self.scores >= score
        return Detections(self.boxes[keep], self.scores[keep], self.labels[keep])


def decode(
    heads: Sequence[NDArray[np.floating]],
    spec: NetworkSpec,
    *,
    score_min: float = 0.01,
    iou_max: float = 0.6,
    candidates_max: int = 600,
    detections_max: int = 100,
) -> list[Detections]:
    """Decode raw heads, with non-maximum suppression within each class.

    Args:
        heads: Raw outputs in the order of :func:`output_names`; each (N, classes or 4, rows, columns).
        spec: The network of the heads.
        score_min: Lowest score kept. 0.01 is right for mAP; filter by a higher one with :meth:`Detections.above`.
        iou_max: Of two boxes of a class with a larger IoU, the one with the lower score is dropped.
        candidates_max: Limit of (cell, class) pairs per image before suppression, by score.
        detections_max: Limit of detections per image after suppression, by score.

    Returns:
        One :class:`Detections` per image, boxes in pixels of the input.

    Raises:
        ValueError: The heads are not those of ``spec``.
    """
    _check(heads, spec)
    logits = np.concatenate([_flat(head) for head in heads[0::2]], axis=1)
    raw = np.concatenate([_flat(head) for head in heads[1::2]], axis=1)
    centres, strides = _cached_cells(spec)
    logit_min = np.float32(np.log(score_min / (1 - score_min)))
    found = []
    for image_logits, image_raw in zip(logits, raw, strict=True):
        cell, label = np.nonzero(image_logits >= logit_min)
        values = image_logits[cell, label]
        order = np.argsort(-values, kind="stable")[:candidates_max]
        cell, label, values = cell[order], label[order], values[order]
        boxes = _boxes(image_raw[cell], centres[cell], strides[cell])
        scores = (1 / (1 + np.exp(-values))).astype(np.float32)
        keep = suppress(boxes, label, iou_max, detections_max)
        found.append(Detections(_clip(boxes[keep], spec), scores[keep], label[keep].astype(np.int64)))
    return found


def cells(spec: NetworkSpec) -> tuple[Floats, Floats]:
    """Centres (cells, 2) xy in pixels and strides (cells, 1) of all heads, finest first, row by row."""
    centres, strides = [], []
    for stride in spec.strides:
        rows, columns = spec.grid(stride)
        y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
        centres.append((np.stack([x.ravel(), y.ravel()], axis=1) + np.float32(0.5)) * np.float32(stride))
        strides.append(np.full((rows * columns, 1), stride, np.float32))
    return np.concatenate(centres), np.concatenate(strides)


_cached_cells = lru_cache(maxsize=16)(cells)
"""Read-only: computing the cells for each image would take a tenth of its decoding time."""


def _check(heads: Sequence[NDArray[np.floating]], spec: NetworkSpec) -> None:
    names = output_names(spec)
    if len(heads) != len(names):
        raise ValueError(f"{len(heads)} heads, but the network has {len(names)}: {', '.join(names)}")
    for name, head in zip(names, heads, strict=True):
        grid = spec.grid(int(name.rsplit("_s", 1)[1]))
        if head.ndim != 4 or head.shape[2:] != grid or (name.startswith("box") and head.shape[1] != 4):
            raise ValueError(f"head {name} has shape {head.shape}, needed (N, channels, {grid[0]}, {grid[1]})")


def _flat(head: NDArray[np.floating]) -> Floats:
    """(N, C, rows, columns) as float32 (N, rows * columns, C)."""
    return head.reshape(*head.shape[:2], -1).transpose(0, 2, 1).astype(np.float32, copy=False)


def _boxes(raw: Floats, centres: Floats, strides: Floats) -> Floats:
    centre = centres + raw[:, :2] * strides
    half = np.exp(np.minimum(raw[:, 2:], np.float32(LOG_SIZE_MAX))) * strides * np.float32(0.5)
    return np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)


def _clip(boxes: Floats, spec: NetworkSpec) -> Floats:
    limit = np.array([spec.input_width, spec.input_height] * 2, np.float32)
    return np.clip(boxes, np.float32(0), limit)
