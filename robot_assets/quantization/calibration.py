"""Calibration: runs images through a prepared graph and computes a scale for every activation. Light to import."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from robot_assets.core.errors import QuantizationError
from robot_assets.core.progress import report
from robot_assets.quantization.histogram import MagnitudeHistogram, mse_scale, percentile_scale
from robot_assets.quantization.spec import Calibrator, PtqSpec

if TYPE_CHECKING:
    import torch
    from torch.fx import GraphModule

    from robot_assets.data.packed import PackedSplit
    from robot_assets.tasks.detection.spec import NetworkSpec
    from robot_assets.training.evaluate import DetectionMetrics, Split

BATCH = 8


def collect_histograms(prepared: GraphModule, dataset: Path, network: NetworkSpec) -> dict[str, MagnitudeHistogram]:
    """Collect the histogram of every quantized activation over the calibration images of ``dataset``.

    Raises:
        QuantizationError: There are no calibration images.
    """
    import torch

    from robot_assets.data.packed import open_calibration
    from robot_assets.quantization.graph import activation_quantizers, set_mode

    split = open_calibration(dataset)
    if not len(split):
        raise QuantizationError(
            f"no calibration images in {dataset}",
            needed="at least one image of the train split",
            fix="set calibration_images of the data set in params.yaml above 0 and rebuild it",
        )
    set_mode(prepared, "observe")
    with torch.no_grad():
        for done, batch in _batches(split, network):
            prepared(torch.from_numpy(batch))
            report("calibrate", done, len(split))
    set_mode(prepared, "transparent")
    return {
        name: quantizer.histogram or MagnitudeHistogram() for name, quantizer in activation_quantizers(prepared).items()
    }


def scales_of(calibrator: Calibrator, histograms: dict[str, MagnitudeHistogram], spec: PtqSpec) -> dict[str, float]:
    """Scale of every activation by the rule of ``calibrator``."""
    if calibrator == "mse":
        return {name: mse_scale(histogram) for name, histogram in histograms.items()}
    return {name: percentile_scale(histogram, spec.percentile) for name, histogram in histograms.items()}


def compare_calibrators(
    prepared: GraphModule,
    histograms: dict[str, MagnitudeHistogram],
    dataset: Path,
    network: NetworkSpec,
    spec: PtqSpec,
) -> tuple[dict[str, dict[str, float]], dict[str, DetectionMetrics]]:
    """Scales and validation metrics of every calibrator of ``spec``; ``prepared`` keeps the scales of the last one."""
    from robot_assets.data.packed import open_split
    from robot_assets.quantization.graph import apply_scales, set_mode

    val = open_split(dataset, "val")
    scales: dict[str, dict[str, float]] = {}
    metrics: dict[str, DetectionMetrics] = {}
    for done, calibrator in enumerate(spec.calibrators):
        report("ptq", done, len(spec.calibrators), calibrator)
        scales[calibrator] = scales_of(calibrator, histograms, spec)
        apply_scales(prepared, scales[calibrator])
        set_mode(prepared, "quantize")
        metrics[calibrator] = evaluate_graph(prepared, val, network)
    report("ptq", len(spec.calibrators), len(spec.calibrators))
    return scales, metrics


def best_of(map50: dict[str, float]) -> str:
    """The name with the highest mAP@50; the first one of a tie."""
    return max(map50, key=lambda name: map50[name])


def evaluate_graph(
    graph: GraphModule, split: Split, network: NetworkSpec, device: torch.device | None = None
) -> DetectionMetrics:
    """COCO metrics on ``split`` of a prepared or quantized graph on ``device`` (None: the CPU)."""
    import torch

    from robot_assets.training.evaluate import evaluate
    from robot_assets.training.loop import network_infer

    return evaluate(network_infer(graph, device or torch.device("cpu")), split, network, batch_size=BATCH)


def _batches(split: PackedSplit, network: NetworkSpec) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield (images so far, float32 (N, 3, H, W) RGB in [0, 1])."""
    from robot_assets.runtime.preprocess import letterbox, to_input

    for start in range(0, len(split), BATCH):
        stop = min(start + BATCH, len(split))
        images = [
            letterbox(split.image(index), network.input_height, network.input_width).image
            for index in range(start, stop)
        ]
        yield stop, to_input(images)
