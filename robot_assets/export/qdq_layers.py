"""Lists the layers of a Q/DQ graph, and leaves some of them in float. Needs onnx, not torch.

A *layer* is a node that computes with quantized inputs: a convolution with its weights, a matrix product, an addition.
Nodes that preserve values (resizing, max pooling, concatenation) are no layers: they run in the precision of their
readers. A layer in float reads its inputs before they are quantized, and its weights as they were trained.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_assets.core.errors import ExportError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

    Weights = Mapping[str, NDArray[Any]]

WEIGHTS = "model.safetensors"
"""File with float weights, in the directory of a quantized model."""

_PAIRS = ("QuantizeLinear", "DequantizeLinear")
_VALUE_PRESERVING = frozenset(
    {
        "Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "GlobalMaxPool", "Identity", "MaxPool", "Reshape",
        "Resize", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze",
    }
)  # fmt: skip
_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_ROUNDING_MAX = 0.501
"""Largest distance of a weight from its quantized value, in steps of the int8 grid."""


@dataclass(frozen=True)
class Layer:
    """A node that computes with quantized inputs.

    Attributes:
        name: The module of its bias, such as ``heads.s8.cls``; for an addition that of the layer with weights before
            it, such as ``stage4.1.second.add``; otherwise the name of the node.
        operator: Operator of the node.
    """

    name: str
    operator: str


def layers_of(model: ModelProto) -> tuple[Layer, ...]:
    """The quantized layers of ``model`` in execution order."""
    return tuple(Layer(name, node.op_type) for name, node in _layer_nodes(_Index(model.graph)).items())


def keep_quantized(model: ModelProto, layers: Collection[str], weights: Weights | None = None) -> ModelProto:
    """Copy ``model`` with only ``layers`` quantized. With all of its layers, the copy has the same bytes.

    Args:
        model: A Q/DQ graph.
        layers: Names of :func:`layers_of`.
        weights: Float weights by layer, from :func:`float_weights`; layers without get their dequantized weights.

    Raises:
        ExportError: ``layers`` has a name that the graph does not have.
    """
    changed = deepcopy(model)
    index = _Index(changed.graph)
    nodes = _layer_nodes(index)
    if unknown := sorted(set(layers) - set(nodes)):
        raise ExportError(
            f"no quantized layer {', '.join(unknown)} in the graph",
            needed=f"some of {', '.join(nodes)}",
            fix="rebuild the sensitivity asset: the graph has changed since its layers were listed",
        )
    if len(set(layers)) == len(nodes):
        return changed
    quantized = {nodes[name].output[0] for name in layers}
    names = {node.output[0]: name for name, node in nodes.items()}
    for node in index.value_preserving_before(quantized):
        quantized.add(node.output[0])
    for node in changed.graph.node:
        if node.op_type in _PAIRS or node.output[0] in quantized:
            continue
        trained = (weights or {}).get(names.get(node.output[0], ""))
        for position, name in enumerate(node.input):
            node.input[position] = index.in_float(name, trained)
    _remove_unread(changed.graph)
    return changed


def float_weights(model: ModelProto, tensors: Weights) -> dict[str, NDArray[Any]]:
    """The trained weights of each layer of ``model`` that has weights, by layer.

    Args:
        model: A Q/DQ graph as exported.
        tensors: The folded weights and biases that it was exported from, by any name. A weight is found by the name of
            the bias of its layer, otherwise by its value, also transposed.

    Raises:
        ExportError: A weight is missing, or does not round to the int8 weight of the graph.
    """
    index = _Index(model.graph)
    return {
        name: _trained(name, node, index, tensors)
        for name, node in _layer_nodes(index).items()
        if node.op_type in _WEIGHTED and index.is_quantized_constant(node.input[1])
    }


def _trained(name: str, node: NodeProto, index: _Index, tensors: Weights) -> NDArray[Any]:
    """The weights of one layer: found by the name of its bias, otherwise by their quantized values."""
    owner, _, leaf = (node.input[2] if len(node.input) > 2 else "").rpartition(".")
    key = f"{owner}.{leaf.replace('bias', 'weight')}" if owner else "weight"
    candidates = [tensors[key]] if key in tensors else list(tensors.values())
    turned = [tensor.T for tensor in candidates if tensor.ndim == 2]
    matching = (tensor for tensor in (*candidates, *turned) if index.rounds_to(tensor, node.input[1]))
    if (found := next(matching, None)) is None:
        raise ExportError(
            f"{key} of the quantized model does not round to the weights of layer {name}"
            if key in tensors
            else f"the quantized model has no {key} for layer {name}",
            needed="the weights that the graph was exported from",
            fix="rebuild the onnx asset, then sensitivity",
        )
    return found


def multiply_accumulates(model: ModelProto) -> dict[str, int]:
    """Multiply-accumulates of one inference, by the output of each convolution and matrix product. Shapes are fixed."""
    import onnx

    graph = onnx.shape_inference.infer_shapes(model).graph
    shapes = {
        value.name: [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]
        for value in (*graph.value_info, *graph.input, *graph.output)
    }
    shapes |= {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    return {
        node.output[0]: prod(shapes[node.output[0]]) * _products(node, shapes)
        for node in graph.node
        if node.op_type in _WEIGHTED and {node.output[0], *node.input[:2]} <= shapes.keys()
    }


def _products(node: NodeProto, shapes: Mapping[str, Sequence[int]]) -> int:
    """Multiply-accumulates of one value of the output, for a transposed convolution on average."""
    data, weights = (shapes[name] for name in node.input[:2])
    if node.op_type == "Conv":
        return prod(weights[1:])
    if node.op_type == "ConvTranspose":
        return prod(data) * prod(weights[1:]) // prod(shapes[node.output[0]])
    return data[-2] if _attribute(node, "transA", 0) else data[-1]


def _attribute(node: NodeProto, name: str, default: int) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == name), default)


class _Index:
    """Producer and readers of each tensor of a graph, as of the creation of the index."""

    def __init__(self, graph: GraphProto) -> None:
        self.graph = graph
        self.constants: dict[str, TensorProto] = {tensor.name: tensor for tensor in graph.initializer}
        self.producers: dict[str, NodeProto] = {name: node for node in graph.node for name in node.output}
        self.readers: dict[str, list[NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)

    def is_dequantized(self, name: str) -> bool:
        producer = self.producers.get(name)
        return producer is not None and producer.op_type == "DequantizeLinear"

    def is_quantized_constant(self, name: str) -> bool:
        """Whether ``name`` is dequantized from an int8 constant."""
        return self.is_dequantized(name) and self.producers[name].input[0] in self.constants

    def origin(self, name: str) -> str:
        """The tensor before the quantize/dequantize pairs of ``name``; for weights, the constant.

        Integers that another node has moved before they are dequantized stay as they are.
        """
        while self.is_dequantized(name):
            integers: str = self.producers[name].input[0]
            maker = self.producers.get(integers)
            if integers in self.constants:
                return integers
            if maker is None or maker.op_type != "QuantizeLinear":
                break
            name = maker.input[0]
        return name

    def in_float(self, name: str, trained: NDArray[Any] | None) -> str:
        """Name of the tensor ``name`` without rounding; for weights, a float constant is added to the graph."""
        from onnx import numpy_helper

        source = self.origin(name)
        if not self.is_quantized_constant(name):
            return source
        added = f"{name}_float"
        if added not in self.constants:
            value = self.dequantized(name) if trained is None else trained
            self.constants[added] = numpy_helper.from_array(value, added)
            self.graph.initializer.append(self.constants[added])
        return added

    def dequantized(self, name: str) -> NDArray[Any]:
        """The float weights of a DequantizeLinear of a constant."""
        import numpy as np

        values, scale = self._grid(name)
        return np.ascontiguousarray(values.astype(np.float32) * scale)

    def rounds_to(self, trained: NDArray[Any], name: str) -> bool:
        """Whether ``trained`` rounds to the constant that ``name`` dequantizes."""
        import numpy as np

        values, scale = self._grid(name)
        return trained.shape == values.shape and bool((np.abs(trained / scale - values) <= _ROUNDING_MAX).all())

    def _grid(self, name: str) -> tuple[NDArray[Any], NDArray[Any]]:
        """Int8 values, and their scale in a shape that broadcasts."""
        from onnx import numpy_helper

        node = self.producers[name]
        values, scale = (numpy_helper.to_array(self.constants[one]) for one in node.input[:2])
        axis = _attribute(node, "axis", 1)
        if scale.ndim:
            scale = scale.reshape([-1 if dimension == axis else 1 for dimension in range(values.ndim)])
        return values, scale

    def value_preserving_before(self, outputs: Collection[str]) -> Iterator[NodeProto]:
        """Value-preserving nodes that feed, through pairs and each other, a node with one of ``outputs``."""
        reached = set(outputs)
        for node in reversed(self.graph.node):
            if node.op_type not in _VALUE_PRESERVING:
                continue
            if any(reader.output[0] in reached for reader in self._quantized_readers(node)):
                reached.add(node.output[0])
                yield node

    def _quantized_readers(self, node: NodeProto) -> Iterator[NodeProto]:
        """The nodes that read an output of ``node`` through quantize/dequantize pairs."""
        pending = [(name, False) for name in node.output]
        while pending:
            name, is_quantized = pending.pop()
            for reader in self.readers.get(name, ()):
                if reader.op_type in _PAIRS:
                    pending.append((reader.output[0], True))
                elif is_quantized:
                    yield reader


def _layer_nodes(index: _Index) -> dict[str, NodeProto]:
    """The nodes of layers by name, in execution order."""
    nodes = [
        node
        for node in index.graph.node
        if node.op_type not in (*_PAIRS, *_VALUE_PRESERVING) and any(map(index.is_dequantized, node.input))
    ]
    named: dict[str, NodeProto] = {}
    for node in nodes:
        names = (_name(node, index), node.name, node.output[0], f"output {node.output[0]}")
        named[next(name for name in names if name and name not in named)] = node
    return named


def _name(node: NodeProto, index: _Index) -> str:
    if node.op_type in _WEIGHTED:
        return _module(node)
    for name in reversed(node.input):
        before = index.producers.get(index.origin(name))
        if before is not None and before.op_type in _WEIGHTED and (module := _module(before)):
            return f"{module}.{node.op_type.lower()}"
    return ""


def _module(node: NodeProto) -> str:
    """The module of the bias of a layer with weights, without the index 0 that it has in its ``Sequential``."""
    bias: str = node.input[2] if len(node.input) > 2 else ""
    return bias.rpartition(".")[0].removesuffix(".0")


def _remove_unread(graph: GraphProto) -> None:
    """Remove nodes and constants without readers."""
    read = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if not read.isdisjoint(node.output):
            kept.append(node)
            read.update(node.input)
    nodes, constants = kept[::-1], [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(constants)


def load_weights(folder: Path) -> dict[str, NDArray[Any]]:
    """Read the float weights in the directory of a quantized model, by their name in the network, without torch.

    Raises:
        ExportError: The file is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    path = folder / WEIGHTS
    try:
        return dict(load(path.read_bytes()))
    except (OSError, SafetensorError) as error:
        raise ExportError(
            f"{path} does not load ({type(error).__name__}: {error})",
            needed="the weights that quantization wrote",
            fix="rebuild the asset that quantized the model",
        ) from None
