"""Sessions of ONNX Runtime for graphs that were made elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from robot_assets.core.errors import ExportError
from robot_assets.core.text import escaped

if TYPE_CHECKING:
    from onnx import ModelProto
    from onnxruntime import InferenceSession


def open_session(model: ModelProto, origin: str = "the graph", *, simplified: Path | None = None) -> InferenceSession:
    """Open a session that runs ``model`` as it is written: fused kernels round at other places.

    Args:
        model: The graph.
        origin: Its file, named in errors.
        simplified: Where the graph is written after the basic optimizations, which it then runs with.

    Raises:
        ExportError: ONNX Runtime does not load it.
    """
    import onnxruntime

    levels = onnxruntime.GraphOptimizationLevel
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = levels.ORT_DISABLE_ALL if simplified is None else levels.ORT_ENABLE_BASIC
    if simplified is not None:
        options.optimized_model_filepath = str(simplified)
    providers = ["CPUExecutionProvider"]
    try:
        # The fallback prints, and attempts the same provider again.
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=providers, enable_fallback=0)
    except Exception as error:  # ONNX Runtime has a class of its own for each status
        raise not_runnable(origin, error) from error


def not_runnable(origin: str, error: Exception) -> ExportError:
    """The error for a graph that ONNX Runtime does not load or run."""
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0][-300:]
    return ExportError(
        escaped(f"ONNX Runtime cannot run {origin}: {reason}"),
        needed="a graph that ONNX Runtime runs: it is calibrated and evaluated there",
        fix="run the file in onnxruntime where it was made; export it again, and add the new file",
    )
