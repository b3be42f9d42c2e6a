"""Removes the quantization from a Q/DQ graph.

Int8 engines are timed against the float graph on devices without torch, which cannot export the checkpoint.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from robot_assets.core.publishing import publishing_file
from robot_assets.export.qdq_layers import keep_quantized

if TYPE_CHECKING:
    from onnx import ModelProto


def write_float_graph(quantized: Path, out: Path) -> None:
    """Write the Q/DQ graph at ``quantized`` to ``out`` as a float graph: same nodes, no Q/DQ, float32 weights."""
    import onnx

    model = onnx.load(quantized)
    remove_quantization(model)
    onnx.checker.check_model(model)
    with publishing_file(out) as staging:
        onnx.save(model, staging)


def remove_quantization(model: ModelProto) -> None:
    """Remove every Q/DQ pair from ``model``, in place; weights become float32."""
    model.CopyFrom(keep_quantized(model, ()))
