"""The layers of a Q/DQ graph, and the same graph with only some of them quantized. Needs onnx, not torch.

A *layer* is a node that computes with quantized inputs: a convolution with its weights, an addition. What only moves
values (resizing, pooling, concatenation) is no layer of its own: it works on what its readers want. To leave a layer
in float is to give it its inputs before they are rounded, and its weights as they were trained.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_assets.core.errors import ExportError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

    Weights = Mapping[str, NDArray[Any]]

_PAIRS = ("QuantizeLinear", "DequantizeLinear")
_MOVERS = ("Concat", "Identity", "MaxPool", "Reshape", "Resize", "Slice", "Split", "Transpose")
_ROUNDING = 0.501
"""Steps of the int8 grid that a weight may lie from its place on it."""


@dataclass(frozen=True)
class Layer:
    """A node that computes with quantized inputs.

    Attributes:
        name: After the module that its bias belongs to, such as ``heads.s8.cls``; an addition after the convolution
            that feeds it, ``stage4.1.second.add``; where there is no such thing, the name of the node.
        operator: Of the node.
    """

    name: str
    operator: str


def layers_of(model: ModelProto) -> tuple[Layer, ...]:
    """The quantized layers of ``model`` in the order they run."""
    return tuple(Layer(name, node.op_type) for name, node in _layer_nodes(_Wiring(model.graph)).items())


def keep_quantized(model: ModelProto, layers: Collection[str], weights: Weights | None = None) -> ModelProto:
    """A copy of ``model`` in which only ``layers`` are quantized; all of them: the same bytes.

    Args:
        model: A Q/DQ graph.
        layers: Names out of :func:`layers_of`.
        weights: Float weights by layer, from :func:`float_weights`; a layer without has its int8 weights times scale.

    Raises:
        ExportError: ``layers`` names what is not there.
    """
    changed = deepcopy(model)
    wiring = _Wiring(changed.graph)
    nodes = _layer_nodes(wiring)
    if strange := sorted(set(layers) - set(nodes)):
        raise ExportError(
            f"no quantized layer {', '.join(strange)} in the graph",
            needed=f"some of {', '.join(nodes)}",
            fix="build the sensitivity asset again: the graph has changed since it named its layers",
        )
    if len(set(layers)) == len(nodes):
        return changed
    stays = {nodes[name].output[0] for name in layers}
    names = {node.output[0]: name for name, node in nodes.items()}
    for node in wiring.movers_into(stays):
        stays.add(node.output[0])
    for node in changed.graph.node:
        if node.op_type in _PAIRS or node.output[0] in stays:
            continue
        trained = (weights or {}).get(names.get(node.output[0], ""))
        for position, name in enumerate(node.input):
            node.input[position] = wiring.in_float(name, trained)
    _remove_unread(changed.graph)
    return changed


def float_weights(model: ModelProto, tensors: Weights) -> dict[str, NDArray[Any]]:
    """The trained weights of each convolution of ``model``, by layer.

    Args:
        model: A Q/DQ graph as it was exported.
        tensors: The folded weights and biases that it was exported from, by their name in the network.

    Raises:
        ExportError: A weight is missing, or is not the one that was rounded to what the graph has.
    """
    wiring = _Wiring(model.graph)
    return {
        name: _trained(name, node, wiring, tensors)
        for name, node in _layer_nodes(wiring).items()
        if node.op_type == "Conv"
    }


def _trained(name: str, node: NodeProto, wiring: _Wiring, tensors: Weights) -> NDArray[Any]:
    """The weights of one convolution: by the name of its bias, and where it has none, by what rounds to its own."""
    owner, _, leaf = (node.input[2] if len(node.input) > 2 else "").rpartition(".")
    key = f"{owner}.{leaf.replace('bias', 'weight')}" if owner else "a weight"
    candidates = [tensors[key]] if key in tensors else list(tensors.values())
    matching = [tensor for tensor in candidates if wiring.rounds_to(tensor, node.input[1])]
    if not matching:
        raise ExportError(
            f"{key} of the quantized model is {'another' if key in tensors else 'missing'}, seen from the layer {name} "
            "of the graph",
            needed="the weights that the graph was exported from",
            fix="build the onnx asset again, and then sensitivity",
        )
    return matching[0]


def multiply_accumulates(model: ModelProto) -> dict[str, int]:
    """Multiply-accumulates of one inference, by the output of each convolution; shapes must be fixed."""
    import onnx

    graph = onnx.shape_inference.infer_shapes(model).graph
    shapes = {
        value.name: [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]
        for value in (*graph.value_info, *graph.input, *graph.output)
    }
    shapes |= {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    counts = {}
    for node in graph.node:
        if node.op_type == "Conv":
            _, channels, height, width = shapes[node.output[0]]
            _, *window = shapes[node.input[1]]
            counts[node.output[0]] = channels * height * width * window[0] * window[1] * window[2]
    return counts


class _Wiring:
    """Who makes and who reads each tensor of a graph, as it was when this was made."""

    def __init__(self, graph: GraphProto) -> None:
        self.graph = graph
        self.constants: dict[str, TensorProto] = {tensor.name: tensor for tensor in graph.initializer}
        self.makers: dict[str, NodeProto] = {name: node for node in graph.node for name in node.output}
        self.readers: dict[str, list[NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)

    def is_dequantized(self, name: str) -> bool:
        maker = self.makers.get(name)
        return maker is not None and maker.op_type == "DequantizeLinear"

    def origin(self, name: str) -> str:
        """The float tensor that ``name`` was before quantize/dequantize pairs; of weights, the int8 constant."""
        while (maker := self.makers.get(name)) is not None and maker.op_type in _PAIRS:
            name = maker.input[0]
        return name

    def in_float(self, name: str, trained: NDArray[Any] | None) -> str:
        """The name of ``name`` without rounding; a float constant is added to the graph where it takes one."""
        from onnx import numpy_helper

        source = self.origin(name)
        if source == name or source not in self.constants:
            return source
        added = f"{name}_float"
        if added not in self.constants:
            value = self.dequantized(name) if trained is None else trained
            self.constants[added] = numpy_helper.from_array(value, added)
            self.graph.initializer.append(self.constants[added])
        return added

    def dequantized(self, name: str) -> NDArray[Any]:
        """The float weights that a DequantizeLinear over a constant gives."""
        import numpy as np

        values, scale = self._grid(name)
        return np.ascontiguousarray(values.astype(np.float32) * scale)

    def rounds_to(self, trained: NDArray[Any], name: str) -> bool:
        """Whether ``trained`` rounds to the constant that ``name`` dequantizes."""
        import numpy as np

        values, scale = self._grid(name)
        return trained.shape == values.shape and bool((np.abs(trained / scale - values) <= _ROUNDING).all())

    def _grid(self, name: str) -> tuple[NDArray[Any], NDArray[Any]]:
        """Int8 values and their scale, shaped to be multiplied."""
        from onnx import numpy_helper

        node = self.makers[name]
        values, scale = (numpy_helper.to_array(self.constants[one]) for one in node.input[:2])
        axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
        if scale.ndim:
            scale = scale.reshape([-1 if index == axis else 1 for index in range(values.ndim)])
        return values, scale

    def movers_into(self, stays: Collection[str]) -> Iterator[NodeProto]:
        """What moves values, through pairs and each other, into a node whose output is in ``stays``."""
        wanted = set(stays)
        for node in reversed(self.graph.node):
            if node.op_type in _MOVERS and any(reader.output[0] in wanted for reader in self._behind_pairs(node)):
                wanted.add(node.output[0])
                yield node

    def _behind_pairs(self, node: NodeProto) -> Iterator[NodeProto]:
        """The readers of ``node`` that read it quantized."""
        pending = [(name, False) for name in node.output]
        while pending:
            name, is_quantized = pending.pop()
            for reader in self.readers.get(name, ()):
                if reader.op_type in _PAIRS:
                    pending.append((reader.output[0], True))
                elif is_quantized:
                    yield reader


def _layer_nodes(wiring: _Wiring) -> dict[str, NodeProto]:
    """The nodes of layers by name, in the order they run."""
    nodes = [
        node
        for node in wiring.graph.node
        if node.op_type not in (*_PAIRS, *_MOVERS) and any(wiring.is_dequantized(name) for name in node.input)
    ]
    named: dict[str, NodeProto] = {}
    for node in nodes:
        name = _name(node, wiring)
        named[name if name and name not in named else node.name or node.output[0]] = node
    return named


def _name(node: NodeProto, wiring: _Wiring) -> str:
    if node.op_type == "Conv":
        return _module(node)
    for name in reversed(node.input):
        feeding = wiring.makers.get(wiring.origin(name))
        if feeding is not None and feeding.op_type == "Conv" and (module := _module(feeding)):
            return f"{module}.{node.op_type.lower()}"
    return ""


def _module(convolution: NodeProto) -> str:
    """The module that the bias of a convolution belongs to, without the place in a sequence that every one has."""
    bias = convolution.input[2] if len(convolution.input) > 2 else ""
    return bias.rpartition(".")[0].removesuffix(".0")


def _remove_unread(graph: GraphProto) -> None:
    """Remove nodes and constants that nothing reads any more."""
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
    """The folded float weights of a quantized model's directory, by their name in the network; no torch.

    Raises:
        ExportError: The file is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    path = folder / "model.safetensors"
    try:
        return dict(load(path.read_bytes()))
    except (OSError, SafetensorError) as error:
        raise ExportError(
            f"{path} does not load ({type(error).__name__}: {error})",
            needed="the weights that quantization wrote",
            fix="build the ptq and qat assets again",
        ) from None
