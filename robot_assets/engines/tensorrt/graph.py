"""Rewrites the Q/DQ graph for TensorRT. Needs onnx, neither torch nor TensorRT; ONNX Runtime runs the result, too.

Most builds parse the exported file byte for byte. These need another graph:

- a dynamic batch: the first dimension gets a name;
- fp16 beside int8 where TensorRT may not choose types itself (strong typing, the only typing in 11): all float tensors
  become half, between float32 inputs and outputs;
- a DLA before 11, which does not accept Q/DQ: the quantization is removed from the graph and set as ranges of its
  tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from robot_assets.core.errors import EngineError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import GraphProto, ModelProto, ValueInfoProto

_HALF_OPSET, _HALF_IR = 19, 9
"""The first opset and IR in which QuantizeLinear and DequantizeLinear accept half."""
_INT8_MAX = 127


@dataclass(frozen=True)
class Prepared:
    """A graph to parse.

    Attributes:
        content: The bytes of the ONNX file.
        ranges: Tensor -> largest magnitude that int8 represents; empty for a graph with Q/DQ.
        is_exported: Whether these are the exported bytes.
        notes: Changes to the graph, one line each; part of ``build.log``.
    """

    content: bytes
    ranges: Mapping[str, float] = field(default_factory=dict)
    is_exported: bool = False
    notes: tuple[str, ...] = ()


def prepare(
    exported: bytes, model: ModelProto, *, batch_is_dynamic: bool, to_half: bool, without_quantization: bool
) -> Prepared:
    """Make the graph to parse from the exported one.

    Args:
        exported: The bytes of the exported file.
        model: The same graph; changed in place.
        batch_is_dynamic: Whether the first dimension gets a name.
        to_half: Whether float tensors become half.
        without_quantization: Whether Q/DQ become ranges.

    Raises:
        EngineError: The graph cannot be changed so; names the node or the tensor.
    """
    notes: list[str] = []
    ranges: dict[str, float] = {}
    if without_quantization:
        from robot_assets.export.strip_qdq import remove_quantization

        ranges = activation_ranges(model)
        remove_quantization(model)
        notes.append(f"Q/DQ became the ranges of {len(ranges)} tensors")
    if batch_is_dynamic:
        name_the_batch(model)
        notes.append("the batch is dynamic")
    if to_half:
        raised = floats_to_half(model)
        notes.append("float tensors are half" + (f", {raised} scales were raised to half's smallest" if raised else ""))
    if not notes:
        return Prepared(exported, is_exported=True)
    return Prepared(_checked(model), ranges, notes=tuple(notes))


def input_scales(model: ModelProto) -> dict[str, float]:
    """Input -> its quantization step, for inputs that the graph quantizes first."""
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    inputs = {value.name for value in model.graph.input}
    return {
        node.input[0]: numpy_helper.to_array(constants[node.input[1]]).item()
        for node in model.graph.node
        if node.op_type == "QuantizeLinear" and node.input[0] in inputs and node.input[1] in constants
    }


def activation_ranges(model: ModelProto) -> dict[str, float]:
    """Activation -> the largest magnitude that its QuantizeLinear represents: 127 steps."""
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    return {
        node.input[0]: _INT8_MAX * numpy_helper.to_array(constants[node.input[1]]).item()
        for node in model.graph.node
        if node.op_type == "QuantizeLinear" and node.input[0] not in constants
    }


def name_the_batch(model: ModelProto) -> None:
    """Make the first dimension of inputs and outputs dynamic, in place.

    Raises:
        EngineError: A node fixes it.
    """
    for node in model.graph.node:
        fixes = (node.op_type == "Resize" and len(node.input) > 3 and node.input[3]) or node.op_type == "Reshape"
        if fixes:
            raise EngineError(
                f"node {node.name or node.output[0]!r} ({node.op_type}) fixes the number of images",
                needed="a graph for any number of images",
                fix="set batch.max of the target to 1",
            )
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    del model.graph.value_info[:]


def floats_to_half(model: ModelProto) -> int:
    """Convert every float32 tensor but inputs and outputs to half, in place; return the number of raised scales.

    A scale below the smallest half belongs to a channel whose weights are close to zero. It is raised to the smallest
    half, which changes a weight by less than 1e-5.

    Raises:
        EngineError: A value is too large for half.
    """
    graph = model.graph
    raised = _constants_to_half(graph)
    floats = [value for value in (*graph.input, *graph.output) if _is_float(value)]
    inner = {value.name: f"{value.name}_half" for value in floats}
    for node in graph.node:
        node.input[:] = [inner.get(name, name) for name in node.input]
        node.output[:] = [inner.get(name, name) for name in node.output]
    _add_casts(graph, inner)
    del graph.value_info[:]
    model.opset_import[0].version = _HALF_OPSET
    model.ir_version = max(model.ir_version, _HALF_IR)
    return raised


def _is_float(value: ValueInfoProto) -> bool:
    from onnx import TensorProto

    return bool(value.type.tensor_type.elem_type == TensorProto.FLOAT)


def _constants_to_half(graph: GraphProto) -> int:
    from onnx import TensorProto, numpy_helper

    resizing = {name for node in graph.node if node.op_type == "Resize" for name in node.input[1:]}
    scales = {node.input[1] for node in graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")}
    raised = 0
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or tensor.name in resizing:  # a Resize keeps its scales in float32
            continue
        values: NDArray[Any] = numpy_helper.to_array(tensor)
        if np.abs(values).max(initial=0) > np.finfo(np.float16).max:
            raise EngineError(
                f"{tensor.name} reaches {float(np.abs(values).max()):g}",
                needed=f"values up to {float(np.finfo(np.float16).max):g}, the largest half",
                fix="set precision of the target to int8_fp32",
            )
        half = values.astype(np.float16)
        if tensor.name in scales and (half == 0).any():
            raised += int((half == 0).sum())
            half = np.where(half == 0, np.finfo(np.float16).smallest_subnormal, half).astype(np.float16)
        tensor.CopyFrom(numpy_helper.from_array(half, tensor.name))
    return raised


def _add_casts(graph: GraphProto, inner: Mapping[str, str]) -> None:
    from onnx import TensorProto, helper

    before = [
        helper.make_node("Cast", [value.name], [inner[value.name]], f"{value.name}_to_half", to=TensorProto.FLOAT16)
        for value in graph.input
        if value.name in inner
    ]
    after = [
        helper.make_node("Cast", [inner[value.name]], [value.name], f"{value.name}_to_float", to=TensorProto.FLOAT)
        for value in graph.output
        if value.name in inner
    ]
    nodes = [*before, *graph.node, *after]
    del graph.node[:]
    graph.node.extend(nodes)


def _checked(model: ModelProto) -> bytes:
    import onnx

    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise EngineError(
            f"the graph is not valid once it is rewritten for the target: {error}",
            needed="a valid graph",
            fix="set batch.max to 1 and precision to int8_fp32 for the target; if that fails too, export again",
        ) from None
    content: bytes = model.SerializeToString(deterministic=True)
    return content
