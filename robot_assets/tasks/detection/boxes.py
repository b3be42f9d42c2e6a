"""Bounding boxes: validity, and clipping of small overshoots."""

from __future__ import annotations

import math
from typing import NamedTuple

OVERSHOOT_PX = 1.5
"""Tolerated overshoot past the image edge: annotators draw a little past it, and tools round."""
SMALLEST_PX = 0.5
"""Minimum side, also after clipping: a thinner box contains no pixel."""
ROUNDING_PX = 1e-3


class Box(NamedTuple):
    """One annotation; a tuple, because an import makes hundreds of thousands.

    Attributes:
        category: Index into the categories of the data set, from 0.
        x: Left edge in pixels.
        y: Upper edge in pixels.
        width: In pixels, > 0.
        height: In pixels, > 0.
        crowd: COCO's iscrowd: a region of many objects, which evaluation ignores.
        clipped: Whether it exceeded the image, by at most ``OVERSHOOT_PX``, and was clipped.
    """

    category: int
    x: float
    y: float
    width: float
    height: float
    crowd: bool = False
    clipped: bool = False


def fault_of(x: float, y: float, width: float, height: float, image_width: int, image_height: int) -> str:
    """The fault of a box in pixels; empty when it is valid or exceeds the image by at most ``OVERSHOOT_PX``."""
    if not all(math.isfinite(value) for value in (x, y, width, height)):
        return "NaN or infinite box"
    if width < SMALLEST_PX or height < SMALLEST_PX:
        return f"box of {width:.6g}x{height:.6g} px, needed at least {SMALLEST_PX} px per side"
    overshoot = max(-x, -y, x + width - image_width, y + height - image_height)
    if overshoot > OVERSHOOT_PX:
        return f"label outside the image: {overshoot:.1f} px past the edge of {image_width}x{image_height}"
    left, top, right, bottom = clipped_edges(x, y, width, height, image_width, image_height)
    if right - left < SMALLEST_PX or bottom - top < SMALLEST_PX:
        return f"label outside the image: no part of it is inside {image_width}x{image_height}"
    return ""


def clipped_edges(
    x: float, y: float, width: float, height: float, image_width: int, image_height: int
) -> tuple[float, float, float, float]:
    """Left, top, right and bottom edges clipped to the image, in pixels."""
    return max(x, 0.0), max(y, 0.0), min(x + width, float(image_width)), min(y + height, float(image_height))


def make_box(
    category: int, rectangle: tuple[float, float, float, float], size: tuple[int, int], *, crowd: bool = False
) -> Box:
    """Build a box, clipped to the image and rounded to 0.0001 px, so that equal labels give equal bytes.

    Args:
        category: Index from 0.
        rectangle: x, y, width, height in pixels, without a fault (``fault_of``).
        size: Width and height of the image in pixels.
        crowd: COCO's iscrowd.
    """
    left, top, right, bottom = clipped_edges(*rectangle, *size)
    x, y, width, height = rectangle
    clipped = max(left - x, top - y, x + width - right, y + height - bottom) > ROUNDING_PX
    x, y = round(left, 4), round(top, 4)
    # Rounding must not move the far edge outside the image again.
    width, height = min(round(right - left, 4), size[0] - x), min(round(bottom - top, 4), size[1] - y)
    return Box(category, x, y, width, height, crowd, clipped)
