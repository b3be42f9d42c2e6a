"""Where an image lies in the input of a network, and where parts of training images lie on a canvas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Fitted(Protocol):
    """The mapping between an image and the input of a network (``robot_assets.runtime.preprocess``).

    A pixel of the input is ``pixel of the image * scale + pad``; the border is all that no pixel of the image is on.

    Attributes:
        scale_x: Pixels of the input per pixel of the image, along x.
        scale_y: The same along y.
        pad_x: Pixels of border on the left.
        pad_y: Pixels of border at the top.
        inner_width: Pixels of the input that the image is on, along x.
        inner_height: The same along y.
        original_width: Pixels of the image.
        original_height: Pixels of the image.
    """

    @property
    def scale_x(self) -> float: ...  # noqa: D102 - above

    @property
    def scale_y(self) -> float: ...  # noqa: D102 - above

    @property
    def pad_x(self) -> int: ...  # noqa: D102 - above

    @property
    def pad_y(self) -> int: ...  # noqa: D102 - above

    @property
    def inner_width(self) -> int: ...  # noqa: D102 - above

    @property
    def inner_height(self) -> int: ...  # noqa: D102 - above

    @property
    def original_width(self) -> int: ...  # noqa: D102 - above

    @property
    def original_height(self) -> int: ...  # noqa: D102 - above

    def boxes_to_input(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Boxes (n, 4) xyxy in pixels of the image, in pixels of the input."""
        ...

    def boxes_to_original(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Boxes (n, 4) xyxy in pixels of the input, in pixels of the image and clipped to it."""
        ...


@dataclass(frozen=True)
class Placement:
    """A part of a training image and where it lies on the canvas; tuples are (x, y) in pixels.

    Attributes:
        start: Its top left corner in the source.
        end: Its bottom right corner in the source, exclusive.
        position: Its top left corner on the canvas.
        size: Its width and height on the canvas.
    """

    start: tuple[int, int]
    end: tuple[int, int]
    position: tuple[int, int]
    size: tuple[int, int]

    @property
    def scale(self) -> tuple[float, float]:
        """Pixels of the canvas per pixel of the source."""
        return self.size[0] / (self.end[0] - self.start[0]), self.size[1] / (self.end[1] - self.start[1])
