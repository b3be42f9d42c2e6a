"""Augmentation of one training image: zoom, crop, mosaic, flip and colour, all from one seeded generator.

A canvas is one region, or four regions of a mosaic that meet in a random point. Each region is filled with a
random window of an image at a random magnification. A mosaic therefore does not shrink its images, as that of
YOLOv4 (arXiv 2004.10934) does: the objects of robot cameras are small as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from robot_assets.runtime.preprocess import PADDING
from robot_assets.training.images import Picture, Pictures
from robot_assets.training.spec import AugmentationSpec

if TYPE_CHECKING:
    from PIL._imaging import ImagingCore

VISIBLE_MIN = 0.3
"""An object of which a crop shows less is no longer labelled."""
SIDE_MIN = 2.0
"""Pixels; a thinner box is no longer labelled."""
ASPECT = 0.1
"""Largest relative change of width against height."""
AIMED = 0.5
"""Share of windows that are laid around an object."""
_LEVELS = np.arange(256) / 255


@dataclass(frozen=True)
class Region:
    """A part of the canvas, in pixels; ``right`` and ``bottom`` are outside of it."""

    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True)
class Window:
    """A part of a source at its new size, and where it lies on the canvas; tuples are (x, y).

    Attributes:
        image: The pixels.
        start: Its left top corner in the source.
        scale: Pixels of the canvas a pixel of the source.
        place: Its left top corner on the canvas.
    """

    image: Image.Image
    start: tuple[int, int]
    scale: tuple[float, float]
    place: tuple[int, int]

    def frame(self) -> tuple[tuple[float, float], ...]:
        """Start, scale, and both corners on the canvas."""
        end = (self.place[0] + self.image.width, self.place[1] + self.image.height)
        return self.start, self.scale, self.place, end


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
    if not whole and rng.random() < spec.mosaic:
        others = [pictures[int(other)] for other in rng.integers(len(pictures), size=3)]
        sources, regions, aim = [first, *others], _quarters(width, height, rng), AIMED
    else:
        sources, regions, aim = [first], [Region(0, 0, width, height)], 0.0
    windows = [_cut(source, region, spec, rng, aim) for source, region in zip(sources, regions, strict=True)]
    boxes, labels = _seen(sources, windows)
    image, moved = _flip(_recolour(_canvas(windows, width, height), spec.colour, rng), boxes, rng)
    return Picture(np.asarray(image), moved, labels)


def _quarters(width: int, height: int, rng: np.random.Generator) -> list[Region]:
    x, y = int(width * rng.uniform(0.3, 0.7)), int(height * rng.uniform(0.3, 0.7))
    return [Region(0, 0, x, y), Region(x, 0, width, y), Region(0, y, x, height), Region(x, y, width, height)]


def _cut(source: Picture, region: Region, spec: AugmentationSpec, rng: np.random.Generator, aim: float) -> Window:
    """A random window of ``source`` that fills ``region``, or lies in it when the source is too small."""
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
    # Pillow steps over the rest of each row by itself; numpy would copy the window first.
    pixels = source.image[y0:y1].reshape(-1)[3 * x0 : 3 * (columns * (y1 - y0 - 1) + x1)]
    window = Image.frombytes("RGB", (x1 - x0, y1 - y0), pixels, "raw", "RGB", 3 * columns, 1)
    size = (max(1, to_x1 - to_x0), max(1, to_y1 - to_y0))
    return Window(
        image=window.resize(size, Image.Resampling.BILINEAR),
        start=(x0, y0),
        scale=(size[0] / (x1 - x0), size[1] / (y1 - y0)),
        place=(region.left + to_x0, region.top + to_y0),
    )


def _canvas(windows: Sequence[Window], width: int, height: int) -> Image.Image:
    if windows[0].image.size == (width, height):
        return windows[0].image
    canvas = Image.new("RGB", (width, height), (PADDING,) * 3)
    for window in windows:
        canvas.paste(window.image, window.place)
    return canvas


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
        start = min(max(focus - window * rng.uniform(0.2, 0.8), 0.0), length - window)
    first = int(start)
    return first, min(length, max(first + 1, round(start + window))), 0, region


def _seen(sources: Sequence[Picture], windows: Sequence[Window]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Boxes and labels on the canvas, clipped to where their image was drawn, without those hardly left."""
    corners = np.concatenate([source.boxes for source in sources]).reshape(-1, 2, 2)
    # One pass over the boxes of all windows: (boxes, 4, 1, xy), the third axis for the two corners of a box.
    frames = np.array([window.frame() for window in windows], np.float32)
    frame = np.repeat(frames, [len(source.boxes) for source in sources], axis=0)[:, :, None]
    start, scale, left_top, right_bottom = frame[:, 0], frame[:, 1], frame[:, 2], frame[:, 3]
    moved = (corners - start) * scale + left_top
    clipped = np.minimum(np.maximum(moved, left_top), right_bottom)
    sides, before = clipped[:, 1] - clipped[:, 0], moved[:, 1] - moved[:, 0]
    visible = sides[:, 0] * sides[:, 1] / np.maximum(before[:, 0] * before[:, 1], 1e-6)
    keep = (visible >= VISIBLE_MIN) & (sides >= SIDE_MIN).all(axis=1)
    labels = np.concatenate([source.labels for source in sources])
    return clipped[keep].reshape(-1, 4), labels[keep]


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
    level = _LEVELS**gamma
    tables = ((level - 0.5) * contrast + 0.5)[None] * gains[:, None] * 255
    tables = tables.clip(0, 255).round().astype(int)
    grey = Image.merge("RGB", [image.convert("L")] * 3)
    return Image.blend(grey, image, saturation).filter(_Tables(tables.ravel().tolist()))


class _Tables(ImageFilter.MultibandFilter):
    """``Image.point`` with a table a channel, less its rounding of 768 integers one by one."""

    name = "tables"

    def __init__(self, tables: list[int]) -> None:
        self._tables = tables

    def filter(self, image: ImagingCore) -> ImagingCore:
        changed: ImagingCore = image.point(self._tables, None)
        return changed
