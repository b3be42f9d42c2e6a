"""What a detector says of one image. NumPy only: robots run this too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


class Mapping(Protocol):
    """The mapping from the input of a network back to the image."""

    def boxes_to_original(self, boxes: Floats) -> Floats:
        """Boxes (n, 4) xyxy in pixels of the input, in pixels of the image."""
        ...


@dataclass(frozen=True)
class Detections:
    """The detections of one image, in descending order of score.

    Attributes:
        boxes: float32 (n, 4) xyxy, pixels of the network's input (of the image after :meth:`in_image`).
        scores: float32 (n,) in [0, 1].
        labels: int64 (n,) class index.
    """

    boxes: Floats
    scores: Floats
    labels: NDArray[np.int64]

    def in_image(self, fitted: Mapping) -> Detections:
        """The same detections in pixels of the image."""
        return Detections(fitted.boxes_to_original(self.boxes), self.scores, self.labels)

    def above(self, score: float) -> Detections:
        """The detections with at least ``score``."""
        keep = self.scores >= score
        return Detections(self.boxes[keep], self.scores[keep], self.labels[keep])
