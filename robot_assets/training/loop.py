"""Trains a network and publishes a checkpoint with its history and metrics."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from robot_assets.core.documents import write_json
from robot_assets.core.progress import report
from robot_assets.core.publishing import publishing_directory
from robot_assets.data.packed import open_split
from robot_assets.tasks.building import build
from robot_assets.tasks.checkpoint import CheckpointConfig, save_checkpoint
from robot_assets.tasks.metrics import Metrics
from robot_assets.tasks.networks import NetworkDefinition, interface_of
from robot_assets.tasks.registry import task_of
from robot_assets.training.batches import Batches
from robot_assets.training.device import reproducible, training_device, uses_bfloat16
from robot_assets.training.ema import MovingAverage
from robot_assets.training.evaluate import Infer, evaluate
from robot_assets.training.images import LabelledImages
from robot_assets.training.resume import TrainingState, fingerprint_of
from robot_assets.training.schedule import Schedule
from robot_assets.training.spec import TrainingSpec
from robot_assets.training.steps import Trainer

EVALUATION_BATCH = 16


@dataclass(frozen=True)
class TrainingSummary:
    """The result of a training. The times are those of this process and part of no artifact.

    Attributes:
        val: Metrics of the checkpoint on the validation split.
        test: Metrics of the checkpoint on the test split.
        epochs: Epochs trained, those of earlier processes included.
        best_epoch: The epoch (from 1) whose averaged weights were kept.
        parameters: Number of trained parameters.
        images_per_s: Training images per second without evaluation; 0 when this process trained no epoch.
        seconds: Wall clock of this process.
        resumed_from_epoch: Epochs done by an earlier process; 0 without one.
    """

    val: Metrics
    test: Metrics
    epochs: int
    best_epoch: int
    parameters: int
    images_per_s: float
    seconds: float
    resumed_from_epoch: int


def train(
    dataset: Path,
    definition: NetworkDefinition,
    spec: TrainingSpec,
    out: Path,
    scratch: Path,
    initialize: Callable[[nn.Module], object] | None = None,
) -> TrainingSummary:
    """Train a network and keep the weights of the best evaluation on val.

    The same data set, parameters, machine and thread count give the same bytes, also after a kill and a rerun with
    the same ``scratch``.

    Args:
        dataset: A data set directory.
        definition: The network, its preprocessing and its loss.
        spec: The schedule.
        out: Directory to publish: ``model.safetensors``, ``config.json``, ``history.json`` (one record per epoch)
            and ``metrics.json`` (val and test).
        scratch: Directory of this training alone, with the state that a rerun continues from. The state of the last
            epoch stays; remove the directory when ``out`` has been stored.
        initialize: Changes the initial weights in place, such as to those of another training.

    Raises:
        TrainingError: The loss is not finite.
    """
    began = time.perf_counter()
    device = training_device()
    with reproducible(spec):
        run = _Run(dataset, definition, spec, device, scratch, initialize)
        try:
            while run.progress.epochs < spec.epochs:
                run.train_epoch()
        finally:
            run.batches.close()
        return _publish(run, dataset, out, began)


class _Run:
    """One training, from its first epoch or from the state in ``scratch``."""

    def __init__(
        self,
        dataset: Path,
        definition: NetworkDefinition,
        spec: TrainingSpec,
        device: torch.device,
        scratch: Path,
        initialize: Callable[[nn.Module], object] | None,
    ) -> None:
        self.spec, self.device = spec, device
        split = open_split(dataset, "train")
        self.val = open_split(dataset, "val")
        task = task_of(definition.task)
        self.interface = interface_of(task, definition.network, definition.input, split.classes)
        self.config = CheckpointConfig(definition.network, self.interface)
        input = self.interface.input
        learning = task.load_training()(self.interface, definition.loss, device)
        images = LabelledImages(split, input, learning, spec.memory_limit_mb)
        self.batches = Batches(images, spec, learning, input, device)
        initial = build(definition.network, self.interface, seed=spec.seed)
        if initialize is not None:
            initialize(initial)
        module = initial.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        self.average = MovingAverage(module, spec.ema_decay)
        steps = len(self.batches)
        schedule = Schedule(spec.learning_rate, round(spec.warmup_epochs * steps), spec.epochs * steps)
        self.trainer = Trainer(module, learning, spec, schedule, device)
        fingerprint = fingerprint_of(dataset, self.config, definition.loss, spec)
        self.state = TrainingState(scratch, fingerprint, module, self.average, self.trainer.optimizer)
        self.progress = self.state.restore()
        self.resumed_from_epoch = self.progress.epochs
        if self.resumed_from_epoch:
            report("train", self.resumed_from_epoch, spec.epochs, f"continued after epoch {self.resumed_from_epoch}")

    def train_epoch(self) -> None:
        """Train one epoch, evaluate if it is due, and save the state."""
        number = self.progress.epochs
        losses = self.trainer.train_epoch(self.batches, number, average=self.average)
        record: dict[str, Any] = {"epoch": number + 1, **losses.as_json()}
        note = f"loss {losses.total:.3f}"
        if (number + 1) % self.spec.evaluate_every == 0 or number + 1 == self.spec.epochs:
            metrics = evaluate(
                network_infer(self.average.network, self.device), self.val, self.interface, EVALUATION_BATCH
            )
            record |= {f"val_{key}": round(value, 6) for key, value in metrics.values.items()}
            note += f", val {metrics.metric.name} {metrics.score:.3f}"
            if self.progress.best is None or metrics.score > self.progress.best[0]:
                weights = {
                    name: leaf.detach().cpu().clone() for name, leaf in self.average.network.state_dict().items()
                }
                self.progress.best = (metrics.score, number + 1, weights)
        self.progress.history.append(record)
        self.progress.epochs = number + 1
        self.state.save(self.progress)
        report("train", number + 1, self.spec.epochs, note)


def network_infer(module: nn.Module, device: torch.device) -> Infer:
    """Wrap ``module``, which must be in eval mode, for :func:`evaluate`."""

    def infer(images: NDArray[np.float32]) -> Sequence[NDArray[np.floating]]:
        with torch.inference_mode():
            batch = torch.from_numpy(images).to(device, memory_format=torch.channels_last)
            return [head.float().cpu().numpy() for head in module(batch)]

    return infer


def _publish(run: _Run, dataset: Path, out: Path, began: float) -> TrainingSummary:
    """Evaluate the best weights on val and test and publish the checkpoint."""
    if run.progress.best is None:
        raise RuntimeError("a finished training has no evaluation")
    _, best_epoch, weights = run.progress.best
    module = run.average.network
    module.load_state_dict(weights)
    infer = network_infer(module, run.device)
    val, test = (
        evaluate(infer, split, run.interface, EVALUATION_BATCH) for split in (run.val, open_split(dataset, "test"))
    )
    with publishing_directory(out) as staging:
        save_checkpoint(staging, weights, run.config)
        write_json(staging / "history.json", {"epochs": run.progress.history, "precision": _precision(run)})
        metrics = {
            "metric": val.metric.key,
            "val": val.as_json(),
            "test": test.as_json(),
            "best_epoch": best_epoch,
        }
        write_json(staging / "metrics.json", metrics)
    return TrainingSummary(
        val=val,
        test=test,
        epochs=run.progress.epochs,
        best_epoch=best_epoch,
        parameters=sum(leaf.numel() for leaf in module.parameters()),
        images_per_s=run.trainer.trained_images / max(run.trainer.seconds, 1e-9),
        seconds=time.perf_counter() - began,
        resumed_from_epoch=run.resumed_from_epoch,
    )


def _precision(run: _Run) -> str:
    return "bfloat16" if uses_bfloat16(run.spec, run.device) else "float32"
