"""Quantization-aware training (QAT), and a float control with the same extra training.

The batch norms are folded first. The activation scales are those of the best calibrator and stay fixed; weight scales
follow the weights. The control shows how much of the gain of QAT over PTQ is due to the longer training alone.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_assets.core.digests import md5_of
from robot_assets.core.publishing import publishing_directory
from robot_assets.quantization.artifact import Quantization, checkpoint_val_metrics, save_quantized
from robot_assets.quantization.calibration import (
    best_of,
    collect_histograms,
    compare_calibrators,
    evaluate_graph,
)
from robot_assets.quantization.spec import PtqSpec, QatSpec

if TYPE_CHECKING:
    import torch
    from torch.fx import GraphModule

    from robot_assets.quantization.fine_tune import FineTuned
    from robot_assets.tasks.detection.checkpoint import CheckpointConfig
    from robot_assets.training.batches import Batches
    from robot_assets.training.evaluate import DetectionMetrics
    from robot_assets.training.spec import TrainingSpec


@dataclass(frozen=True)
class QatSummary:
    """The result of quantization-aware training; mAP@50 on val, in [0, 1]. The time is part of no artifact.

    Attributes:
        calibrator: The calibrator of the activation scales.
        checkpoint_map50: mAP@50 of the float checkpoint.
        start_map50: mAP@50 of the quantized model before the extra training, which is the best PTQ.
        qat_map50: mAP@50 of the quantized model after it.
        fp32_control_map50: mAP@50 of the float control, after the same extra training.
        best_epoch: The epoch of QAT that was kept; 0 is the start.
        epochs: Extra epochs.
        seconds: Wall clock of this process.
    """

    calibrator: str
    checkpoint_map50: float
    start_map50: float
    qat_map50: float
    fp32_control_map50: float
    best_epoch: int
    epochs: int
    seconds: float


def qat(checkpoint: Path, dataset: Path, spec: QatSpec, training: TrainingSpec, out: Path, scratch: Path) -> QatSummary:
    """Train ``checkpoint`` further with fake quantization, and a float control without it.

    Args:
        checkpoint: ``model.safetensors``, ``config.json`` and ``metrics.json`` of a float model.
        dataset: The packed data set of its training.
        spec: Extra epochs and their learning rate.
        training: The rest of the schedule: batch size, augmentation, averaging, seed.
        out: Directory to publish: folded weights, ``config.json``, ``quantization.json``.
        scratch: Directory of this training alone, with the states that a rerun continues from. They stay; remove the
            directory when ``out`` has been stored.

    Raises:
        QuantizationError: There are no calibration images, or activations are not finite.
        TrainingError: The checkpoint does not load, or the loss is not finite.
    """
    from robot_assets.quantization.fine_tune import fine_tuning_spec
    from robot_assets.training.device import reproducible

    began = time.perf_counter()
    extra = fine_tuning_spec(training, spec)
    with reproducible(extra):
        run = _Run(checkpoint, dataset, extra, scratch)
        calibrator, scales, metrics = run.calibrate()
        try:
            control = run.train_control()
            tuned = run.train_quantized(scales, metrics[calibrator])
        finally:
            run.batches.close()
    run.prepared.to("cpu")
    val = {name: found.as_json() for name, found in metrics.items()}
    quantization = Quantization(
        method="qat",
        calibrator=calibrator,
        scales=scales,
        val={"checkpoint": run.checkpoint_metrics, **val, **_metrics_of(tuned, control)},
        training={"epochs": extra.epochs, "learning_rate": extra.learning_rate, **_histories_of(tuned, control)},
    )
    with publishing_directory(out) as staging:
        save_quantized(staging, run.prepared, run.config, quantization)
    return QatSummary(
        calibrator=calibrator,
        checkpoint_map50=float(run.checkpoint_metrics["map50"]),
        start_map50=metrics[calibrator].map50,
        qat_map50=tuned.metrics.map50,
        fp32_control_map50=control.metrics.map50,
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
    """The data, the graph and the settings that calibration, control and QAT share."""

    def __init__(self, checkpoint: Path, dataset: Path, extra: TrainingSpec, scratch: Path) -> None:
        from robot_assets.data.packed import open_split
        from robot_assets.quantization.graph import prepare
        from robot_assets.tasks.detection.checkpoint import load_network
        from robot_assets.training.device import training_device

        self.checkpoint, self.dataset, self.extra, self.scratch = checkpoint, dataset, extra, scratch
        self.device: torch.device = training_device()
        network, self.config = load_network(checkpoint)
        self.checkpoint_metrics: dict[str, Any] = checkpoint_val_metrics(checkpoint)
        self.prepared: GraphModule = prepare(network, self.config.network)
        self._val = open_split(dataset, "val")

    def calibrate(self) -> tuple[str, dict[str, float], dict[str, DetectionMetrics]]:
        """Name and scales of the best calibrator, and the metrics of all."""
        network = self.config.network
        histograms = collect_histograms(self.prepared, self.dataset, network)
        scales, metrics = compare_calibrators(self.prepared, histograms, self.dataset, network, PtqSpec())
        calibrator = best_of({name: found.map50 for name, found in metrics.items()})
        return calibrator, scales[calibrator], metrics

    def train_control(self) -> FineTuned:
        """Train the float checkpoint further, in a separate graph."""
        from robot_assets.quantization.graph import prepare
        from robot_assets.tasks.detection.checkpoint import load_network

        network, config = load_network(self.checkpoint)
        graph = prepare(network, config.network)
        start = evaluate_graph(graph, self._val, self.config.network)
        return self._fine_tune("fp32_control", graph, start)

    def train_quantized(self, scales: dict[str, float], start: DetectionMetrics) -> FineTuned:
        """Train the quantized graph further; :attr:`prepared` then has the best weights."""
        from robot_assets.quantization.graph import apply_scales, load_folded_weights, set_mode

        apply_scales(self.prepared, scales)
        set_mode(self.prepared, "quantize")
        tuned = self._fine_tune("qat", self.prepared, start)
        load_folded_weights(self.prepared, tuned.weights)
        return tuned

    @cached_property
    def batches(self) -> Batches:
        """The training batches, the same for control and QAT."""
        from robot_assets.data.packed import open_split
        from robot_assets.training.batches import Batches
        from robot_assets.training.images import LabelledImages

        train = open_split(self.dataset, "train")
        images = LabelledImages(train, self.config.network, self.extra.memory_limit_mb)
        return Batches(images, self.extra, self.device)

    def _fine_tune(self, name: str, graph: GraphModule, start: DetectionMetrics) -> FineTuned:
        from robot_assets.quantization.fine_tune import fine_tune

        return fine_tune(
            name,
            graph,
            start,
            self.batches,
            self._val,
            self.config.network,
            self.extra,
            self.device,
            self.scratch / name,
            _fingerprint_of(self.checkpoint, self.dataset, self.config, self.extra),
        )


def _fingerprint_of(checkpoint: Path, dataset: Path, config: CheckpointConfig, extra: TrainingSpec) -> str:
    """Fingerprint of the training, and that of the weights that it starts from."""
    from robot_assets.tasks.detection.checkpoint import WEIGHTS
    from robot_assets.training.resume import fingerprint_of

    return fingerprint_of(dataset, config.network, extra) + md5_of(checkpoint / WEIGHTS)
