"""The float graph that a Q/DQ graph came from, by taking the quantization out again.

What an int8 engine is timed against on the device itself, where there is no torch to export the checkpoint.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from robot_assets.core.publishing import publishing_file
from robot_assets.export.qdq_layers import keep_quantized

if TYPE_CHECKING:
    from onnx import ModelProto


def write_float_twin(quantized: Path, out: Path) -> None:
    """Write the float32 twin of the Q/DQ graph at ``quantized`` to ``out``: same nodes, no Q/DQ, float weights."""
    import onnx

    model = onnx.load(quantized)
    remove_quantization(model)
    onnx.checker.check_model(model)
    with publishing_file(out) as staging:
        onnx.save(model, staging)


def remove_quantization(model: ModelProto) -> None:
    """Take every Q/DQ pair out of ``model``, in place: same nodes otherwise, float weights."""
    model.CopyFrom(keep_quantized(model, ()))
