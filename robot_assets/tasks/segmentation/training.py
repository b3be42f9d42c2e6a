"""Masks of training images, and the loss of a segmentation. Needs torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robot_assets.core.errors import ParamsError
from robot_assets.core.validation import unknown
from robot_assets.tasks.learning import Loss
from robot_assets.tasks.segmentation.classes import IGNORED
from robot_assets.tasks.segmentation.labels import MASKS
from robot_assets.tasks.segmentation.losses import class_shares, cross_entropy, dice, lovasz_softmax, majority
from robot_assets.tasks.segmentation.masks import Mask, placed, resized

if TYPE_CHECKING:
    from robot_assets.tasks.geometry import Fitted, Placement
    from robot_assets.tasks.interface import Interface
    from robot_assets.tasks.segmentation.spec import SegmentationLossSpec
    from robot_assets.tasks.task import Split

RARE_SHARE = 0.02
"""A class with a smaller share of an image is rare in it: crops are centred near its pixels."""
POINTS_PER_CLASS = 4


@dataclass(frozen=True)
class MaskTargets:
    """The masks of a batch.

    Attributes:
        masks: uint8 (N, H, W), class indices at the size of the input.
    """

    masks: Tensor

    def to(self, device: torch.device) -> MaskTargets:
        """The same on ``device``."""
        return MaskTargets(self.masks.to(device, non_blocking=True))


class SegmentationLearning:
    """Masks as targets, and cross-entropy with an optional Lovasz-Softmax and an optional Dice term.

    The labels of an image are its mask at the size of the input, uint8 (H, W). The border of a letterboxed image is
    ignored, as is what no image of a canvas covers.

    Args:
        interface: Classes and input.
        options: Weights of the terms and of the classes.
        device: Device of the heads.

    Attributes:
        parts: Names of the parts of the loss.

    Raises:
        ParamsError: A class weight is of no class.
    """

    def __init__(self, interface: Interface, options: SegmentationLossSpec, device: torch.device) -> None:
        self._input, self._options = interface.input, options
        self._weights = torch.tensor(_class_weights(options, interface.classes), device=device)
        optional = {"lovasz": options.lovasz, "dice": options.dice}
        self.parts = ("cross_entropy", *(name for name, weight in optional.items() if weight > 0))

    def labels(self, split: Split, index: int, fitted: Fitted) -> Mask:
        """The mask of image ``index``, at the size of the input."""
        mask = resized(MASKS.unpacked(split, index), fitted.inner_width, fitted.inner_height)
        return placed([(mask, (fitted.pad_x, fitted.pad_y))], self._input.width, self._input.height)

    def focus_points(self, labels: Mask) -> NDArray[np.float32]:
        """Some pixels (n, 2) xy of the classes that are rare in the image, evenly spaced in it."""
        counts = np.bincount(labels.ravel(), minlength=256)[:IGNORED]
        rare = np.flatnonzero((counts > 0) & (counts < RARE_SHARE * labels.size))
        points = [np.argwhere(labels == index)[:: -(-counts[index] // POINTS_PER_CLASS)] for index in rare]
        return np.concatenate([np.zeros((0, 2)), *points])[:, ::-1].astype(np.float32) + np.float32(0.5)

    def placed(self, labels: Sequence[Mask], placements: Sequence[Placement], size: tuple[int, int]) -> Mask:
        """The masks of parts of some images on a canvas, each pixel with the class of the nearest one."""
        parts = [
            (resized(mask, *one.size, (*one.start, *one.end)), one.position)
            for mask, one in zip(labels, placements, strict=True)
        ]
        return placed(parts, *size)

    def flipped(self, labels: Mask, width: int) -> Mask:
        """The mask mirrored left to right."""
        return labels[:, ::-1]

    def targets(self, labels: Sequence[Mask]) -> MaskTargets:
        """The masks of a batch."""
        return MaskTargets(torch.from_numpy(np.stack(labels)))

    def loss(self, heads: Sequence[Tensor], targets: MaskTargets) -> Loss:
        """Cross-entropy of all pixels, and the optional terms of the cells, weighted."""
        logits = heads[0].float()
        classes, rows, columns = logits.shape[1:]
        shares = class_shares(targets.masks, classes, rows, columns)
        terms = {"cross_entropy": cross_entropy(logits, shares, self._weights)}
        if len(self.parts) > 1:
            probabilities = logits.softmax(dim=1)
            if "lovasz" in self.parts:
                pixels = probabilities.permute(0, 2, 3, 1).reshape(-1, classes)
                terms["lovasz"] = self._options.lovasz * lovasz_softmax(pixels, majority(shares).flatten())
            if "dice" in self.parts:
                terms["dice"] = self._options.dice * dice(probabilities, shares)
        total = torch.stack([terms[name] for name in self.parts]).sum()
        return Loss(total, {name: term.detach() for name, term in terms.items()})


def _class_weights(options: SegmentationLossSpec, classes: Sequence[str]) -> list[float]:
    for name in options.class_weights:
        if name not in classes:
            raise ParamsError(
                f"loss.class_weights.{name}: {unknown('class', name, classes, 'classes')}",
                needed=f"names of classes of the data set: {', '.join(classes)}",
                fix=f"correct or remove loss.class_weights.{name} of the model in params.yaml",
            )
    return [options.class_weights.get(name, 1.0) for name in classes]
