"""What the page of a TensorRT engine shows: its latency, measured on this device, and the arithmetic of its layers."""

from __future__ import annotations

from pathlib import Path

from robot_assets.core.page import Page, Picture, Table
from robot_assets.engines.benchmark import measure
from robot_assets.engines.kind import BuildSummary
from robot_assets.engines.pages import CAPTION, latencies, notes_of
from robot_assets.engines.tensorrt.manifest import TensorRTManifest


def timed_alone(summary: BuildSummary[TensorRTManifest], engine: Path) -> Page:
    """Time an engine alone: the latency of a float model on the CPU is not comparable with one on a GPU."""
    from robot_assets.figures.latency import latency_histogram

    manifest = summary.manifest
    timed = measure(engine)
    condition = f"TensorRT {manifest.tensorrt} on {manifest.gpu.name}, one image per call"
    layers = {name: sum(counts.values()) for name, counts in manifest.kernels.model_dump().items()}
    drawn = latency_histogram({"INT8": timed.milliseconds}, None, condition=condition)
    rows = {name.replace("_", " "): {"layers": count} for name, count in layers.items() if count}
    return Page(
        blocks=(Picture(drawn, CAPTION), Table("arithmetic", rows), *notes_of(summary)),
        values=latencies(timed),
        headline=f"{timed.p50:.1f} ms, {layers['int8']} of {sum(layers.values())} layers in int8",
    )
