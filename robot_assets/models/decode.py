"""From the raw heads of a network to detections. NumPy only: robots run this too, and they have no torch.

A head at stride ``s`` says for each cell, whose centre is ``((column + 0.5) * s, (row + 0.5) * s)``:

- ``cls`` (N, classes, rows, columns): logits; the score of a class is their sigmoid (no background class).
- ``box`` (N, 4, rows, columns): ``dx, dy, log w, log h`` in cells. The box is centred at ``(dx, dy) * s``
  from the centre of the cell and is ``exp(log w) * s`` wide: the parameters of YOLOX (arXiv 2107.08430). All
  four stay within a few units, which int8 represents well, and an object may be thinner than a cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from robot_assets.models.spec import NetworkSpec
from robot_assets.runtime.preprocess import Letterboxed

Floats = NDArray[np.float32]

LOG_SIZE_MAX = 6.0
"""Sizes are capped at exp(6) = 403 cells, so that no output of a network can overflow."""

_BLOCK = 128
"""Boxes that suppression looks at together; an image of a trained detector has about so many candidates."""


def output_names(spec: NetworkSpec) -> tuple[str, ...]:
    """Names of the raw heads in order: ``cls_s8, box_s8, cls_s16, box_s16``."""
    return tuple(f"{kind}_s{stride}" for stride in spec.strides for kind in ("cls", "box"))


@dataclass(frozen=True)
class Detections:
    """What was found in one image, best first.

    Attributes:
        boxes: float32 (n, 4) xyxy, pixels of the network's input (of the original after :meth:`in_image`).
        scores: float32 (n,) in [0, 1].
        labels: int64 (n,) class index.
    """

    boxes: Floats
    scores: Floats
    labels: NDArray[np.int64]

    def in_image(self, letterboxed: Letterboxed) -> Detections:
        """The same detections in pixels of the image as it was before the letterbox."""
        return Detections(letterboxed.boxes_to_original(self.boxes), self.scores, self.labels)

    def above(self, score: float) -> Detections:
        """Those that score at least ``score``."""
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
    """Turn raw heads into detections, with non-maximum suppression within each class.

    Args:
        heads: Raw outputs in the order of :func:`output_names`; each (N, classes or 4, rows, columns).
        spec: The network that made them.
        score_min: Lowest score kept. 0.01 is right for mAP; ask for more with :meth:`Detections.above`.
        iou_max: Of two boxes of a class that overlap by more, the weaker is dropped.
        candidates_max: Strongest (cell, class) pairs of an image that go into the suppression.
        detections_max: Strongest detections of an image that come out.

    Returns:
        One :class:`Detections` an image, boxes in pixels of the input.

    Raises:
        ValueError: The heads are not those of ``spec``.
    """
    _check(heads, spec)
    logits = np.concatenate([_flat(head) for head in heads[0::2]], axis=1)
    raw = np.concatenate([_flat(head) for head in heads[1::2]], axis=1)
    centres, strides = _known_cells(spec)
    logit_min = np.float32(np.log(score_min / (1 - score_min)))
    found = []
    for image_logits, image_raw in zip(logits, raw, strict=True):
        cell, label = np.nonzero(image_logits >= logit_min)
        values = image_logits[cell, label]
        order = np.argsort(-values, kind="stable")[:candidates_max]
        cell, label, values = cell[order], label[order], values[order]
        boxes = _boxes(image_raw[cell], centres[cell], strides[cell])
        scores = (1 / (1 + np.exp(-values))).astype(np.float32)
        keep = _suppress(boxes, label, iou_max, detections_max)
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


_known_cells = lru_cache(maxsize=16)(cells)
"""For whoever only reads them: made anew for each image they would cost a tenth of its decoding."""


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


def _suppress(boxes: Floats, labels: NDArray[np.integer], iou_max: float, detections_max: int) -> NDArray[np.int64]:
    """Greedy non-maximum suppression; ``boxes`` come best first. Returns the indices of the first that stay.

    Block by block: all overlaps of a block at once, and no block after enough have stayed.
    """
    # Classes are moved apart, so that boxes of two classes never overlap.
    span = np.float32(np.abs(boxes).max() * 2 + 1) if len(boxes) else np.float32(1)
    sides = np.ascontiguousarray((boxes + labels[:, None].astype(np.float32) * span * 2).T)
    keep = np.zeros(0, np.int64)
    for start in range(0, len(boxes), _BLOCK):
        block = np.arange(start, min(start + _BLOCK, len(boxes)))
        block = block[~_overlap(sides[:, keep], sides[:, block], iou_max).any(axis=0)]
        among = _overlap(sides[:, block], sides[:, block], iou_max)
        stays = np.ones(len(block), bool)
        for index, hidden in enumerate(among):
            if stays[index]:
                stays[index + 1 :] &= ~hidden[index + 1 :]
        keep = np.concatenate([keep, block[stays]])
        if len(keep) >= detections_max:
            break
    return keep[:detections_max]


def _overlap(boxes: Floats, others: Floats, iou_max: float) -> NDArray[np.bool_]:
    """Which pairs of (4, n) and (4, m) boxes, left, top, right and bottom, share more than ``iou_max``: (n, m)."""
    left, top, right, bottom = boxes[:, :, None]
    other_left, other_top, other_right, other_bottom = others
    width = np.minimum(right, other_right) - np.maximum(left, other_left)
    height = np.minimum(bottom, other_bottom) - np.maximum(top, other_top)
    shared = np.maximum(width, 0) * np.maximum(height, 0)
    area, other_area = (right - left) * (bottom - top), (other_right - other_left) * (other_bottom - other_top)
    apart: NDArray[np.bool_] = shared <= iou_max * (area + other_area - shared)
    return ~apart
