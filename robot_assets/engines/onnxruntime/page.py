"""What the page of an engine for ONNX Runtime shows: its latency beside FP32, measured on this machine."""

from __future__ import annotations

from pathlib import Path

from robot_assets.core.page import Page, Picture
from robot_assets.engines.benchmark import compare
from robot_assets.engines.kind import BuildSummary
from robot_assets.engines.onnx_artifact import MODEL
from robot_assets.engines.onnxruntime.manifest import OnnxRuntimeManifest
from robot_assets.engines.pages import CAPTION, latencies, notes_of


def timed_beside_float(summary: BuildSummary[OnnxRuntimeManifest], engine: Path, onnx: Path, scratch: Path) -> Page:
    """Time an engine alternately with its own graph in float, on the same threads.

    Args:
        summary: Of its build.
        engine: Directory of the engine.
        onnx: The ONNX artifact that it was built from.
        scratch: Folder for the float graph.
    """
    from robot_assets.export.strip_qdq import write_float_graph
    from robot_assets.figures.latency import latency_histogram

    twin = scratch / "float.onnx"
    write_float_graph(onnx / MODEL, twin)
    timed = compare(engine, twin)
    runs = {"FP32": timed.float32.milliseconds, "INT8": timed.engine.milliseconds}
    drawn = latency_histogram(runs, None, condition=f"{timed.runs_on}, one image per call")
    return Page(
        blocks=(Picture(drawn, CAPTION), *notes_of(summary)),
        values={
            **latencies(timed.engine),
            "fp32_latency_ms_p50": timed.float32.p50,
            "speedup_over_fp32": timed.speedup,
        },
        headline=f"{timed.engine.p50:.1f} ms, {_speed(timed.speedup)}",
    )


def _speed(speedup: float) -> str:
    shown = f"{speedup:.1f}x FP32"
    return shown if speedup >= 0.95 else f"{shown}: slower than float"
