"""Checks node by node that every TensorRT from 8.6 supports a graph, before it is built on a device.

Needs onnx, not torch. Sources: the operator list of onnx-tensorrt 8.6, and the section on explicit quantization
of the TensorRT developer guide: symmetric int8 only, one scale per activation, one per output channel of a weight,
float biases.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_assets.core.errors import ExportError
from robot_assets.core.text import plural

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto, NodeProto

OPSET = 17
IR_VERSION = 8

ALLOWED_OPERATORS = frozenset(
    {
        "Add",
        "AveragePool",
        "Clip",
        "Concat",
        "Conv",
        "DequantizeLinear",
        "GlobalAveragePool",
        "Identity",
        "MaxPool",
        "Mul",
        "QuantizeLinear",
        "Relu",
        "Reshape",
        "Resize",
        "Sigmoid",
        "Slice",
        "Split",
        "Sub",
        "Transpose",
    }
)
"""Operators of detectors that TensorRT 8.6 to 11 support."""


def preflight(model: ModelProto, origin: Path) -> None:
    """Reject a graph that a TensorRT from 8.6 to 11 would reject, or would silently run in float.

    Args:
        model: The model, with its tensors inside, not in other files.
        origin: Path of the model, named in errors.

    Raises:
        ExportError: Lists every problem with the name of its node or tensor.
    """
    problems = [*_container(model), *_shapes(model), *_nodes(model)]
    if problems:
        count = len(problems)
        shown = "\n    ".join(problems[:12]) + (f"\n    and {count - 12} more" if count > 12 else "")
        raise ExportError(
            f"{origin} has {plural(count, 'problem')} for TensorRT:\n    {shown}",
            needed=f"one file, opset {OPSET}, symmetric int8 Q/DQ, and only the operators in "
            "robot_assets/export/preflight.py",
            fix="change the network or the quantizer so that the graph has no such nodes, then rebuild the onnx asset",
        )


def _container(model: ModelProto) -> Iterator[str]:
    from onnx import TensorProto

    opsets = {opset.domain or "ai.onnx": opset.version for opset in model.opset_import}
    if opsets != {"ai.onnx": OPSET}:
        yield f"operator sets {opsets}, needed ai.onnx {OPSET} alone"
    if model.ir_version > IR_VERSION:
        yield f"IR version {model.ir_version}, needed at most {IR_VERSION}"
    for function in model.functions:
        yield f"local function {function.name!r}"
    readers = {name: _name(node) for node in reversed(model.graph.node) for name in node.input}
    for tensor in model.graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            yield f"node {readers.get(tensor.name, '')!r}: tensor {tensor.name!r} has its data in another file"


def _shapes(model: ModelProto) -> Iterator[str]:
    for value in (*model.graph.input, *model.graph.output):
        dimensions = value.type.tensor_type.shape.dim
        if not dimensions or not all(dimension.dim_value > 0 for dimension in dimensions):
            yield f"{value.name!r} has a shape that is not fixed"


def _nodes(model: ModelProto) -> Iterator[str]:
    tensors = _tensors(model)
    for node in model.graph.node:
        name = _name(node)
        if node.domain not in ("", "ai.onnx") or node.op_type not in ALLOWED_OPERATORS:
            yield f"node {name!r}: operator {node.domain + '::' if node.domain else ''}{node.op_type}"
        elif node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            for problem in _quantization(node, tensors):
                yield f"node {name!r}: {problem}"


def _name(node: NodeProto) -> str:
    name: str = node.name or node.output[0]
    return name


def _tensors(model: ModelProto) -> dict[str, NDArray[Any] | None]:
    """Constants by name; None for data in another file, which is a problem of its own."""
    from onnx import TensorProto, numpy_helper

    return {
        tensor.name: None if tensor.data_location == TensorProto.EXTERNAL else numpy_helper.to_array(tensor)
        for tensor in model.graph.initializer
    }


def _quantization(node: NodeProto, tensors: Mapping[str, NDArray[Any] | None]) -> Iterator[str]:
    scale = tensors.get(node.input[1])
    zero_point = tensors.get(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    if scale is None:
        yield "the scale is not a constant"
    elif not (scale > 0).all() or not (scale < float("inf")).all():
        yield f"scale {scale.reshape(-1)[:3].tolist()}, needed above 0 and finite"
    if zero_point is None:
        yield "no constant zero point"
    else:
        yield from _zero_point(zero_point)
    is_external = node.input[0] in tensors and tensors[node.input[0]] is None
    if scale is not None and not is_external:
        yield from _granularity(node, scale, tensors.get(node.input[0]))


def _zero_point(zero_point: NDArray[Any]) -> Iterator[str]:
    if str(zero_point.dtype) != "int8":
        hint = " (a quantized bias: keep biases float)" if str(zero_point.dtype) == "int32" else ""
        yield f"quantized type {zero_point.dtype}, needed int8{hint}"
    if (zero_point != 0).any():
        yield f"zero point {zero_point.reshape(-1)[:3].tolist()}, needed 0: int8 must be symmetric"


def _granularity(node: NodeProto, scale: NDArray[Any], data: NDArray[Any] | None) -> Iterator[str]:
    """Activations need one scale; weights one per output channel (axis 0), or one."""
    if scale.size == 1:
        return
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
    if data is None:
        yield f"{scale.size} scales on an activation, needed one"
    elif axis != 0 or scale.size != data.shape[0]:
        yield f"{scale.size} scales on axis {axis} of a weight {tuple(data.shape)}, needed one per output channel"
