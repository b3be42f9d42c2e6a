"""The extra training that QAT and its float control share: same batches, order, schedule, averaging and rule.

Needs torch; import it late. The state is saved after each epoch, so a kill costs one epoch at most.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch.fx import GraphModule

from robot_assets.core.progress import report
from robot_assets.models.spec import NetworkSpec
from robot_assets.quantization.calibration import evaluate_graph
from robot_assets.quantization.graph import folded_weights, load_folded_weights
from robot_assets.quantization.spec import QatSpec
from robot_assets.training.batches import Batches
from robot_assets.training.ema import MovingAverage
from robot_assets.training.evaluate import DetectionMetrics, Split
from robot_assets.training.resume import Progress, load_state, save_state
from robot_assets.training.schedule import Schedule
from robot_assets.training.spec import TrainingSpec
from robot_assets.training.steps import Stepper

_WARMUP_SHARE = 0.1


@dataclass(frozen=True)
class Tuned:
    """What a fine-tuning reached.

    Attributes:
        weights: Folded weights of the best epoch.
        metrics: Its metrics on val.
        best_epoch: From 1; 0 when no epoch was better than the start.
        history: One record an epoch.
    """

    weights: dict[str, torch.Tensor]
    metrics: DetectionMetrics
    best_epoch: int
    history: list[dict[str, Any]]


def extra_training(training: TrainingSpec, spec: QatSpec) -> TrainingSpec:
    """The schedule of the extra epochs: the training's own, shorter, lower and with other augmentations."""
    return training.model_copy(
        update={
            "epochs": spec.epochs,
            "learning_rate": spec.learning_rate,
            "warmup_epochs": 0.0,
            "plain_epochs": min(training.plain_epochs, spec.epochs),
            "seed": training.seed + 1,
        }
    )


def fine_tune(
    name: str,
    prepared: GraphModule,
    start: DetectionMetrics,
    batches: Batches,
    val: Split,
    network: NetworkSpec,
    training: TrainingSpec,
    device: torch.device,
    scratch: Path,
    mark: str,
) -> Tuned:
    """Train ``prepared`` in the mode that it is in, and keep the best of its start and its epochs on val.

    Args:
        name: Of this training, for progress.
        prepared: A prepared graph; changed in place.
        start: Its metrics on val as it is.
        batches: Training batches of ``training``.
        val: The validation split.
        network: Says the heads.
        training: Epochs, learning rate, averaging.
        device: Where to train.
        scratch: Directory of this training alone, for the state that a rerun continues from.
        mark: What the state belongs to.

    Raises:
        TrainingError: The loss is not finite.
    """
    module = prepared.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    with warnings.catch_warnings():
        # torch warns of its own class when a graph is copied.
        warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
        average = MovingAverage(module, training.ema_decay)
    averaged = cast(GraphModule, average.network)
    steps = training.epochs * len(batches)
    schedule = Schedule(training.learning_rate, round(_WARMUP_SHARE * steps), steps)
    stepper = Stepper(module, network, training, schedule, device, is_mixed=False)
    progress = _continue(scratch, mark, module, average, stepper)
    if progress.best is None:
        progress.best = (start.map50, 0, folded_weights(module))
    while progress.epochs < training.epochs:
        number = progress.epochs
        losses = stepper.epoch(batches, number, average=average)
        metrics = evaluate_graph(averaged, val, network, device)
        if metrics.map50 > progress.best[0]:
            progress.best = (metrics.map50, number + 1, folded_weights(averaged))
        progress.history.append({"epoch": number + 1, **losses.as_json(), "val_map50": round(metrics.map50, 6)})
        progress.epochs = number + 1
        _save(scratch, mark, progress, module, average, stepper)
        report(name, number + 1, training.epochs, f"loss {losses.total:.3f}, val mAP@50 {metrics.map50:.3f}")
    _, best_epoch, weights = progress.best
    if best_epoch == 0:
        return Tuned(weights, start, 0, progress.history)
    # A resumed training remembers the figure that it ranks by, not all of its metrics.
    load_folded_weights(averaged, weights)
    return Tuned(weights, evaluate_graph(averaged, val, network, device), best_epoch, progress.history)


def _save(
    scratch: Path,
    mark: str,
    progress: Progress,
    module: GraphModule,
    average: MovingAverage,
    stepper: Stepper,
) -> None:
    parts = {
        "module": module.state_dict(),
        "average": average.network.state_dict(),
        "average_steps": average.steps,
        "optimizer": stepper.optimizer.state_dict(),
    }
    save_state(scratch, mark, progress, parts)


def _continue(scratch: Path, mark: str, module: GraphModule, average: MovingAverage, stepper: Stepper) -> Progress:
    state = load_state(scratch, mark)
    if state is None:
        return Progress()
    progress, parts = state
    module.load_state_dict(parts["module"])
    average.network.load_state_dict(parts["average"])
    average.steps = parts["average_steps"]
    stepper.optimizer.load_state_dict(parts["optimizer"])
    return progress
