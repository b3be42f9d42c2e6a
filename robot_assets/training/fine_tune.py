"""A few more epochs on any module with the heads of a detector: QAT, and the FP32 control that it is held to.

Batches, augmentation, loss and optimizer are those of training from scratch. There is no moving average: what
comes out is the module itself, so that a control and a quantized model differ in quantization alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from robot_assets.data.packed import open_split
from robot_assets.models.spec import NetworkSpec
from robot_assets.progress import report
from robot_assets.training.batches import Batches
from robot_assets.training.device import reproducible, training_device
from robot_assets.training.images import Pictures
from robot_assets.training.schedule import Schedule
from robot_assets.training.spec import TrainingSpec
from robot_assets.training.steps import Stepper

WARMUP_EPOCHS = 0.25


def fine_tune(
    module: nn.Module,
    dataset: Path,
    network: NetworkSpec,
    spec: TrainingSpec,
    *,
    epochs: int,
    learning_rate: float,
    seed: int,
    before_epoch: Callable[[int], None],
    after_epoch: Callable[[int], Mapping[str, Any]] | None = None,
    is_mixed: bool = False,
    what: str = "fine-tune",
) -> list[dict[str, Any]]:
    """Train ``module`` in place.

    Two calls with the same arguments and modules that start from the same weights see the same batches and
    learning rates. Every batch has ``spec.batch_size`` images: an exported module may be static.

    Args:
        module: float32 (N, 3, H, W) RGB in [0, 1] -> raw heads in the order of ``output_names``. On the device
            of ``training_device()``. Its train or eval mode is the caller's: see ``before_epoch``.
        dataset: A data set directory; its train split is used.
        network: Says the input size and how the heads decode.
        spec: Batch size, weight decay, augmentation, threads. Its schedule is replaced by the three below. Where
            it ends with plain epochs, all epochs here are plain.
        epochs: How many.
        learning_rate: Peak; a quarter of an epoch of warm-up, then half a cosine.
        seed: Of order and augmentation.
        before_epoch: Called with the epoch, from 0: ``module.train()``, or what an exported module needs, and
            freezing of observers and batch norms when it is time.
        after_epoch: Called with the epoch, from 0; what it returns (metrics of an evaluation) joins the record.
        is_mixed: Whether ``spec.precision`` may make it bfloat16. Fake quantization wants float32.
        what: Named in progress.

    Returns:
        One record an epoch: epoch (from 1), losses, learning rate, and what ``after_epoch`` gave.

    Raises:
        TrainingError: The loss is not finite.
    """
    plain = epochs if spec.plain_epochs else 0
    changes = {"epochs": epochs, "learning_rate": learning_rate, "seed": seed, "plain_epochs": plain}
    schedule_of = spec.model_copy(update=changes)
    device = training_device()
    history = []
    with reproducible(schedule_of):
        pictures = Pictures(open_split(dataset, "train"), network, spec.memory_limit_mb)
        batches = Batches(pictures, schedule_of, device)
        steps = len(batches)
        schedule = Schedule(learning_rate, round(WARMUP_EPOCHS * steps), epochs * steps)
        stepper = Stepper(module, network, schedule_of, schedule, device, is_mixed=is_mixed)
        try:
            for epoch in range(epochs):
                before_epoch(epoch)
                losses = stepper.epoch(batches, epoch)
                record: dict[str, Any] = {"epoch": epoch + 1, **losses.as_json()}
                if after_epoch is not None:
                    record |= after_epoch(epoch)
                history.append(record)
                report(what, epoch + 1, epochs, f"loss {losses.total:.3f}")
        finally:
            batches.close()
    return history
