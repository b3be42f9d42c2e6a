"""Post-training quantization: calibrates, compares the calibrators on val and keeps the best."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from robot_assets.core.publishing import publishing_directory
from robot_assets.quantization.artifact import Quantization, checkpoint_val_metrics, save_quantized
from robot_assets.quantization.calibration import best_of, collect_histograms, compare_calibrators
from robot_assets.quantization.spec import PtqSpec


@dataclass(frozen=True)
class PtqSummary:
    """The result of post-training quantization; mAP@50 on val, in [0, 1].

    Attributes:
        calibrator: The best calibrator.
        map50_by_calibrator: mAP@50 with each calibrator.
        checkpoint_map50: mAP@50 of the float checkpoint.
        tensors: Number of quantized activations.
    """

    calibrator: str
    map50_by_calibrator: dict[str, float]
    checkpoint_map50: float
    tensors: int

    @property
    def map50(self) -> float:
        """mAP@50 with the best calibrator."""
        return self.map50_by_calibrator[self.calibrator]

    @property
    def drop_points(self) -> float:
        """mAP@50 points (of 100) lost against the checkpoint; negative for a gain."""
        return 100 * (self.checkpoint_map50 - self.map50)


def ptq(checkpoint: Path, dataset: Path, spec: PtqSpec, out: Path) -> PtqSummary:
    """Quantize ``checkpoint`` without training.

    Args:
        checkpoint: ``model.safetensors``, ``config.json`` and ``metrics.json`` of a float model.
        dataset: A packed data set; its calibration images and its val split are read.
        spec: The calibrators to compare.
        out: Directory to publish: folded weights, ``config.json``, ``quantization.json``.

    Raises:
        QuantizationError: There are no calibration images, or activations are not finite.
        TrainingError: The checkpoint does not load.
    """
    from robot_assets.quantization.graph import prepare
    from robot_assets.tasks.detection.checkpoint import load_network

    network, config = load_network(checkpoint)
    checkpoint_metrics = checkpoint_val_metrics(checkpoint)
    prepared = prepare(network, config.network)
    histograms = collect_histograms(prepared, dataset, config.network)
    scales, metrics = compare_calibrators(prepared, histograms, dataset, config.network, spec)
    best = best_of({name: found.map50 for name, found in metrics.items()})
    quantization = Quantization(
        method="ptq",
        calibrator=best,
        scales=scales[best],
        val={"checkpoint": checkpoint_metrics} | {name: found.as_json() for name, found in metrics.items()},
    )
    with publishing_directory(out) as staging:
        save_quantized(staging, prepared, config, quantization)
    map50 = {name: float(quantization.val[name]["map50"]) for name in metrics}
    return PtqSummary(best, map50, float(checkpoint_metrics["map50"]), len(scales[best]))
