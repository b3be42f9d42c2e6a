"""The images and boxes of a split at the input size, decoded once if they fit into memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from robot_assets.core.progress import report
from robot_assets.runtime.preprocess import letterbox
from robot_assets.tasks.detection.spec import NetworkSpec

if TYPE_CHECKING:
    from robot_assets.data.packed import PackedSplit


@dataclass(frozen=True)
class LabelledImage:
    """One letterboxed image and its objects.

    Attributes:
        image: uint8 (H, W, 3), RGB.
        boxes: float32 (n, 4) xyxy, pixels of ``image``.
        labels: int64 (n,), class index.
    """

    image: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]


class LabelledImages:
    """The letterboxed images of a split, in pack order.

    Args:
        split: The split.
        network: Defines their size.
        memory_limit_mb: MiB. Images are kept decoded if all of them fit; otherwise each access decodes.
    """

    def __init__(self, split: PackedSplit, network: NetworkSpec, memory_limit_mb: int) -> None:
        self._split = split
        self._network = network
        size = len(split) * network.input_height * network.input_width * 3
        self.is_cached = size <= memory_limit_mb * 2**20
        self._cache = [self._read(index) for index in range(len(split))] if self.is_cached else []

    def __len__(self) -> int:
        return len(self._split)

    def __getitem__(self, index: int) -> LabelledImage:
        """The image at ``index``."""
        return self._cache[index] if self.is_cached else self._read(index)

    def _read(self, index: int) -> LabelledImage:
        boxed = letterbox(self._split.image(index), self._network.input_height, self._network.input_width)
        if self.is_cached:
            report("decode images", index + 1, len(self._split))
        return LabelledImage(
            boxed.image, boxed.boxes_to_input(self._split.boxes(index)), np.asarray(self._split.labels(index))
        )
