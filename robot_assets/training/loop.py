"""Training from scratch: a data set in, a checkpoint with its history and metrics out."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from robot_assets.core.progress import report
from robot_assets.core.publishing import publishing_directory
from robot_assets.data.packed import open_split
from robot_assets.models.checkpoint import save_checkpoint
from robot_assets.models.network import build_network
from robot_assets.models.spec import NetworkSpec
from robot_assets.training.batches import Batches
from robot_assets.training.device import reproducible, training_device, uses_bfloat16
from robot_assets.training.ema import MovingAverage
from robot_assets.training.evaluate import DetectionMetrics, Infer, evaluate
from robot_assets.training.images import Pictures
from robot_assets.training.resume import Progress, fingerprint, forget_state, load_state, save_state
from robot_assets.training.schedule import Schedule
from robot_assets.training.spec import TrainingSpec
from robot_assets.training.steps import Stepper

EVALUATION_BATCH = 16


@dataclass(frozen=True)
class TrainingSummary:
    """What a training did. The times are of this process alone and go into no artifact.

    Attributes:
        val: Metrics of the checkpoint on the validation split.
        test: Metrics of the checkpoint on the test split.
        epochs: Epochs trained.
        best_epoch: The epoch (from 1) whose averaged weights were kept.
        parameters: Trained numbers.
        images_per_s: Training images a second, evaluation left out.
        seconds: Wall clock of this process.
        resumed_from_epoch: Epochs that an earlier, killed process had done; 0 when there was none.
    """

    val: DetectionMetrics
    test: DetectionMetrics
    epochs: int
    best_epoch: int
    parameters: int
    images_per_s: float
    seconds: float
    resumed_from_epoch: int


def train(dataset: Path, network: NetworkSpec, spec: TrainingSpec, out: Path, scratch: Path) -> TrainingSummary:
    """Train a detector; the weights of the best evaluation on val are kept.

    The same data set, parameters, machine and thread count give the same bytes, also when the training was
    killed and run again with the same ``scratch``.

    Args:
        dataset: A data set directory.
        network: The network.
        spec: The schedule.
        out: Becomes a directory with ``model.safetensors``, ``config.json``, ``history.json`` (one record an
            epoch) and ``metrics.json`` (val and test).
        scratch: Directory of this training alone, for the state that a rerun continues from.

    Raises:
        TrainingError: The loss is not finite.
    """
    began = time.perf_counter()
    device = training_device()
    with reproducible(spec):
        run = _Run(dataset, network, spec, device, scratch)
        try:
            while run.progress.epochs < spec.epochs:
                run.epoch()
        finally:
            run.batches.close()
        summary = _publish(run, dataset, out, began)
    forget_state(scratch)
    return summary


class _Run:
    """One training from its first epoch, or from where the state in ``scratch`` left it."""

    def __init__(
        self, dataset: Path, network: NetworkSpec, spec: TrainingSpec, device: torch.device, scratch: Path
    ) -> None:
        self.network, self.spec, self.device, self.scratch = network, spec, device, scratch
        split = open_split(dataset, "train")
        self.classes = split.classes
        self.val = open_split(dataset, "val")
        self.batches = Batches(Pictures(split, network, spec.memory_limit_mb), spec, device)
        fresh = build_network(network, len(self.classes), seed=spec.seed)
        self.module = fresh.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        self.average = MovingAverage(self.module, spec.ema_decay)
        steps = len(self.batches)
        schedule = Schedule(spec.learning_rate, round(spec.warmup_epochs * steps), spec.epochs * steps)
        self.stepper = Stepper(self.module, network, spec, schedule, device)
        self.mark = fingerprint(dataset, network, spec)
        self.progress = self._continue()
        self.resumed_from_epoch = self.progress.epochs

    def epoch(self) -> None:
        """Train one epoch, evaluate when it is time, save the state."""
        number = self.progress.epochs
        losses = self.stepper.epoch(self.batches, number, average=self.average)
        record: dict[str, Any] = {"epoch": number + 1, **losses.as_json()}
        note = f"loss {losses.total:.3f}"
        if (number + 1) % self.spec.evaluate_every == 0 or number + 1 == self.spec.epochs:
            metrics = evaluate(
                network_infer(self.average.network, self.device), self.val, self.network, EVALUATION_BATCH
            )
            record |= {"val_map50": round(metrics.map50, 6), "val_map50_95": round(metrics.map50_95, 6)}
            note += f", val mAP@50 {metrics.map50:.3f}"
            if self.progress.best is None or metrics.map50 > self.progress.best[0]:
                weights = {
                    name: leaf.detach().cpu().clone() for name, leaf in self.average.network.state_dict().items()
                }
                self.progress.best = (metrics.map50, number + 1, weights)
        self.progress.history.append(record)
        self.progress.epochs = number + 1
        self._save()
        report("train", number + 1, self.spec.epochs, note)

    def _save(self) -> None:
        parts = {
            "module": self.module.state_dict(),
            "average": self.average.network.state_dict(),
            "average_steps": self.average.steps,
            "optimizer": self.stepper.optimizer.state_dict(),
        }
        save_state(self.scratch, self.mark, self.progress, parts)

    def _continue(self) -> Progress:
        state = load_state(self.scratch, self.mark)
        if state is None:
            return Progress()
        progress, parts = state
        self.module.load_state_dict(parts["module"])
        self.average.network.load_state_dict(parts["average"])
        self.average.steps = parts["average_steps"]
        self.stepper.optimizer.load_state_dict(parts["optimizer"])
        report("train", progress.epochs, self.spec.epochs, f"continued after epoch {progress.epochs}")
        return progress


def network_infer(module: nn.Module, device: torch.device) -> Infer:
    """``module`` as something that :func:`evaluate` can call. The module must be in eval mode."""

    def infer(images: NDArray[np.float32]) -> Sequence[NDArray[np.floating]]:
        with torch.inference_mode():
            batch = torch.from_numpy(images).to(device, memory_format=torch.channels_last)
            return [head.float().cpu().numpy() for head in module(batch)]

    return infer


def _publish(run: _Run, dataset: Path, out: Path, began: float) -> TrainingSummary:
    """Score the best weights on val and test and publish everything."""
    if run.progress.best is None:
        raise RuntimeError("a finished training has no evaluation")
    _, best_epoch, weights = run.progress.best
    module = run.average.network
    module.load_state_dict(weights)
    infer = network_infer(module, run.device)
    val, test = (
        evaluate(infer, split, run.network, EVALUATION_BATCH) for split in (run.val, open_split(dataset, "test"))
    )
    with publishing_directory(out) as staging:
        save_checkpoint(staging, weights, run.network, run.classes)
        _write_json(staging / "history.json", {"epochs": run.progress.history, "precision": _precision(run)})
        metrics = {"val": val.as_json(), "test": test.as_json(), "best_epoch": best_epoch}
        _write_json(staging / "metrics.json", metrics)
    return TrainingSummary(
        val=val,
        test=test,
        epochs=run.progress.epochs,
        best_epoch=best_epoch,
        parameters=sum(leaf.numel() for leaf in module.parameters()),
        images_per_s=run.stepper.trained_images / max(run.stepper.seconds, 1e-9),
        seconds=time.perf_counter() - began,
        resumed_from_epoch=run.resumed_from_epoch,
    )


def _precision(run: _Run) -> str:
    return "bfloat16" if uses_bfloat16(run.spec, run.device) else "float32"


def _write_json(path: Path, document: Any) -> None:
    path.write_text(json.dumps(document, indent=2, sort_keys=True, allow_nan=False) + "\n")
