"""The Q/DQ graph that TensorRT takes, rewritten for ONNX Runtime's CPU kernels. Needs onnx, not torch.

TensorRT wants symmetric int8; ONNX Runtime fuses that graph into nothing and runs it slower than float. Its int8
kernels want uint8 activations. The rewrite changes the representation and keeps the arithmetic:

- a tensor that can be negative keeps its scale and moves to uint8 with zero point 128: the same grid, shifted;
- a tensor that cannot (after ReLU, and the images) keeps its scale with zero point 0: the same grid again, and
  the ReLU dissolves into the clipping at 0. Values above 127 steps, which int8 cut off, now survive up to 255.

Keeping the scale, where uint8 would allow one of half the size, also keeps almost all values below 128. On CPUs
without VNNI the kernel adds two products in int16, which saturates above that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

_MOVERS = ("Resize", "MaxPool", "Concat", "QuantizeLinear", "DequantizeLinear")
_SHIFT = 128


@dataclass(frozen=True)
class Rewritten:
    """What the rewrite did.

    Attributes:
        from_zero: Activations that cannot be negative: uint8 with zero point 0.
        shifted: Activations that can: uint8 with zero point 128.
    """

    from_zero: int
    shifted: int


def rewrite(model: ModelProto) -> Rewritten:
    """Rewrite ``model`` in place: symmetric int8 activations become uint8 ones of the same scale."""
    graph = model.graph
    not_negative = _not_negative(graph)
    zero_points = _add_zero_points(graph)
    moved: dict[str, str] = {}
    counts = {0: 0, _SHIFT: 0}
    for node in graph.node:
        if node.op_type == "QuantizeLinear":
            zero_point = 0 if node.input[0] in not_negative else _SHIFT
            counts[zero_point] += 1
            moved[node.output[0]] = node.input[2] = zero_points[zero_point]
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in moved:
            node.input[2] = moved[node.input[0]]
    _retype(graph, set(moved))
    _remove_unused_initializers(graph)
    return Rewritten(from_zero=counts[0], shifted=counts[_SHIFT])


def _not_negative(graph: GraphProto) -> set[str]:
    """Names of the tensors that cannot be negative: ReLU outputs, the images, and what only moves those."""
    known = {graph.input[0].name}
    for node in graph.node:
        data = node.input if node.op_type == "Concat" else node.input[:1]
        if node.op_type == "Relu" or (node.op_type in _MOVERS and all(name in known for name in data)):
            known.update(node.output)
    return known


def _add_zero_points(graph: GraphProto) -> dict[int, str]:
    import numpy as np
    from onnx import numpy_helper

    names = {0: "uint8_zero_point_0", _SHIFT: f"uint8_zero_point_{_SHIFT}"}
    for value, name in names.items():
        graph.initializer.append(numpy_helper.from_array(np.array(value, np.uint8), name))
    return names


def _retype(graph: GraphProto, names: set[str]) -> None:
    """Correct the recorded types of the quantized tensors, where the graph records them."""
    from onnx import TensorProto

    for info in graph.value_info:
        if info.name in names:
            info.type.tensor_type.elem_type = TensorProto.UINT8


def _remove_unused_initializers(graph: GraphProto) -> None:
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def quantizes(node: NodeProto) -> bool:
    """Whether ``node`` is one half of a Q/DQ pair."""
    return node.op_type in ("QuantizeLinear", "DequantizeLinear")
