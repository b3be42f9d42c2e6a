"""What a segmentation says of one image. NumPy and Pillow: robots run this too."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from robot_assets.tasks.segmentation.masks import Mask, resized

Floats = NDArray[np.float32]
Box = tuple[float, float, float, float]

_STRIP = 40_000
"""Pixels that are upsampled at once: as many as the caches of a core hold with their logits."""


class Mapping(Protocol):
    """Where an image lies in the input of a network."""

    pad_x: int
    pad_y: int
    inner_width: int
    inner_height: int
    original_width: int
    original_height: int


@dataclass(frozen=True)
class ClassMap:
    """A class for every pixel of the input of a network, or of an image after :meth:`in_image`.

    The pixels are computed when :attr:`labels` is read, once and at the size of the image alone: each gets the class
    of the largest logit, after the logits are interpolated bilinearly between the centres of their cells.

    Attributes:
        grid: float32 (C, rows, columns), logits; or uint8 (rows, columns), class indices.
        box: Part of the grid that the pixels cover: left, top, right, bottom in cells.
        width: Pixels.
        height: Pixels.
    """

    grid: Floats | Mask
    box: Box
    width: int
    height: int

    def in_image(self, fitted: Mapping) -> ClassMap:
        """The same in pixels of the image; the border that it was letterboxed with is cut off."""
        rows, columns = self.grid.shape[-2:]
        x, y = columns / self.width, rows / self.height
        right, bottom = fitted.pad_x + fitted.inner_width, fitted.pad_y + fitted.inner_height
        box = (fitted.pad_x * x, fitted.pad_y * y, min(right * x, columns), min(bottom * y, rows))
        return replace(self, box=box, width=fitted.original_width, height=fitted.original_height)

    @cached_property
    def labels(self) -> Mask:
        """uint8 (height, width), class indices."""
        if self.grid.ndim == 2:
            return resized(self.grid.astype(np.uint8, copy=False), self.width, self.height, self.box)
        return _largest(self.grid.astype(np.float32, copy=False), self.box, self.width, self.height)


def _largest(logits: Floats, box: Box, width: int, height: int) -> Mask:
    """Class indices (height, width) of the largest of the interpolated logits (C, rows, columns); of equals the first.

    Class by class on strips of rows, so that no array of all classes at the size of the image is made: a third of the
    time of Pillow's resizing, and a fifth of interpolating everything before one argmax.
    """
    left, right, share = _neighbours(box[0], box[2], logits.shape[2], width)
    upper, lower, shares = _neighbours(box[1], box[3], logits.shape[1], height)
    wide = _between(np.take(logits, left, 2), np.take(logits, right, 2), share)
    labels = np.zeros((height, width), np.uint8)
    step = max(1, _STRIP // width)
    for start in range(0, height, step):
        rows = slice(start, start + step)
        best = _between(wide[0, upper[rows]], wide[0, lower[rows]], shares[rows, None])
        for index, plane in enumerate(wide[1:], start=1):
            values = _between(plane[upper[rows]], plane[lower[rows]], shares[rows, None])
            is_larger = (values > best).view(np.uint8)
            # The index only rises, so the largest of the indices so far is the last one.
            np.maximum(labels[rows], is_larger * np.uint8(index), out=labels[rows])
            np.maximum(best, values, out=best)
    return labels


def _neighbours(
    start: float, stop: float, cells: int, pixels: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
    """For each pixel along one axis the cells whose centres it lies between, and the weight of the second one.

    Cells whose centre is in the border of a letterboxed image have no part in it.
    """
    first, last = max(0, int(np.ceil(start - 0.5))), min(cells - 1, int(np.floor(stop - 0.5)))
    if first > last:
        first = last = min(cells - 1, int((start + stop) / 2))
    at = (start + (np.arange(pixels) + 0.5) * ((stop - start) / pixels) - 0.5).clip(first, last)
    one = np.floor(at).astype(np.intp)
    return one, np.minimum(one + 1, last), (at - one).astype(np.float32)


def _between(one: Floats, other: Floats, share: Floats) -> Floats:
    """``one + (other - one) * share``, in the memory of ``other``, a copy."""
    other -= one
    other *= share
    other += one
    return other
