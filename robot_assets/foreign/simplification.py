"""Simplifies a float graph by the basic optimizations of ONNX Runtime, which write operators of ONNX alone."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from robot_assets.core.text import plural
from robot_assets.foreign.constants import constants_to_initializers, remove_unread
from robot_assets.foreign.sessions import not_runnable, open_session

if TYPE_CHECKING:
    from onnx import ModelProto


def simplified(model: ModelProto, origin: str, changes: list[str]) -> ModelProto:
    """The graph after these optimizations; what changed is added to ``changes``.

    Raises:
        ExportError: ONNX Runtime does not load it.
    """
    import onnx

    before = len(model.graph.node)
    norms = sum(node.op_type == "BatchNormalization" for node in model.graph.node)
    with tempfile.TemporaryDirectory() as scratch:
        written = Path(scratch, "simplified.onnx")
        open_session(model, origin, simplified=written)
        simplified = onnx.load(written)
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

    session = open_session(model, origin)
    try:
        session.run(None, {model.graph.input[0].name: np.zeros(shape, np.float32)})
    except Exception as error:  # as when it is loaded
        raise not_runnable(origin, error) from error
