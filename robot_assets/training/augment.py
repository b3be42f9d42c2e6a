"""Augmentation of one training image: zoom, crop, mosaic, flip and colour, all from one seeded generator.

A canvas is one region, or four regions of a mosaic that meet in a random point. Each region is filled with a
random window of an image at a random magnification. A mosaic therefore does not shrink its images, as that of
YOLOv4 (arXiv 2004.10934) does: the objects of robot cameras are small as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from robot_assets.models.preprocess import PADDING
from robot_assets.training.images import Picture, Pictures
from robot_assets.training.spec import AugmentationSpec

VISIBLE_MIN = 0.3
"""An object of which a crop shows less is no longer labelled."""
SIDE_MIN = 2.0
"""Pixels; a thinner box is no longer labelled."""
ASPECT = 0.1
"""Largest relative change of width against height."""
AIMED = 0.5
"""Share of windows that are laid around an object."""


@dataclass(frozen=True)
class Region:
    """A part of the canvas, in pixels; ``right`` and ``bottom`` are outside of it."""

    left: int
    top: int
    right: int
    bottom: int


def augment(
    pictures: Pictures | Sequence[Picture],
    index: int,
    spec: AugmentationSpec,
    rng: np.random.Generator,
    *,
    whole: bool = False,
) -> Picture:
    """A changed copy of ``pictures[index]``, mixed with others when it becomes a mosaic.

    Args:
        pictures: All pictures, of one size.
        index: The one to start from.
        spec: How far to go.
        rng: Decides everything.
        whole: No mosaic.
    """
    first = pictures[index]
    height, width = first.image.shape[:2]
    canvas = Image.new("RGB", (width, height), (PADDING,) * 3)
    if not whole and rng.random() < spec.mosaic:
        others = [pictures[int(other)] for other in rng.integers(len(pictures), size=3)]
        sources, regions, aim = [first, *others], _quarters(width, height, rng), AIMED
    else:
        sources, regions, aim = [first], [Region(0, 0, width, height)], 0.0
    boxes, labels = [], []
    for source, region in zip(sources, regions, strict=True):
        kept_boxes, kept_labels = _fill(canvas, region, source, spec, rng, aim)
        boxes.append(kept_boxes)
        labels.append(kept_labels)
    image, moved = _flip(_recolour(canvas, spec.colour, rng), np.concatenate(boxes), rng)
    return Picture(np.asarray(image), moved, np.concatenate(labels))


def _quarters(width: int, height: int, rng: np.random.Generator) -> list[Region]:
    x, y = int(width * rng.uniform(0.3, 0.7)), int(height * rng.uniform(0.3, 0.7))
    return [Region(0, 0, x, y), Region(x, 0, width, y), Region(0, y, x, height), Region(x, y, width, height)]


def _fill(
    canvas: Image.Image,
    region: Region,
    source: Picture,
    spec: AugmentationSpec,
    rng: np.random.Generator,
    aim: float,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Draw a random window of ``source`` into ``region``; returns the boxes and labels still seen."""
    rows, columns = source.image.shape[:2]
    zoom = float(np.exp(rng.uniform(np.log(spec.zoom_min), np.log(spec.zoom_max))))
    stretch = float(np.exp(rng.uniform(-ASPECT, ASPECT)))
    wide, high = region.right - region.left, region.bottom - region.top
    window_wide, window_high = wide / (zoom * stretch), high / (zoom / stretch)
    focus = None
    if len(source.boxes) and rng.random() < aim:
        box = source.boxes[rng.integers(len(source.boxes))]
        focus = (box[:2] + box[2:]) / 2
    x0, x1, to_x0, to_x1 = _lay(columns, window_wide, wide, None if focus is None else float(focus[0]), rng)
    y0, y1, to_y0, to_y1 = _lay(rows, window_high, high, None if focus is None else float(focus[1]), rng)
    window = Image.fromarray(np.ascontiguousarray(source.image[y0:y1, x0:x1]))
    size = (max(1, to_x1 - to_x0), max(1, to_y1 - to_y0))
    canvas.paste(window.resize(size, Image.Resampling.BILINEAR), (region.left + to_x0, region.top + to_y0))
    scale = np.array([size[0] / (x1 - x0), size[1] / (y1 - y0)] * 2, np.float32)
    start = np.array([x0, y0] * 2, np.float32)
    place = np.array([region.left + to_x0, region.top + to_y0] * 2, np.float32)
    inner = (place[0], place[1], place[0] + size[0], place[1] + size[1])
    return _seen((source.boxes - start) * scale + place, source.labels, inner)


def _lay(
    length: int, window: float, region: int, focus: float | None, rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """Lay a window along one axis: start and end in the source, then where they come to lie."""
    if window >= length:  # the whole source fits, with grey to spare
        inner = max(1, round(region * length / window))
        shift = int(rng.integers(region - inner + 1))
        return 0, length, shift, shift + inner
    if focus is None:
        start = rng.uniform(0, length - window)
    else:
        start = float(np.clip(focus - window * rng.uniform(0.2, 0.8), 0, length - window))
    first = int(start)
    return first, min(length, max(first + 1, round(start + window))), 0, region


def _seen(
    boxes: NDArray[np.float32], labels: NDArray[np.int64], inner: tuple[float, float, float, float]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Clip boxes to where their image was drawn, and drop those of which too little is left."""
    clipped = boxes.copy()
    clipped[:, 0::2] = boxes[:, 0::2].clip(inner[0], inner[2])
    clipped[:, 1::2] = boxes[:, 1::2].clip(inner[1], inner[3])
    sides, before = clipped[:, 2:] - clipped[:, :2], boxes[:, 2:] - boxes[:, :2]
    visible = sides.prod(axis=1) / np.maximum(before.prod(axis=1), 1e-6)
    keep = (visible >= VISIBLE_MIN) & (sides >= SIDE_MIN).all(axis=1)
    return clipped[keep], labels[keep]


def _flip(
    image: Image.Image, boxes: NDArray[np.float32], rng: np.random.Generator
) -> tuple[Image.Image, NDArray[np.float32]]:
    if rng.random() < 0.5:
        return image, boxes
    flipped = boxes.copy()
    flipped[:, 0], flipped[:, 2] = image.width - boxes[:, 2], image.width - boxes[:, 0]
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), flipped


def _recolour(image: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """Saturation by blending with grey; brightness, contrast, gamma and tint by one table a channel."""
    if strength == 0:
        return image
    saturation, contrast, gamma = 1 + rng.uniform(-strength, strength, size=3)
    gains = (1 + rng.uniform(-strength, strength)) * (1 + rng.uniform(-strength, strength, size=3) / 3)
    level = (np.arange(256) / 255) ** gamma
    tables = ((level - 0.5) * contrast + 0.5)[None] * gains[:, None] * 255
    table = tables.clip(0, 255).round().astype(int).ravel().tolist()
    grey = image.convert("L").convert("RGB")
    return Image.blend(grey, image, saturation).point(table)
