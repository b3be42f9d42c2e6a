"""Two images of a data set with their labels and loss, or random ones. Needs torch; import it late."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from robot_assets.core.dispatch import chosen_by_params
from robot_assets.runtime.preprocess import to_input
from robot_assets.tasks.interface import Interface
from robot_assets.tasks.networks import NetworkDefinition
from robot_assets.tasks.registry import task_of

if TYPE_CHECKING:
    from robot_assets.tasks.learning import Learning

SIZE = 2
"""Images of a batch: batch norms need more than one value for each channel."""


@dataclass(frozen=True)
class SmokeBatch:
    """The images, and what their loss needs.

    Attributes:
        images: float32 (N, 3, H, W), preprocessed.
        description: Where they are from.
        learning: The loss of the task; None for random images.
        targets: The labels; None for random images.
    """

    images: Tensor
    description: str
    learning: Learning | None = None
    targets: Any = None

    def loss(self, heads: Sequence[Tensor]) -> tuple[Tensor, str]:
        """The loss of some heads, and its parts in words."""
        if self.learning is None:
            total = torch.stack([head.float().square().mean() for head in heads]).sum()
            return total, "mean square of the heads: there is no data set yet"
        loss = self.learning.loss(heads, self.targets)
        parts = ", ".join(f"{name} {float(value):.3g}" for name, value in loss.parts.items())
        return loss.total, f"loss {float(loss.total.detach()):.3g}" + (f" ({parts})" if len(loss.parts) > 1 else "")


@chosen_by_params
def read_batch(definition: NetworkDefinition, interface: Interface, dataset: Path | None) -> SmokeBatch:
    """The first and the middle image of the train split of ``dataset``; None: random images without labels."""
    if dataset is None:
        shape = (SIZE, *interface.input.shape[1:])
        images = torch.rand(shape, generator=torch.Generator().manual_seed(0))
        return SmokeBatch(images, f"{SIZE} random images")
    from robot_assets.data.packed import open_split
    from robot_assets.training.images import LabelledImages

    split = open_split(dataset, "train")
    learning = task_of(interface.task).load_training()(interface, definition.loss, torch.device("cpu"))
    labelled = LabelledImages(split, interface.input, learning, memory_limit_mb=0)
    chosen = [labelled[index] for index in (0, len(split) // 2)]
    images = torch.from_numpy(to_input([one.image for one in chosen], interface.input))
    description = f"{SIZE} of the {len(split)} images of train"
    return SmokeBatch(images, description, learning, learning.targets([one.labels for one in chosen]))
