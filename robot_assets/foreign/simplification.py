"""Simplifies a float graph by the basic optimizations of ONNX Runtime, which write operators of ONNX alone."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from robot_assets.core.errors import ExportError
from robot_assets.core.text import escaped, plural
from robot_assets.foreign.constants import constants_to_initializers, remove_unread

if TYPE_CHECKING:
    from onnx import ModelProto


def simplified(model: ModelProto, origin: str, changes: list[str]) -> ModelProto:
    """The graph after these optimizations; what changed is added to ``changes``.

    Raises:
        ExportError: ONNX Runtime does not load it.
    """
    import onnx
    import onnxruntime

    before = len(model.graph.node)
    norms = sum(node.op_type == "BatchNormalization" for node in model.graph.node)
    with tempfile.TemporaryDirectory() as scratch:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(Path(scratch, "simplified.onnx"))
        options.log_severity_level = 4
        try:
            onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime has a class of its own for each status
            raise not_runnable(origin, error) from None
        simplified = onnx.load(options.optimized_model_filepath)
    constants_to_initializers(simplified.graph)
    remove_unread(simplified.graph)
    left = sum(node.op_type == "BatchNormalization" for node in simplified.graph.node)
    folded = f", {plural(norms - left, 'batch norm')} folded into convolutions" if norms > left else ""
    if before != len(simplified.graph.node):
        changes.append(f"{plural(before, 'node')} simplified to {len(simplified.graph.node)}{folded}")
    return simplified


def run_once(model: ModelProto, origin: str, shape: tuple[int, ...]) -> None:
    """Run ``model`` on zeros: shapes that do not fit each other are found by running alone.

    Raises:
        ExportError: It fails.
    """
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        session.run(None, {model.graph.input[0].name: np.zeros(shape, np.float32)})
    except Exception as error:  # ONNX Runtime has a class of its own for each status
        raise not_runnable(origin, error) from None


def not_runnable(origin: str, error: Exception) -> ExportError:
    """The error for a graph that ONNX Runtime does not load or run."""
    reason = str(error).strip().splitlines()[0][-300:]
    return ExportError(
        escaped(f"ONNX Runtime cannot run {origin}: {reason}"),
        needed="a graph that ONNX Runtime runs: it is calibrated and evaluated there",
        fix="run the file in onnxruntime where it was made; export it again, then: dvc add FILE",
    )
