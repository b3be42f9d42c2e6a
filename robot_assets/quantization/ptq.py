"""Post-training quantization: calibrates, compares the calibrators on val and keeps the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from robot_assets.core.publishing import publishing_directory
from robot_assets.quantization.artifact import Quantization, checkpoint_val_metrics, save_quantized
from robot_assets.quantization.calibration import best_of, collect_histograms, compare_calibrators
from robot_assets.quantization.spec import PtqSpec
from robot_assets.tasks.metrics import Metric


@dataclass(frozen=True)
class PtqSummary:
    """The result of post-training quantization; scores are of the task's metric on val, in [0, 1].

    Attributes:
        calibrator: The best calibrator.
        metric: What the scores are of.
        scores: Score with each calibrator.
        checkpoint_score: Score of the float checkpoint.
        tensors: Number of quantized activations.
        layers: Number of quantized layers.
        in_float: Operators that stay in float: (layer, operator, reason), without activations, which are fused.
    """

    calibrator: str
    metric: Metric
    scores: dict[str, float]
    checkpoint_score: float
    tensors: int
    layers: int
    in_float: tuple[tuple[str, str, str], ...]

    @property
    def score(self) -> float:
        """Score with the best calibrator."""
        return self.scores[self.calibrator]

    @property
    def drop_points(self) -> float:
        """Points (of 100) lost against the checkpoint; negative for a gain."""
        return 100 * (self.checkpoint_score - self.score)


def ptq(checkpoint: Path, dataset: Path, spec: PtqSpec, out: Path, float_layers: Sequence[str] = ()) -> PtqSummary:
    """Quantize ``checkpoint`` without training.

    Args:
        checkpoint: ``model.safetensors``, ``config.json`` and ``metrics.json`` of a float model.
        dataset: A packed data set; its calibration images and its val split are read.
        spec: The calibrators to compare.
        out: Directory to publish: folded weights, ``config.json``, ``quantization.json``.
        float_layers: Patterns of the layers that stay in float.

    Raises:
        QuantizationError: There are no calibration images, or activations are not finite.
        TrainingError: The checkpoint does not load.
    """
    from robot_assets.quantization.graph import float_operators, prepare, quantized_layers
    from robot_assets.tasks.checkpoint import load_network

    network, config = load_network(checkpoint)
    interface = config.interface
    metric, checkpoint_metrics = checkpoint_val_metrics(checkpoint)
    prepared = prepare(network, interface.input, float_layers)
    histograms = collect_histograms(prepared, dataset, interface.input)
    scales, metrics = compare_calibrators(prepared, histograms, dataset, interface, spec)
    best = best_of({name: found.score for name, found in metrics.items()})
    quantization = Quantization(
        method="ptq",
        calibrator=best,
        scales=scales[best],
        metric=metric,
        val={"checkpoint": checkpoint_metrics} | {name: found.as_json() for name, found in metrics.items()},
        float_layers=tuple(float_layers),
    )
    with publishing_directory(out) as staging:
        save_quantized(staging, prepared, config, quantization)
    scores = {name: quantization.score_of(name) for name in metrics}
    return PtqSummary(
        calibrator=best,
        metric=metrics[best].metric,
        scores=scores,
        checkpoint_score=quantization.score_of("checkpoint"),
        tensors=len(scales[best]),
        layers=len(quantized_layers(prepared)),
        in_float=tuple((one.name, one.operator, one.reason) for one in float_operators(prepared)),
    )
