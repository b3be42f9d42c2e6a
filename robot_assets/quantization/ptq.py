"""Post-training quantization: calibrate, let the calibrators compete on val, keep the best."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from robot_assets.core.publishing import publishing_directory
from robot_assets.quantization.artifact import Quantization, checkpoint_val_metrics, save_quantized
from robot_assets.quantization.calibration import best_of, collect, compete
from robot_assets.quantization.spec import PtqSpec


@dataclass(frozen=True)
class PtqSummary:
    """What post-training quantization reached; mAP@50 on val, in [0, 1].

    Attributes:
        calibrator: The winner.
        map50_by_calibrator: Every competitor.
        checkpoint_map50: The float checkpoint.
        tensors: Activations with a scale.
    """

    calibrator: str
    map50_by_calibrator: dict[str, float]
    checkpoint_map50: float
    tensors: int

    @property
    def map50(self) -> float:
        """The winner's."""
        return self.map50_by_calibrator[self.calibrator]

    @property
    def drop_points(self) -> float:
        """mAP@50 points (of 100) lost against the checkpoint; negative when gained."""
        return 100 * (self.checkpoint_map50 - self.map50)


def ptq(checkpoint: Path, dataset: Path, spec: PtqSpec, out: Path) -> PtqSummary:
    """Quantize ``checkpoint`` without training.

    Args:
        checkpoint: ``model.safetensors``, ``config.json`` and ``metrics.json`` of a float model.
        dataset: A packed data set; its calibration images and its val split are read.
        spec: Which calibrators compete.
        out: Directory to publish: folded weights, ``config.json``, ``quantization.json``.

    Raises:
        QuantizationError: Nothing to calibrate with, or activations that are not finite.
        TrainingError: The checkpoint does not load.
    """
    from robot_assets.models.checkpoint import load_network
    from robot_assets.quantization.graph import prepare

    network, config = load_network(checkpoint)
    checkpoint_metrics = checkpoint_val_metrics(checkpoint)
    prepared = prepare(network, config.network)
    histograms = collect(prepared, dataset, config.network)
    scales, metrics = compete(prepared, histograms, dataset, config.network, spec)
    map50 = {name: found.map50 for name, found in metrics.items()}
    winner = best_of(map50)
    quantization = Quantization(
        method="ptq",
        calibrator=winner,
        scales=scales[winner],
        val={"checkpoint": checkpoint_metrics} | {name: found.as_json() for name, found in metrics.items()},
    )
    with publishing_directory(out) as staging:
        save_quantized(staging, prepared, config, quantization)
    return PtqSummary(winner, map50, float(checkpoint_metrics["map50"]), len(scales[winner]))
