"""Rewrites the Q/DQ graph of TensorRT for ONNX Runtime's CPU kernels. Needs onnx, not torch.

TensorRT needs symmetric int8. ONNX Runtime fuses nothing of that graph and runs it slower than float, since its int8
kernels need uint8 activations. The rewrite changes the representation and keeps the arithmetic:

- a tensor that can be negative keeps its scale and becomes uint8 with zero point 128: the same grid, shifted;
- a tensor that cannot (after ReLU) keeps its scale with zero point 0: the same grid again, and the ReLU becomes the
  clipping at 0. Values above 127 steps, which int8 clips, are kept up to 255;
- the convolution that reads the images runs in float, on images that are not quantized: with three channels the int8
  kernel spends its time on gathering single pixels, and takes 2.5 times as long as the float one;
- weights of convolutions that run in float (that one, and the heads) are stored dequantized.

Keeping the scale, where uint8 would allow one of half the size, also keeps almost all values below 128. On CPUs without
VNNI the kernel adds two products in int16, which saturates above that.
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
    """Counts of the rewrite.

    Attributes:
        from_zero: Activations that cannot be negative: uint8 with zero point 0.
        shifted: Activations that can: uint8 with zero point 128.
        float_convolutions: Convolutions that run in float.
    """

    from_zero: int
    shifted: int
    float_convolutions: int


def rewrite(model: ModelProto) -> Rewritten:
    """Rewrite ``model`` in place: symmetric int8 activations become uint8 ones of the same scale."""
    graph = model.graph
    _read_images_in_float(graph)
    float_convolutions = _dequantize_float_weights(graph)
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
    del graph.value_info[:]
    _remove_unused_initializers(graph)
    return Rewritten(counts[0], counts[_SHIFT], float_convolutions)


def float_convolutions(graph: GraphProto) -> list[NodeProto]:
    """The convolutions of a Q/DQ graph that ONNX Runtime runs in float, in the order they run."""
    makers = {node.output[0]: node for node in graph.node}
    return [node for node in graph.node if node.op_type == "Conv" and not _runs_in_int8(node, graph, makers)]


def _read_images_in_float(graph: GraphProto) -> None:
    """Remove the Q/DQ pair between the images and the convolutions that read them."""
    images = graph.input[0].name
    quantized = {node.output[0] for node in graph.node if node.op_type == "QuantizeLinear" and node.input[0] == images}
    restored = {
        node.output[0] for node in graph.node if node.op_type == "DequantizeLinear" and node.input[0] in quantized
    }
    for node in graph.node:
        for position, name in enumerate(node.input):
            if name in restored:
                node.input[position] = images
    _remove_nodes(graph, quantized | restored)


def _dequantize_float_weights(graph: GraphProto) -> int:
    """Store the weights of convolutions that ONNX Runtime will run in float as float; return their number."""
    import numpy as np
    from onnx import numpy_helper

    makers = {node.output[0]: node for node in graph.node}
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    left = float_convolutions(graph)
    done: set[str] = set()
    for convolution in left:
        maker = makers.get(convolution.input[1])
        if maker is None or maker.op_type != "DequantizeLinear" or maker.input[0] not in tensors:
            continue
        if maker.output[0] not in done:
            weight, scale = (numpy_helper.to_array(tensors[name]) for name in maker.input[:2])
            shape = (-1, *[1] * (weight.ndim - 1)) if scale.size > 1 else ()
            value = weight.astype(np.float32) * scale.reshape(shape)
            graph.initializer.append(numpy_helper.from_array(value, f"{maker.output[0]}_float"))
            done.add(maker.output[0])
        convolution.input[1] = f"{maker.output[0]}_float"
    still_read = {name for node in graph.node for name in node.input}
    _remove_nodes(graph, done - still_read)
    return len(left)


def _runs_in_int8(convolution: NodeProto, graph: GraphProto, makers: dict[str, NodeProto]) -> bool:
    """Whether the convolution is between DequantizeLinear and QuantizeLinear, with or without a ReLU."""
    source = makers.get(convolution.input[0])
    if source is None or source.op_type != "DequantizeLinear":
        return False
    readers = [node for node in graph.node if convolution.output[0] in node.input]
    if len(readers) == 1 and readers[0].op_type == "Relu":
        readers = [node for node in graph.node if readers[0].output[0] in node.input]
    return bool(readers) and all(node.op_type == "QuantizeLinear" for node in readers)


def _not_negative(graph: GraphProto) -> set[str]:
    """Names of the tensors that cannot be negative: outputs of ReLU, the images, and both after data movement."""
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


def _remove_nodes(graph: GraphProto, outputs: set[str]) -> None:
    kept = [node for node in graph.node if node.output[0] not in outputs]
    del graph.node[:]
    graph.node.extend(kept)


def _remove_unused_initializers(graph: GraphProto) -> None:
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
