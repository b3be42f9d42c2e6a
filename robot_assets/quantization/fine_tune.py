"""Fine-tunes a prepared graph. QAT and its float control share batches, their order, schedule, averaging and selection.

Needs torch; import it late. The state is saved after each epoch: a kill costs one epoch at most.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch.fx import GraphModule

from robot_assets.core.progress import report
from robot_assets.quantization.calibration import evaluate_graph
from robot_assets.quantization.graph import folded_weights, load_folded_weights
from robot_assets.quantization.spec import QatSpec
from robot_assets.tasks.interface import Interface
from robot_assets.tasks.learning import Learning
from robot_assets.tasks.metrics import Metrics
from robot_assets.tasks.task import Split
from robot_assets.training.batches import Batches
from robot_assets.training.ema import MovingAverage
from robot_assets.training.resume import TrainingState
from robot_assets.training.schedule import Schedule
from robot_assets.training.spec import TrainingSpec
from robot_assets.training.steps import Trainer

_WARMUP_SHARE = 0.1


@dataclass(frozen=True)
class FineTuned:
    """The result of fine-tuning.

    Attributes:
        weights: Folded weights of the best epoch.
        metrics: Its metrics on val.
        best_epoch: From 1; 0 if no epoch was better than the start.
        history: One record per epoch.
    """

    weights: dict[str, torch.Tensor]
    metrics: Metrics
    best_epoch: int
    history: list[dict[str, Any]]


def fine_tuning_spec(training: TrainingSpec, spec: QatSpec) -> TrainingSpec:
    """The schedule of ``training`` with the epochs and learning rate of ``spec``, and with another seed."""
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
    start: Metrics,
    batches: Batches,
    val: Split,
    interface: Interface,
    learning: Learning,
    training: TrainingSpec,
    device: torch.device,
    scratch: Path,
    fingerprint: str,
) -> FineTuned:
    """Train ``prepared`` in its current mode, and keep the best of its start and its epochs on val.

    Args:
        name: Name of this training in progress reports.
        prepared: A prepared graph; changed in place.
        start: Its metrics on val before the training.
        batches: Training batches of ``training``.
        val: The validation split.
        interface: Input, heads and decoder.
        learning: The loss.
        training: Epochs, learning rate, averaging.
        device: Device to train on.
        scratch: Directory of this training alone, with the state that a rerun continues from. The state of the last
            epoch stays.
        fingerprint: Identifies the training whose state may be continued.

    Raises:
        TrainingError: The loss is not finite.
    """
    module = prepared.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    with warnings.catch_warnings():
        # torch warns about its own class when a graph is copied.
        warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
        average = MovingAverage(module, training.ema_decay)
    averaged = cast(GraphModule, average.network)
    steps = training.epochs * len(batches)
    schedule = Schedule(training.learning_rate, round(_WARMUP_SHARE * steps), steps)
    trainer = Trainer(module, learning, training, schedule, device, is_mixed=False)
    state = TrainingState(scratch, fingerprint, module, average, trainer.optimizer)
    progress = state.restore()
    if progress.best is None:
        progress.best = (start.score, 0, folded_weights(module))
    while progress.epochs < training.epochs:
        number = progress.epochs
        losses = trainer.train_epoch(batches, number, average=average)
        metrics = evaluate_graph(averaged, val, interface, device)
        # Rounded as in artifacts: the metrics of the start may come from one.
        if round(metrics.score, 6) > round(progress.best[0], 6):
            progress.best = (metrics.score, number + 1, folded_weights(averaged))
        progress.history.append(
            {"epoch": number + 1, **losses.as_json(), f"val_{metrics.metric.key}": round(metrics.score, 6)}
        )
        progress.epochs = number + 1
        state.save(progress)
        report(
            name, number + 1, training.epochs, f"loss {losses.total:.3f}, val {metrics.metric.name} {metrics.score:.3f}"
        )
    _, best_epoch, weights = progress.best
    if best_epoch == 0:
        return FineTuned(weights, start, 0, progress.history)
    # The state keeps only the score of the best epoch, not all of its metrics.
    load_folded_weights(averaged, weights)
    return FineTuned(weights, evaluate_graph(averaged, val, interface, device), best_epoch, progress.history)
