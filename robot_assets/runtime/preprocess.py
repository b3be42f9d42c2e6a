"""Converts camera images to the input of a network, and boxes back. NumPy and Pillow only: robots run this too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from robot_assets.tasks.interface import Input, Preprocessing

_PLAIN = Preprocessing()


@dataclass(frozen=True)
class FittedImage:
    """An image at the size of a network's input: letterboxed or stretched, as its input says.

    A pixel of ``image`` is ``pixel of the original * scale + pad``.

    Attributes:
        image: uint8 (height, width, 3), RGB.
        scale_x: Pixels of ``image`` per pixel of the original, along x.
        scale_y: The same along y.
        pad_x: Pixels of border on the left.
        pad_y: Pixels of border at the top.
        inner_width: Pixels of ``image`` that the original is on, along x.
        inner_height: The same along y.
        original_width: Pixels of the original.
        original_height: Pixels of the original.
    """

    image: NDArray[np.uint8]
    scale_x: float
    scale_y: float
    pad_x: int
    pad_y: int
    inner_width: int
    inner_height: int
    original_width: int
    original_height: int

    def boxes_to_input(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Boxes (n, 4) xyxy in pixels of the original, in pixels of ``image``."""
        return boxes.astype(np.float32) * self._scales() + self._shift()

    def boxes_to_original(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Boxes (n, 4) xyxy in pixels of ``image``, in pixels of the original and clipped to it."""
        limit = np.array([self.original_width, self.original_height] * 2, np.float32)
        moved: NDArray[np.float32] = (boxes.astype(np.float32) - self._shift()) / self._scales()
        return np.clip(moved, np.float32(0), limit)

    def _scales(self) -> NDArray[np.float32]:
        return np.array([self.scale_x, self.scale_y] * 2, np.float32)

    def _shift(self) -> NDArray[np.float32]:
        return np.array([self.pad_x, self.pad_y] * 2, np.float32)


def fitted(image: NDArray[np.uint8], input: Input) -> FittedImage:
    """Bring ``image`` to the size of ``input``, in the way that its ``fit`` says.

    Args:
        image: uint8 (H, W, 3), RGB.
        input: Of a network.
    """
    if input.fit == "stretch":
        return _stretched(image, input.height, input.width)
    return _letterboxed(image, input.height, input.width, input.padding, is_centred=input.fit == "letterbox")


def to_input(images: NDArray[np.uint8] | Sequence[NDArray[np.uint8]], input: Preprocessing) -> NDArray[np.float32]:
    """Convert images to the input of a network.

    Args:
        images: uint8 (N, H, W, 3), RGB, at the size of the input.
        input: Order of channels, mean and standard deviation.

    Returns:
        float32 (N, 3, H, W): ``(pixel / 255 - mean) / std``.
    """
    planes = np.asarray(images, np.uint8).transpose(0, 3, 1, 2)
    if input.channels == "bgr":
        planes = planes[:, ::-1]
    # The bytes are transposed, not the floats, which takes a third of the time.
    planes = np.ascontiguousarray(planes)
    if input.mean == _PLAIN.mean and input.std == _PLAIN.std:
        return np.multiply(planes, np.float32(1 / 255), dtype=np.float32)
    std = np.array(input.std).reshape(3, 1, 1)
    values = np.multiply(planes, (1 / (255 * std)).astype(np.float32), dtype=np.float32)
    values -= (np.array(input.mean).reshape(3, 1, 1) / std).astype(np.float32)
    return values


def _letterboxed(image: NDArray[np.uint8], height: int, width: int, padding: int, *, is_centred: bool) -> FittedImage:
    rows, columns = image.shape[:2]
    if (rows, columns) == (height, width):
        return FittedImage(image, 1.0, 1.0, 0, 0, width, height, columns, rows)
    scale = min(height / rows, width / columns)
    inner_width = max(1, min(width, round(columns * scale)))
    inner_height = max(1, min(height, round(rows * scale)))
    pad_x, pad_y = ((width - inner_width) // 2, (height - inner_height) // 2) if is_centred else (0, 0)
    canvas = np.full((height, width, 3), padding, np.uint8)
    canvas[pad_y : pad_y + inner_height, pad_x : pad_x + inner_width] = _resized(image, inner_height, inner_width)
    return FittedImage(canvas, scale, scale, pad_x, pad_y, inner_width, inner_height, columns, rows)


def _stretched(image: NDArray[np.uint8], height: int, width: int) -> FittedImage:
    rows, columns = image.shape[:2]
    resized = _resized(image, height, width)
    return FittedImage(resized, width / columns, height / rows, 0, 0, width, height, columns, rows)


def _resized(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
