"""The training step and the epoch, shared by training from scratch, QAT and its float control."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from robot_assets.core.errors import TrainingError
from robot_assets.core.progress import report
from robot_assets.tasks.learning import Learning
from robot_assets.training.batches import Batch, Batches
from robot_assets.training.device import uses_bfloat16
from robot_assets.training.ema import MovingAverage
from robot_assets.training.schedule import Schedule
from robot_assets.training.spec import TrainingSpec

GRADIENT_NORM_MAX = 10.0


@dataclass(frozen=True)
class EpochLosses:
    """Means over the steps of an epoch.

    Attributes:
        total: The loss.
        parts: Its parts by name.
        learning_rate: Learning rate of the last step.
    """

    total: float
    parts: dict[str, float]
    learning_rate: float

    def as_json(self) -> dict[str, float]:
        """Plain data for ``history.json``."""
        return {
            "loss": round(self.total, 6),
            **{f"loss_{name}": round(value, 6) for name, value in self.parts.items()},
            "learning_rate": self.learning_rate,
        }


class Trainer:
    """Trains a module by the loss of its task, one epoch at a time.

    It never switches the module between train and eval mode: an exported module (QAT) does not support it.

    Args:
        module: float32 (N, 3, H, W) -> heads in the order of the interface.
        learning: The loss of those heads.
        spec: Optimizer and precision.
        schedule: Learning rate by step.
        device: Device of ``module``.
        is_mixed: Whether bfloat16 may be used; False for QAT.

    Attributes:
        module: The module.
        optimizer: AdamW over its parameters.
        trained_images: Images that this process has trained on.
        seconds: Seconds that this process has spent in :meth:`train_epoch`.
    """

    def __init__(
        self,
        module: nn.Module,
        learning: Learning,
        spec: TrainingSpec,
        schedule: Schedule,
        device: torch.device,
        *,
        is_mixed: bool = True,
    ) -> None:
        self.module = module
        self.optimizer = make_optimizer(module, spec)
        self.trained_images = 0
        self.seconds = 0.0
        self._leaves = list(module.parameters())
        self._schedule = schedule
        self._learning = learning
        self._device = device
        self._is_mixed = is_mixed and uses_bfloat16(spec, device)

    def train_epoch(self, batches: Batches, epoch: int, *, average: MovingAverage | None = None) -> EpochLosses:
        """Train on the batches of epoch number ``epoch``, from 0.

        Raises:
            TrainingError: The loss is not finite; the weights are then unusable.
        """
        began = time.perf_counter()
        sums = torch.zeros(1 + len(self._learning.parts), device=self._device)
        rate = 0.0
        for number, batch in enumerate(_with_progress(batches, epoch)):
            rate = self._schedule.at(epoch * len(batches) + number)
            sums += self.train_step(batch, rate, place=f"epoch {epoch + 1}, step {number + 1} of {len(batches)}")
            if average is not None:
                average.update()
            self.trained_images += len(batch.images)
        total, *parts = (sums / len(batches)).tolist()
        self.seconds += time.perf_counter() - began
        return EpochLosses(total, dict(zip(self._learning.parts, parts, strict=True)), rate)

    def train_step(self, batch: Batch, learning_rate: float, place: str) -> torch.Tensor:
        """Do one optimizer step. Returns the detached total and parts of the loss; ``place`` is named in errors."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._is_mixed):
            heads = self.module(batch.images)
        loss = self._learning.loss(heads, batch.targets)
        self.optimizer.zero_grad(set_to_none=True)
        loss.total.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.get_total_norm([leaf.grad for leaf in self._leaves if leaf.grad is not None])
        loss_value, norm_value = float(loss.total.detach()), float(norm)
        if not math.isfinite(loss_value) or not math.isfinite(norm_value):
            raise TrainingError(
                f"loss {loss_value:g}, gradient norm {norm_value:g} at {place}, learning rate {learning_rate:g}",
                needed="a finite loss and a finite gradient",
                fix="lower training.learning_rate or raise training.warmup_epochs in params.yaml and build again; "
                "if the loss is still not finite, check the labels: robot-assets data check DATASET",
            )
        if norm_value >= GRADIENT_NORM_MAX:  # Below it clipping multiplies by 1, with a pass over all gradients.
            nn.utils.clip_grads_with_norm_(self._leaves, GRADIENT_NORM_MAX, norm)
        self.optimizer.step()
        return torch.stack([loss.total.detach(), *(loss.parts[name] for name in self._learning.parts)])


def make_optimizer(module: nn.Module, spec: TrainingSpec) -> torch.optim.AdamW:
    """AdamW (arXiv 1711.05101), without weight decay of biases and norms, which have one axis."""
    trained = [leaf for leaf in module.parameters() if leaf.requires_grad]
    groups = [
        {"params": [leaf for leaf in trained if leaf.ndim > 1], "weight_decay": spec.weight_decay},
        {"params": [leaf for leaf in trained if leaf.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=spec.learning_rate, foreach=True)


def _with_progress(batches: Batches, epoch: int) -> Iterator[Batch]:
    for number, batch in enumerate(batches.epoch(epoch)):
        yield batch
        report(f"train epoch {epoch + 1}", number + 1, len(batches))
