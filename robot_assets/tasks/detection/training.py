"""Boxes of training images, and the loss of a detector. Needs torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robot_assets.tasks.detection.assign import Grid, Targets
from robot_assets.tasks.detection.loss import detection_loss
from robot_assets.tasks.learning import Loss

if TYPE_CHECKING:
    from robot_assets.core.spec import Spec
    from robot_assets.tasks.geometry import Fitted, Placement
    from robot_assets.tasks.interface import Interface

VISIBLE_SHARE_MIN = 0.3
"""Boxes with a smaller visible share are dropped."""
SIDE_MIN_PIXELS = 2.0
"""Boxes with a shorter side are dropped."""


@dataclass(frozen=True)
class BoxLabels:
    """The objects of one image.

    Attributes:
        boxes: float32 (n, 4) xyxy, pixels.
        labels: int64 (n,), class index.
    """

    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]


class DetectionLearning:
    """Boxes as targets, and the loss of logits and raw boxes.

    Args:
        interface: Input, heads and strides.
        options: A detector has none.
        device: Device of the heads.

    Attributes:
        parts: Names of the parts of the loss.
    """

    parts = ("cls", "box")

    def __init__(self, interface: Interface, options: Spec, device: torch.device) -> None:
        self._grid = Grid(interface, device)

    def labels(self, split: Any, index: int, fitted: Fitted) -> BoxLabels:
        """The boxes of image ``index`` in pixels of the input; crowd regions are left out."""
        return BoxLabels(fitted.boxes_to_input(split.boxes(index)), np.asarray(split.labels(index)))

    def focus_points(self, labels: BoxLabels) -> NDArray[np.float32]:
        """The centres of the boxes, (n, 2)."""
        centres: NDArray[np.float32] = (labels.boxes[:, :2] + labels.boxes[:, 2:]) / np.float32(2)
        return centres

    def placed(self, labels: Sequence[BoxLabels], placements: Sequence[Placement], size: tuple[int, int]) -> BoxLabels:
        """The boxes on a canvas, clipped to their part of it, without those that are hardly visible."""
        corners = np.concatenate([one.boxes for one in labels]).reshape(-1, 2, 2)
        # One pass over the boxes of all crops: (boxes, 4, 1, xy), the third axis for the two corners of a box.
        transforms = np.array([_transform(one) for one in placements], np.float32)
        transform = np.repeat(transforms, [len(one.boxes) for one in labels], axis=0)[:, :, None]
        start, scale, left_top, right_bottom = (transform[:, part] for part in range(4))
        moved = (corners - start) * scale + left_top
        clipped = np.minimum(np.maximum(moved, left_top), right_bottom)
        sides, before = clipped[:, 1] - clipped[:, 0], moved[:, 1] - moved[:, 0]
        visible = sides[:, 0] * sides[:, 1] / np.maximum(before[:, 0] * before[:, 1], 1e-6)
        keep = (visible >= VISIBLE_SHARE_MIN) & (sides >= SIDE_MIN_PIXELS).all(axis=1)
        return BoxLabels(clipped[keep].reshape(-1, 4), np.concatenate([one.labels for one in labels])[keep])

    def flipped(self, labels: BoxLabels, width: int) -> BoxLabels:
        """The boxes of a canvas of ``width`` pixels that was mirrored left to right."""
        boxes = labels.boxes.copy()
        boxes[:, 0], boxes[:, 2] = width - labels.boxes[:, 2], width - labels.boxes[:, 0]
        return BoxLabels(boxes, labels.labels)

    def targets(self, labels: Sequence[BoxLabels]) -> Targets:
        """The objects of a batch."""
        counts = [len(one.labels) for one in labels]
        return Targets(
            image=torch.from_numpy(np.repeat(np.arange(len(labels)), counts)),
            boxes=torch.from_numpy(np.concatenate([one.boxes for one in labels])),
            labels=torch.from_numpy(np.concatenate([one.labels for one in labels])),
        )

    def loss(self, heads: Sequence[Tensor], targets: Targets) -> Loss:
        """Binary cross-entropy of task-aligned class targets, complete IoU of boxes."""
        return detection_loss(heads, targets, self._grid)


def _transform(placement: Placement) -> tuple[tuple[float, float], ...]:
    """Start, scale, and both corners on the canvas."""
    (x, y), (width, height) = placement.position, placement.size
    return placement.start, placement.scale, placement.position, (x + width, y + height)
