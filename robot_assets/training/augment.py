"""Augments one training image with its labels: zoom, crop, mosaic, flip and colour, from one seeded generator.

A canvas is one region, or four regions of a mosaic that meet at a random point. Each region is filled with a
random crop of an image at a random magnification. Unlike the mosaic of YOLOv4 (arXiv 2004.10934), this one does
not shrink its images: the objects of robot cameras are small already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from robot_assets.tasks.geometry import Placement
from robot_assets.training.images import LabelledImage, LabelledImages
from robot_assets.training.spec import AugmentationSpec

if TYPE_CHECKING:
    from PIL._imaging import ImagingCore

    from robot_assets.tasks.learning import Learning

ASPECT_CHANGE_MAX = 0.1
"""Limit of the relative change of width against height."""
FOCUSED_SHARE = 0.5
"""Share of the crops of a mosaic that contain a point of interest, such as the centre of an object."""
_LEVELS = np.arange(256) / 255


@dataclass(frozen=True)
class Region:
    """A part of the canvas, in pixels; ``right`` and ``bottom`` are exclusive."""

    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True)
class Crop:
    """A part of a source, resized, and where it lies on the canvas."""

    image: Image.Image
    placement: Placement


def augment(
    images: LabelledImages | Sequence[LabelledImage],
    index: int,
    spec: AugmentationSpec,
    learning: Learning,
    padding: int,
    rng: np.random.Generator,
    *,
    allow_mosaic: bool = True,
) -> LabelledImage:
    """Return an augmented copy of ``images[index]``, or a mosaic of it and three others.

    Args:
        images: All images, of one size.
        index: The image to augment.
        spec: Limits of the changes.
        learning: Moves the labels with the pixels.
        padding: Grey level of what no image covers.
        rng: The only source of randomness.
        allow_mosaic: Whether the result may be a mosaic.
    """
    first = images[index]
    height, width = first.image.shape[:2]
    if allow_mosaic and rng.random() < spec.mosaic:
        others = [images[int(other)] for other in rng.integers(len(images), size=3)]
        sources, regions, focused = [first, *others], _quarters(width, height, rng), FOCUSED_SHARE
    else:
        sources, regions, focused = [first], [Region(0, 0, width, height)], 0.0
    crops = [
        _crop(source.image, learning.focus_points(source.labels), region, spec, rng, focused)
        for source, region in zip(sources, regions, strict=True)
    ]
    placements = [crop.placement for crop in crops]
    labels = learning.placed([source.labels for source in sources], placements, (width, height))
    image = _change_colour(_canvas(crops, width, height, padding), spec.colour, rng)
    if rng.random() >= 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        labels = learning.flipped(labels, width)
    return LabelledImage(np.asarray(image), labels)


def _quarters(width: int, height: int, rng: np.random.Generator) -> list[Region]:
    x, y = int(width * rng.uniform(0.3, 0.7)), int(height * rng.uniform(0.3, 0.7))
    return [Region(0, 0, x, y), Region(x, 0, width, y), Region(0, y, x, height), Region(x, y, width, height)]


def _crop(
    source: NDArray[np.uint8],
    points: NDArray[np.float32],
    region: Region,
    spec: AugmentationSpec,
    rng: np.random.Generator,
    focused: float,
) -> Crop:
    """Crop ``source`` at random to fill ``region``; a source that is too small lies inside the region as a whole.

    Args:
        source: The image.
        points: Points (n, 2) xy that may be focused on.
        region: The region to fill.
        spec: Limits of the magnification.
        rng: The only source of randomness.
        focused: Probability that the crop contains one of the points.
    """
    rows, columns = source.shape[:2]
    zoom = float(np.exp(rng.uniform(np.log(spec.zoom_min), np.log(spec.zoom_max))))
    stretch = float(np.exp(rng.uniform(-ASPECT_CHANGE_MAX, ASPECT_CHANGE_MAX)))
    width, height = region.right - region.left, region.bottom - region.top
    crop_width, crop_height = width / (zoom * stretch), height / (zoom / stretch)
    focus = None
    if len(points) and rng.random() < focused:
        focus = points[rng.integers(len(points))]
    x0, x1, to_x0, to_x1 = _crop_axis(columns, crop_width, width, None if focus is None else float(focus[0]), rng)
    y0, y1, to_y0, to_y1 = _crop_axis(rows, crop_height, height, None if focus is None else float(focus[1]), rng)
    # Pillow skips the rest of each row itself; numpy would copy the crop first.
    pixels = source[y0:y1].reshape(-1)[3 * x0 : 3 * (columns * (y1 - y0 - 1) + x1)]
    cropped = Image.frombytes("RGB", (x1 - x0, y1 - y0), pixels, "raw", "RGB", 3 * columns, 1)
    size = (max(1, to_x1 - to_x0), max(1, to_y1 - to_y0))
    return Crop(
        image=cropped.resize(size, Image.Resampling.BILINEAR),
        placement=Placement((x0, y0), (x1, y1), (region.left + to_x0, region.top + to_y0), size),
    )


def _canvas(crops: Sequence[Crop], width: int, height: int, padding: int) -> Image.Image:
    if crops[0].image.size == (width, height):
        return crops[0].image
    canvas = Image.new("RGB", (width, height), (padding,) * 3)
    for crop in crops:
        canvas.paste(crop.image, crop.placement.position)
    return canvas


def _crop_axis(
    length: int, crop: float, region: int, focus: float | None, rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """Position a crop along one axis.

    Args:
        length: Pixels of the source.
        crop: Pixels of the source that fill the region.
        region: Pixels of the region.
        focus: A pixel of the source that the crop contains, or None for any crop.
        rng: The only source of randomness.

    Returns:
        Start and end in the source, then start and end in the region.
    """
    if crop >= length:  # The whole source fits; the rest of the region stays grey.
        inner = max(1, round(region * length / crop))
        shift = int(rng.integers(region - inner + 1))
        return 0, length, shift, shift + inner
    if focus is None:
        start = rng.uniform(0, length - crop)
    else:
        start = min(max(focus - crop * rng.uniform(0.2, 0.8), 0.0), length - crop)
    first = int(start)
    return first, min(length, max(first + 1, round(start + crop))), 0, region


def _change_colour(image: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """Change saturation by blending with grey; brightness, contrast, gamma and tint by one table per channel."""
    if strength == 0:
        return image
    saturation, contrast, gamma = 1 + rng.uniform(-strength, strength, size=3)
    gains = (1 + rng.uniform(-strength, strength)) * (1 + rng.uniform(-strength, strength, size=3) / 3)
    level = _LEVELS**gamma
    tables = ((level - 0.5) * contrast + 0.5)[None] * gains[:, None] * 255
    tables = tables.clip(0, 255).round().astype(int)
    grey = Image.merge("RGB", [image.convert("L")] * 3)
    return Image.blend(grey, image, saturation).filter(_LookupTables(tables.ravel().tolist()))


class _LookupTables(ImageFilter.MultibandFilter):
    """``Image.point`` with one table per channel, without its rounding of 768 integers one by one."""

    name = "tables"

    def __init__(self, tables: list[int]) -> None:
        self._tables = tables

    def filter(self, image: ImagingCore) -> ImagingCore:
        changed: ImagingCore = image.point(self._tables, None)
        return changed
