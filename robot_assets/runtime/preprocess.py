"""Converts camera images to the input of a network, and boxes back. NumPy and Pillow only: robots run this too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

PADDING = 114
"""Grey level of the border, as in detectors of the YOLO family."""


@dataclass(frozen=True)
class Letterboxed:
    """An image that was scaled to fit and centred on grey.

    Attributes:
        image: uint8 (height, width, 3), RGB.
        scale: Pixels of ``image`` per pixel of the original.
        pad_x: Pixels of border on the left.
        pad_y: Pixels of border at the top.
        original_width: Pixels of the original.
        original_height: Pixels of the original.
    """

    image: NDArray[np.uint8]
    scale: float
    pad_x: int
    pad_y: int
    original_width: int
    original_height: int

    def boxes_to_input(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Boxes (n, 4) xyxy in pixels of the original, in pixels of ``image``."""
        shift = np.array([self.pad_x, self.pad_y, self.pad_x, self.pad_y], np.float32)
        return boxes.astype(np.float32) * np.float32(self.scale) + shift

    def boxes_to_original(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Boxes (n, 4) xyxy in pixels of ``image``, in pixels of the original and clipped to it."""
        shift = np.array([self.pad_x, self.pad_y, self.pad_x, self.pad_y], np.float32)
        limit = np.array([self.original_width, self.original_height] * 2, np.float32)
        moved: NDArray[np.float32] = (boxes.astype(np.float32) - shift) / np.float32(self.scale)
        return np.clip(moved, np.float32(0), limit)


def letterbox(image: NDArray[np.uint8], height: int, width: int) -> Letterboxed:
    """Scale ``image`` to fit into ``height`` x ``width`` with its aspect ratio kept, and centre it on grey.

    Args:
        image: uint8 (H, W, 3), RGB.
        height: Pixels of the result.
        width: Pixels of the result.
    """
    rows, columns = image.shape[:2]
    scale = min(height / rows, width / columns)
    if (rows, columns) == (height, width):
        return Letterboxed(image, 1.0, 0, 0, columns, rows)
    inner_width = max(1, min(width, round(columns * scale)))
    inner_height = max(1, min(height, round(rows * scale)))
    if (inner_height, inner_width) == (rows, columns):
        scaled = image
    else:
        pillow = Image.fromarray(image).resize((inner_width, inner_height), Image.Resampling.BILINEAR)
        scaled = np.asarray(pillow)
    pad_x, pad_y = (width - inner_width) // 2, (height - inner_height) // 2
    canvas = np.full((height, width, 3), PADDING, np.uint8)
    canvas[pad_y : pad_y + inner_height, pad_x : pad_x + inner_width] = scaled
    return Letterboxed(canvas, scale, pad_x, pad_y, columns, rows)


def to_input(images: NDArray[np.uint8] | Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Convert images uint8 (N, H, W, 3) RGB to the input of a network: float32 (N, 3, H, W) RGB in [0, 1]."""
    batch = np.asarray(images, np.uint8).transpose(0, 3, 1, 2)
    return np.ascontiguousarray(batch, np.float32) * np.float32(1 / 255)
