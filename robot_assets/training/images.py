"""The images of a split at the input size with their labels, decoded once if they fit into memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robot_assets.core.progress import report
from robot_assets.runtime.preprocess import fitted
from robot_assets.tasks.interface import Input

if TYPE_CHECKING:
    from robot_assets.data.packed import PackedSplit
    from robot_assets.tasks.learning import Learning


@dataclass(frozen=True)
class LabelledImage:
    """One image at the size of the input, and its labels.

    Attributes:
        image: uint8 (H, W, 3), RGB.
        labels: In pixels of ``image``, of the type of the task.
    """

    image: NDArray[np.uint8]
    labels: Any


class LabelledImages:
    """The images of a split, in pack order.

    Args:
        split: The split.
        input: Their size, and how they are fitted into it.
        learning: Reads their labels.
        memory_limit_mb: MiB. Images are kept decoded if all of them fit; otherwise each access decodes.
    """

    def __init__(self, split: PackedSplit, input: Input, learning: Learning, memory_limit_mb: int) -> None:
        self._split, self._input, self._learning = split, input, learning
        size = len(split) * input.height * input.width * 3
        self.is_cached = size <= memory_limit_mb * 2**20
        self._cache = [self._read(index) for index in range(len(split))] if self.is_cached else []

    def __len__(self) -> int:
        return len(self._split)

    def __getitem__(self, index: int) -> LabelledImage:
        """The image at ``index``."""
        return self._cache[index] if self.is_cached else self._read(index)

    def _read(self, index: int) -> LabelledImage:
        boxed = fitted(self._split.image(index), self._input)
        if self.is_cached:
            report("decode images", index + 1, len(self._split))
        return LabelledImage(boxed.image, self._learning.labels(self._split, index, boxed))
