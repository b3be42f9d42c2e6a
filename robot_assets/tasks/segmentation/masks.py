"""Resizes masks of class indices. NumPy and Pillow."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from robot_assets.tasks.segmentation.classes import IGNORED

Mask = NDArray[np.uint8]


def resized(mask: Mask, width: int, height: int, box: tuple[float, float, float, float] | None = None) -> Mask:
    """Each pixel gets the class of the pixel that its centre lies on.

    Args:
        mask: uint8 (H, W), class indices.
        width: Pixels of the result.
        height: Pixels of the result.
        box: Part of ``mask`` that is resized: left, top, right, bottom in its pixels; by default all of it.
    """
    rows, columns = mask.shape
    if (rows, columns) == (height, width) and box in (None, (0, 0, columns, rows)):
        return mask
    return np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST, box))


def placed(parts: list[tuple[Mask, tuple[int, int]]], width: int, height: int) -> Mask:
    """A canvas of ignored pixels that some masks lie on, each at its (x, y) of the top left corner."""
    canvas = np.full((height, width), IGNORED, np.uint8)
    for mask, (x, y) in parts:
        canvas[y : y + mask.shape[0], x : x + mask.shape[1]] = mask
    return canvas
