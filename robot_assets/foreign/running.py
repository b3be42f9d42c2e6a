"""Runs graphs in ONNX Runtime as they are written: fused kernels round at other places."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robot_assets.core.errors import ExportError
from robot_assets.core.text import escaped
from robot_assets.export.parity import read_input, reference_indices

if TYPE_CHECKING:
    from onnx import ModelProto

    from robot_assets.data.packed import PackedSplit
    from robot_assets.tasks.interface import Interface
    from robot_assets.tasks.metrics import Metrics
    from robot_assets.training.evaluate import Infer

    Heads = list[NDArray[Any]]


def runner(model: ModelProto, interface: Interface, *, is_nhwc: bool = False) -> Infer:
    """A function that gives the heads of ``interface``: images float32 (1, 3, H, W) -> heads in their order.

    Args:
        model: The graph.
        interface: Names its input and its outputs.
        is_nhwc: Whether the graph takes (1, H, W, 3).

    Raises:
        ExportError: ONNX Runtime does not load the graph.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime has a class of its own for each status
        raise _not_runnable(error) from None

    def run(images: NDArray[np.float32]) -> Heads:
        pixels = np.ascontiguousarray(images.transpose(0, 2, 3, 1)) if is_nhwc else images
        heads: Heads = session.run(list(interface.head_names), {interface.input.name: pixels})
        return heads

    return run


def answers(infer: Infer, val: PackedSplit, interface: Interface) -> list[Heads]:
    """The heads on each reference image of ``val``."""
    return [list(infer(read_input(val, index, interface.input))) for index in reference_indices(len(val))]


def evaluated(model: ModelProto, split: PackedSplit, interface: Interface) -> Metrics:
    """The metrics of a graph on ``split``."""
    from robot_assets.training.evaluate import evaluate

    return evaluate(runner(model, interface), split, interface)


def _not_runnable(error: Exception) -> ExportError:
    reason = str(error).strip().splitlines()[0][-300:]
    return ExportError(
        escaped(f"ONNX Runtime cannot load the graph: {reason}"),
        needed="a graph that ONNX Runtime runs: it is calibrated and evaluated there",
        fix="export the network again for ONNX Runtime, then: dvc add FILE",
    )
