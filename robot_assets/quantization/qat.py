"""Quantization-aware training, next to a float control that got the same extra training.

The batch norms are folded first and the activation scales stay those of the best calibrator; weight scales follow
the weights. Without the control, what QAT gains over PTQ could as well be what any longer training gains.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_assets.core.publishing import publishing_directory
from robot_assets.quantization.artifact import Quantization, checkpoint_val_metrics, save_quantized
from robot_assets.quantization.calibration import best_of, collect, compete, evaluate_graph
from robot_assets.quantization.spec import PtqSpec, QatSpec

if TYPE_CHECKING:
    import torch
    from torch.fx import GraphModule

    from robot_assets.models.checkpoint import CheckpointConfig
    from robot_assets.quantization.fine_tune import Tuned
    from robot_assets.training.batches import Batches
    from robot_assets.training.evaluate import DetectionMetrics
    from robot_assets.training.spec import TrainingSpec


@dataclass(frozen=True)
class QatSummary:
    """What quantization-aware training reached; mAP@50 on val, in [0, 1]. The time goes into no artifact.

    Attributes:
        calibrator: The one that gave the activation scales.
        checkpoint_map50: The float checkpoint.
        start_map50: Quantized, before the extra training: the best PTQ.
        qat_map50: Quantized, after it.
        fp32_control_map50: Float, after the same extra training.
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
    """Train ``checkpoint`` further with its quantization in the loop, and a float control beside it.

    Args:
        checkpoint: ``model.safetensors``, ``config.json`` and ``metrics.json`` of a float model.
        dataset: The packed data set that it was trained on.
        spec: Extra epochs and their learning rate.
        training: The rest of the schedule: batch size, augmentation, averaging, seed.
        out: Directory to publish: folded weights, ``config.json``, ``quantization.json``.
        scratch: Directory of this training alone, for the state that a rerun continues from.

    Raises:
        QuantizationError: Nothing to calibrate with, or activations that are not finite.
        TrainingError: The checkpoint does not load, or the loss is not finite.
    """
    from robot_assets.quantization.fine_tune import extra_training
    from robot_assets.training.device import reproducible
    from robot_assets.training.resume import forget_state

    began = time.perf_counter()
    extra = extra_training(training, spec)
    with reproducible(extra):
        run = _Run(checkpoint, dataset, extra, scratch)
        calibrator, scales, metrics = run.calibrate()
        try:
            control = run.control()
            tuned = run.quantized(scales, metrics[calibrator])
        finally:
            run.batches.close()
    run.prepared.to("cpu")
    quantization = Quantization(
        method="qat",
        calibrator=calibrator,
        scales=scales,
        val={
            "checkpoint": run.checkpoint_metrics,
            **{name: found.as_json() for name, found in metrics.items()},
            "qat": tuned.metrics.as_json(),
            "fp32_control": control.metrics.as_json(),
        },
        training={
            "epochs": extra.epochs,
            "learning_rate": extra.learning_rate,
            "qat": {"best_epoch": tuned.best_epoch, "history": tuned.history},
            "fp32_control": {"best_epoch": control.best_epoch, "history": control.history},
        },
    )
    with publishing_directory(out) as staging:
        save_quantized(staging, run.prepared, run.config, quantization)
    for name in ("fp32_control", "qat"):
        forget_state(scratch / name)
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


class _Run:
    """What the calibration, the control and QAT share."""

    def __init__(self, checkpoint: Path, dataset: Path, extra: TrainingSpec, scratch: Path) -> None:
        from robot_assets.data.packed import open_split
        from robot_assets.models.checkpoint import load_network
        from robot_assets.quantization.graph import prepare
        from robot_assets.training.device import training_device

        self.checkpoint, self.dataset, self.extra, self.scratch = checkpoint, dataset, extra, scratch
        self.device: torch.device = training_device()
        network, self.config = load_network(checkpoint)
        self.checkpoint_metrics: dict[str, Any] = checkpoint_val_metrics(checkpoint)
        self.prepared: GraphModule = prepare(network, self.config.network)
        self._val = open_split(dataset, "val")

    def calibrate(self) -> tuple[str, dict[str, float], dict[str, DetectionMetrics]]:
        """The best calibrator's name and scales, and the metrics of all."""
        spec = PtqSpec()
        histograms = collect(self.prepared, self.dataset, self.config.network)
        scales, metrics = compete(self.prepared, histograms, self.dataset, self.config.network, spec)
        calibrator = best_of({name: found.map50 for name, found in metrics.items()})
        return calibrator, scales[calibrator], metrics

    def control(self) -> Tuned:
        """The float checkpoint, trained further. Works on a graph of its own."""
        from robot_assets.models.checkpoint import load_network
        from robot_assets.quantization.graph import prepare

        network, config = load_network(self.checkpoint)
        graph = prepare(network, config.network)
        start = evaluate_graph(graph, self._val, self.config.network)
        return self._tune("fp32_control", graph, start)

    def quantized(self, scales: dict[str, float], start: DetectionMetrics) -> Tuned:
        """The quantized graph, trained further; :attr:`prepared` is left with the best weights."""
        from robot_assets.quantization.graph import apply_scales, load_folded_weights, set_mode

        apply_scales(self.prepared, scales)
        set_mode(self.prepared, "quantize")
        tuned = self._tune("qat", self.prepared, start)
        load_folded_weights(self.prepared, tuned.weights)
        return tuned

    @cached_property
    def batches(self) -> Batches:
        """The training batches; both sides read the same ones."""
        from robot_assets.data.packed import open_split
        from robot_assets.training.batches import Batches
        from robot_assets.training.images import Pictures

        train = open_split(self.dataset, "train")
        pictures = Pictures(train, self.config.network, self.extra.memory_limit_mb)
        return Batches(pictures, self.extra, self.device)

    def _tune(self, name: str, graph: GraphModule, start: DetectionMetrics) -> Tuned:
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
            _mark(self.checkpoint, self.dataset, self.config, self.extra),
        )


def _mark(checkpoint: Path, dataset: Path, config: CheckpointConfig, extra: TrainingSpec) -> str:
    """What a saved state belongs to: the training's own mark, and the weights that it started from."""
    from robot_assets.models.checkpoint import WEIGHTS
    from robot_assets.training.resume import fingerprint

    weights = hashlib.md5((checkpoint / WEIGHTS).read_bytes(), usedforsecurity=False).hexdigest()
    return fingerprint(dataset, config.network, extra) + weights
