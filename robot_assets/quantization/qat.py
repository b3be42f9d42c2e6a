"""Quantization-aware training (QAT), and a float control with the same extra training.

The start is the PTQ model: its batch norms are folded, and its activation scales stay fixed; weight scales follow the
weights. So QAT and PTQ never calibrate differently, and the gain of QAT is measured against the PTQ that would be
exported instead. The control shows how much of the gain is due to the longer training alone.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_assets.core.digests import md5_of
from robot_assets.core.errors import QuantizationError
from robot_assets.core.publishing import publishing_directory
from robot_assets.core.spec import Spec
from robot_assets.quantization.artifact import (
    QUANTIZATION,
    Quantization,
    checkpoint_val_metrics,
    load_quantization,
    save_quantized,
)
from robot_assets.quantization.calibration import evaluate_graph
from robot_assets.quantization.spec import QatSpec
from robot_assets.tasks.metrics import Metric
from robot_assets.tasks.registry import task_of

if TYPE_CHECKING:
    import torch
    from torch.fx import GraphModule

    from robot_assets.quantization.fine_tune import FineTuned
    from robot_assets.tasks.learning import Learning
    from robot_assets.tasks.metrics import Metrics
    from robot_assets.tasks.task import Task
    from robot_assets.training.batches import Batches
    from robot_assets.training.spec import TrainingSpec


@dataclass(frozen=True)
class QatSummary:
    """The result of quantization-aware training; scores on val, in [0, 1]. The time is part of no artifact.

    Attributes:
        calibrator: The calibrator of the activation scales.
        metric: What the scores are of.
        checkpoint_score: Of the float checkpoint.
        start_score: Of the quantized model before the extra training, which is the PTQ model.
        qat_score: Of the quantized model after it.
        fp32_control_score: Of the float control, after the same extra training.
        best_epoch: The epoch of QAT that was kept; 0 is the start.
        epochs: Extra epochs.
        seconds: Wall clock of this process.
    """

    calibrator: str
    metric: Metric
    checkpoint_score: float
    start_score: float
    qat_score: float
    fp32_control_score: float
    best_epoch: int
    epochs: int
    seconds: float


def qat(
    checkpoint: Path,
    ptq: Path,
    dataset: Path,
    spec: QatSpec,
    training: TrainingSpec,
    loss: Spec,
    out: Path,
    scratch: Path,
) -> QatSummary:
    """Train the PTQ model of ``checkpoint`` further with fake quantization, and the float model without it.

    Args:
        checkpoint: ``model.safetensors``, ``config.json`` and ``metrics.json`` of a float model.
        ptq: The PTQ model of ``checkpoint``: its activation scales, and its metrics, which are those of the start.
        dataset: The packed data set of its training.
        spec: Extra epochs and their learning rate.
        training: The rest of the schedule: batch size, augmentation, averaging, seed.
        loss: Parameters of the loss of the task.
        out: Directory to publish: folded weights, ``config.json``, ``quantization.json``.
        scratch: Directory of this training alone, with the states that a rerun continues from. They stay; remove the
            directory when ``out`` has been stored.

    Raises:
        QuantizationError: ``ptq`` is not the PTQ model of ``checkpoint``.
        TrainingError: The checkpoint does not load, or the loss is not finite.
    """
    from robot_assets.quantization.fine_tune import fine_tuning_spec
    from robot_assets.training.device import reproducible

    began = time.perf_counter()
    extra = fine_tuning_spec(training, spec)
    with reproducible(extra):
        run = _Run(checkpoint, ptq, dataset, extra, loss, scratch)
        try:
            control = run.train_control()
            tuned = run.train_quantized()
        finally:
            run.batches.close()
    run.prepared.to("cpu")
    quantization = Quantization(
        method="qat",
        calibrator=run.start.calibrator,
        scales=run.start.scales,
        metric=run.start.metric,
        val={**run.start.val, **_metrics_of(tuned, control)},
        float_layers=run.start.float_layers,
        training={"epochs": extra.epochs, "learning_rate": extra.learning_rate, **_histories_of(tuned, control)},
    )
    with publishing_directory(out) as staging:
        save_quantized(staging, run.prepared, run.config, quantization)
    return QatSummary(
        calibrator=quantization.calibrator,
        metric=tuned.metrics.metric,
        checkpoint_score=quantization.score_of("checkpoint"),
        start_score=run.start.score,
        qat_score=quantization.score,
        fp32_control_score=quantization.score_of("fp32_control"),
        best_epoch=tuned.best_epoch,
        epochs=extra.epochs,
        seconds=time.perf_counter() - began,
    )


def _metrics_of(tuned: FineTuned, control: FineTuned) -> dict[str, dict[str, Any]]:
    return {"qat": tuned.metrics.as_json(), "fp32_control": control.metrics.as_json()}


def _histories_of(tuned: FineTuned, control: FineTuned) -> dict[str, dict[str, Any]]:
    return {
        name: {"best_epoch": result.best_epoch, "history": result.history}
        for name, result in (("qat", tuned), ("fp32_control", control))
    }


class _Run:
    """The start, the data, the graph and the settings of control and QAT."""

    def __init__(
        self, checkpoint: Path, ptq: Path, dataset: Path, extra: TrainingSpec, loss: Spec, scratch: Path
    ) -> None:
        from robot_assets.data.packed import open_split
        from robot_assets.quantization.graph import prepare
        from robot_assets.tasks.checkpoint import load_network
        from robot_assets.training.device import training_device

        self.checkpoint, self.ptq, self.dataset, self.scratch = checkpoint, ptq, dataset, scratch
        self.extra, self.loss = extra, loss
        self.start = _start_of(checkpoint, ptq)
        self.device: torch.device = training_device()
        network, self.config = load_network(checkpoint)
        self.prepared: GraphModule = prepare(network, self.config.interface.input, self.start.float_layers)
        self._val = open_split(dataset, "val")

    def train_control(self) -> FineTuned:
        """Train the float checkpoint further, in a separate graph."""
        from robot_assets.quantization.graph import prepare
        from robot_assets.tasks.checkpoint import load_network

        network, config = load_network(self.checkpoint)
        graph = prepare(network, config.interface.input, self.start.float_layers)
        start = evaluate_graph(graph, self._val, self.config.interface)
        return self._fine_tune("fp32_control", graph, start, self._fingerprint)

    def train_quantized(self) -> FineTuned:
        """Train the quantized graph further; :attr:`prepared` then has the best weights."""
        from robot_assets.quantization.graph import apply_scales, load_folded_weights, set_mode
        from robot_assets.tasks.metrics import metrics_of

        apply_scales(self.prepared, self.start.scales)
        set_mode(self.prepared, "quantize")
        start = metrics_of(self.start.val[self.start.calibrator], self._task.metric)
        tuned = self._fine_tune("qat", self.prepared, start, self._fingerprint + md5_of(self.ptq / QUANTIZATION))
        load_folded_weights(self.prepared, tuned.weights)
        return tuned

    @cached_property
    def batches(self) -> Batches:
        """The training batches, the same for control and QAT."""
        from robot_assets.data.packed import open_split
        from robot_assets.training.batches import Batches
        from robot_assets.training.images import LabelledImages

        train = open_split(self.dataset, "train")
        input = self.config.interface.input
        images = LabelledImages(train, input, self.learning, self.extra.memory_limit_mb)
        return Batches(images, self.extra, self.learning, input, self.device)

    @cached_property
    def learning(self) -> Learning:
        """Targets and loss."""
        return self._task.load_training()(self.config.interface, self.loss, self.device)

    @property
    def _task(self) -> Task:
        return task_of(self.config.interface.task)

    @cached_property
    def _fingerprint(self) -> str:
        """Fingerprint of the training, and that of the weights that it starts from."""
        from robot_assets.tasks.checkpoint import WEIGHTS
        from robot_assets.training.resume import fingerprint_of

        return fingerprint_of(self.dataset, self.config, self.loss, self.extra) + md5_of(self.checkpoint / WEIGHTS)

    def _fine_tune(self, name: str, graph: GraphModule, start: Metrics, fingerprint: str) -> FineTuned:
        from robot_assets.quantization.fine_tune import fine_tune

        return fine_tune(
            name,
            graph,
            start,
            self.batches,
            self._val,
            self.config.interface,
            self.learning,
            self.extra,
            self.device,
            self.scratch / name,
            fingerprint,
        )


def _start_of(checkpoint: Path, ptq: Path) -> Quantization:
    """The PTQ model that QAT starts from.

    Raises:
        QuantizationError: It is another kind of model, or that of another checkpoint.
    """
    start = load_quantization(ptq)
    fix = "rebuild the PTQ model of this checkpoint"
    if start.method != "ptq":
        raise QuantizationError(f"{ptq} has a model of the method {start.method}", needed="a PTQ model", fix=fix)
    if (start.metric, start.val.get("checkpoint")) != checkpoint_val_metrics(checkpoint):
        needed = "equal metrics of the checkpoint in both"
        raise QuantizationError(
            f"{ptq} is the PTQ model of another checkpoint than {checkpoint}", needed=needed, fix=fix
        )
    return start
