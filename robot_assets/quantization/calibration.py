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
    from robot_assets.tasks.interface import Input, Interface
    from robot_assets.tasks.metrics import Metrics
    from robot_assets.tasks.task import Split

BATCH = 8


def collect_histograms(prepared: GraphModule, dataset: Path, input: Input) -> dict[str, MagnitudeHistogram]:
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
        for done, batch in _batches(split, input):
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
    interface: Interface,
    spec: PtqSpec,
) -> tuple[dict[str, dict[str, float]], dict[str, Metrics]]:
    """Scales and validation metrics of every calibrator of ``spec``; ``prepared`` keeps the scales of the last one."""
    from robot_assets.data.packed import open_split
    from robot_assets.quantization.graph import apply_scales, set_mode

    val = open_split(dataset, "val")
    scales: dict[str, dict[str, float]] = {}
    metrics: dict[str, Metrics] = {}
    for done, calibrator in enumerate(spec.calibrators):
        report("ptq", done, len(spec.calibrators), calibrator)
        scales[calibrator] = scales_of(calibrator, histograms, spec)
        apply_scales(prepared, scales[calibrator])
        set_mode(prepared, "quantize")
        metrics[calibrator] = evaluate_graph(prepared, val, interface)
    report("ptq", len(spec.calibrators), len(spec.calibrators))
    return scales, metrics


def best_of(scores: dict[str, float]) -> str:
    """The name with the highest score; the first one of a tie."""
    return max(scores, key=lambda name: scores[name])


def evaluate_graph(
    graph: GraphModule, split: Split, interface: Interface, device: torch.device | None = None
) -> Metrics:
    """Metrics on ``split`` of a prepared or quantized graph on ``device`` (None: the CPU)."""
    import torch

    from robot_assets.training.evaluate import evaluate
    from robot_assets.training.loop import network_infer

    return evaluate(network_infer(graph, device or torch.device("cpu")), split, interface, batch_size=BATCH)


def _batches(split: PackedSplit, input: Input) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield (images so far, float32 (N, 3, H, W))."""
    from robot_assets.runtime.preprocess import fitted, to_input

    for start in range(0, len(split), BATCH):
        stop = min(start + BATCH, len(split))
        yield stop, to_input([fitted(split.image(index), input).image for index in range(start, stop)], input)
