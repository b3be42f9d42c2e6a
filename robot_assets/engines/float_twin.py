"""The float graph that a Q/DQ graph came from, by taking the quantization out again.

What an int8 engine is timed against on the device itself, where there is no torch to export the checkpoint.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from robot_assets.publish import publishing_file

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto


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
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    source = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "QuantizeLinear"}
    renamed: dict[str, str] = {}
    kept = []
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in constants:
            graph.initializer.append(_dequantized(node, constants))
        elif node.op_type == "DequantizeLinear":
            renamed[node.output[0]] = source[node.input[0]]
        elif node.op_type != "QuantizeLinear":
            kept.append(node)
    for node in kept:
        node.input[:] = [_origin(name, renamed) for name in node.input]
    del graph.node[:]
    graph.node.extend(kept)
    used = {name for node in kept for name in node.input}
    constants_left = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(constants_left)


def _origin(name: str, renamed: dict[str, str]) -> str:
    while name in renamed:
        name = renamed[name]
    return name


def _dequantized(node: NodeProto, constants: dict[str, TensorProto]) -> TensorProto:
    """The float weights that a DequantizeLinear over a constant gives."""
    import numpy as np
    from onnx import numpy_helper

    values = numpy_helper.to_array(constants[node.input[0]]).astype(np.float32)
    scale = numpy_helper.to_array(constants[node.input[1]])
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
    if scale.ndim:
        scale = scale.reshape([-1 if index == axis else 1 for index in range(values.ndim)])
    return numpy_helper.from_array(np.ascontiguousarray(values * scale), node.output[0])
