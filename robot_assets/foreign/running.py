"""Runs graphs in ONNX Runtime as they are written: fused kernels round at other places."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robot_assets.export.parity import read_input, reference_indices
from robot_assets.foreign.sessions import not_runnable, open_session

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
    session = open_session(model)

    def run(images: NDArray[np.float32]) -> Heads:
        pixels = np.ascontiguousarray(images.transpose(0, 2, 3, 1)) if is_nhwc else images
        try:
            heads: Heads = session.run(list(interface.head_names), {interface.input.name: pixels})
        except Exception as error:  # ONNX Runtime has a class of its own for each status
            raise not_runnable("the graph", error) from error
        return heads

    return run


def answers(infer: Infer, val: PackedSplit, interface: Interface) -> list[Heads]:
    """The heads on each reference image of ``val``."""
    return [list(infer(read_input(val, index, interface.input))) for index in reference_indices(len(val))]


def evaluated(model: ModelProto, split: PackedSplit, interface: Interface) -> Metrics:
    """The metrics of a graph on ``split``."""
    from robot_assets.training.evaluate import evaluate

    return evaluate(runner(model, interface), split, interface)
