"""Checks node by node that every TensorRT from 8.6 supports a graph, before it is built on a device.

Needs onnx, not torch. Sources: the operator lists of onnx-tensorrt 8.5 (the first for opset 17) to 10, and the section
on explicit quantization of the TensorRT developer guide: symmetric int8 only, one scale per activation, one per output
channel of a weight, float biases.
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

    Tensors = Mapping[str, NDArray[Any] | None]

OPSET = 17
IR_VERSION = 8

_COMPUTING = """
Abs Acos Acosh Add ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Ceil Celu Clip Conv
ConvTranspose Cos Cosh CumSum Div Einsum Elu Erf Exp Floor Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool
GridSample HardSigmoid HardSwish InstanceNormalization LRN LayerNormalization LeakyRelu Log LogSoftmax
LpNormalization LpPool MatMul Max MaxPool Mean Min Mod Mul Neg PRelu Pow Reciprocal ReduceL1 ReduceL2
ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Resize
RoiAlign Round Selu Shrink Sigmoid Sign Sin Sinh Softmax Softplus Softsign Sqrt Sub Sum Tan Tanh ThresholdedRelu
"""
_MOVING = """
Cast Concat Constant ConstantOfShape DepthToSpace Expand EyeLike Flatten Gather GatherElements GatherND Identity
NonMaxSuppression NonZero OneHot Pad Range Reshape ReverseSequence Scatter ScatterElements ScatterND Shape Size
Slice SpaceToDepth Split Squeeze Tile TopK Transpose Trilu Unsqueeze
"""
_LOGICAL = "And Equal Greater GreaterOrEqual IsNaN Less LessOrEqual Not Or Where Xor"

ALLOWED_OPERATORS = frozenset(
    f"{_COMPUTING} {_MOVING} {_LOGICAL} QuantizeLinear DequantizeLinear".split(),
)
"""Operators of opset 17 that TensorRT 8.6 to 11 support, without control flow, recurrence and random numbers: an engine
gives the same answer to the same image, at a fixed latency."""

_BY_COLUMN = ("MatMul", "Gemm", "ConvTranspose")
"""Operators whose weights have their output channels on axis 1."""


def preflight(model: ModelProto, origin: Path) -> None:
    """Reject a graph that a TensorRT from 8.6 to 11 would reject, or would silently run in float.

    Args:
        model: The model, with its tensors inside, not in other files.
        origin: Path of the model, named in errors.

    Raises:
        ExportError: Lists every problem with the name of its node or tensor.
    """
    problems = [*graph_problems(model), *quantization_problems(model)]
    if problems:
        count = len(problems)
        shown = "\n    ".join(problems[:12]) + (f"\n    and {count - 12} more" if count > 12 else "")
        raise ExportError(
            f"{origin} has {plural(count, 'problem')} for TensorRT:\n    {shown}",
            needed=f"one file, opset {OPSET}, symmetric int8 Q/DQ, and only the operators in "
            "robot_assets/export/preflight.py",
            fix="change the network or the quantizer so that the graph has no such nodes, then rebuild the onnx asset",
        )


def graph_problems(model: ModelProto) -> Iterator[str]:
    """What is refused in every graph, float or quantized: its container, shapes that are not fixed, operators."""
    yield from _container(model)
    yield from _shapes(model)
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx") or node.op_type not in ALLOWED_OPERATORS:
            domain = f"{node.domain}::" if node.domain else ""
            yield f"node {name_of(node)!r}: operator {domain}{node.op_type}"


def quantization_problems(model: ModelProto) -> Iterator[str]:
    """What is refused in the Q/DQ nodes of a graph; nothing in a float graph."""
    tensors = _tensors(model)
    by_column = _weights_by_column(model)
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            for problem in _quantization(node, tensors, axis=1 if node.output[0] in by_column else 0):
                yield f"node {name_of(node)!r}: {problem}"


def _container(model: ModelProto) -> Iterator[str]:
    from onnx import TensorProto

    opsets = {opset.domain or "ai.onnx": opset.version for opset in model.opset_import}
    if opsets != {"ai.onnx": OPSET}:
        yield f"operator sets {opsets}, needed ai.onnx {OPSET} alone"
    if model.ir_version > IR_VERSION:
        yield f"IR version {model.ir_version}, needed at most {IR_VERSION}"
    for function in model.functions:
        yield f"local function {function.name!r}"
    readers = {name: name_of(node) for node in reversed(model.graph.node) for name in node.input}
    for tensor in model.graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            yield f"node {readers.get(tensor.name, '')!r}: tensor {tensor.name!r} has its data in another file"


def _shapes(model: ModelProto) -> Iterator[str]:
    for value in (*model.graph.input, *model.graph.output):
        dimensions = value.type.tensor_type.shape.dim
        if not dimensions or not all(dimension.dim_value > 0 for dimension in dimensions):
            yield f"{value.name!r} has a shape that is not fixed"


def name_of(node: NodeProto) -> str:
    """The name of a node; for one without, the name of its first output."""
    name: str = node.name or node.output[0]
    return name


def _weights_by_column(model: ModelProto) -> set[str]:
    """Dequantized weights whose output channels are on axis 1."""
    return {
        node.input[1]
        for node in model.graph.node
        if node.op_type in _BY_COLUMN and not any(one.name == "transB" and one.i for one in node.attribute)
    }


def _tensors(model: ModelProto) -> dict[str, NDArray[Any] | None]:
    """Constants by name; None for data in another file, which is a problem of its own."""
    from onnx import TensorProto, numpy_helper

    return {
        tensor.name: None if tensor.data_location == TensorProto.EXTERNAL else numpy_helper.to_array(tensor)
        for tensor in model.graph.initializer
    }


def _quantization(node: NodeProto, tensors: Tensors, axis: int) -> Iterator[str]:
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
        yield from _granularity(node, scale, tensors.get(node.input[0]), axis)


def _zero_point(zero_point: NDArray[Any]) -> Iterator[str]:
    if str(zero_point.dtype) != "int8":
        hint = " (a quantized bias: keep biases float)" if str(zero_point.dtype) == "int32" else ""
        yield f"quantized type {zero_point.dtype}, needed int8{hint}"
    if (zero_point != 0).any():
        yield f"zero point {zero_point.reshape(-1)[:3].tolist()}, needed 0: int8 must be symmetric"


def _granularity(node: NodeProto, scale: NDArray[Any], data: NDArray[Any] | None, needed: int) -> Iterator[str]:
    """Activations need one scale; weights one per output channel (axis ``needed``), or one."""
    if scale.size == 1:
        return
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
    if data is None:
        yield f"{scale.size} scales on an activation, needed one"
    elif axis != needed or scale.size != dict(enumerate(data.shape)).get(axis):
        yield f"{scale.size} scales on axis {axis} of a weight {tuple(data.shape)}, needed one per output channel"
