"""Chooses the edges of a float graph that are quantized, as TensorRT fuses them.

Quantized are

- the input and the weights of every convolution and every fully connected layer;
- both inputs of every addition of two feature maps;
- the inputs of pooling, resizing and concatenation before such a layer; their output has the scale of their inputs.

In float stay the outputs of the graph and what computes them after the last layer (the decoding of boxes), a
convolution that reads a softmax (the expectation over the bins of a box), matrix products, and the layers that
params.yaml names. ``robot_assets.quantization.quantizer`` has the same rules for networks that are trained here;
docs/decisions/016 compares them with those of ONNX Runtime's quantizer.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from robot_assets.core.errors import QuantizationError
from robot_assets.core.text import listed, near_misses
from robot_assets.foreign.checking import shape_of

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

    Shapes = Mapping[str, Sequence[int | str]]

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_VALUE_PRESERVING = ("MaxPool", "Resize")
_MOVING = ("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Split", "Identity", "Concat")
_DISTRIBUTIONS = ("Softmax", "LogSoftmax")


@dataclass(frozen=True)
class Placement:
    """The quantized edges of a graph.

    Attributes:
        edges: Positions of the quantized inputs of nodes, by the name of the node. Weights are not among them.
        weighted: Names of the nodes whose weights are quantized.
        groups: The tensors that share a scale, by the name of each quantized tensor.
        names: Name of the layer of each node with quantized weights, each name once.
        in_float: Layers that could be quantized and are not, with the reason, by name.
    """

    edges: Mapping[str, tuple[int, ...]]
    weighted: frozenset[str]
    groups: Mapping[str, str]
    names: Mapping[str, str]
    in_float: Mapping[str, str]

    @property
    def tensors(self) -> tuple[str, ...]:
        """The quantized tensors, in the order of the graph."""
        return tuple(self.groups)


def place(model: ModelProto, float_layers: Sequence[str] = ()) -> Placement:
    """Choose the quantized edges of ``model``, a float graph with inferred shapes.

    Args:
        model: Its nodes have names of their own.
        float_layers: Patterns of the names of layers that stay in float (:func:`layer_name`).

    Raises:
        QuantizationError: A pattern matches no layer, or there is no layer to quantize.
    """
    index = _Index(model.graph)
    named = _named_by(float_layers, index)
    chosen = _Chosen(index)
    reasons = {node.name: reason for node in model.graph.node if (reason := _why_float(node, index, named))}
    weighted = {node.name for node in model.graph.node if node.op_type in WEIGHTED and node.name not in reasons}
    if not weighted:
        raise QuantizationError(
            "no layer of the graph can be quantized" + (f": {listed(reasons.values(), 3)}" if reasons else ""),
            needed="a convolution or a fully connected layer with constant weights",
            fix="robot-assets model inspect FILE   # lists the operators of the graph",
        )
    before_layers = index.nodes_before(weighted)
    for node in model.graph.node:
        if node.name in weighted:
            chosen.add(node, (0,))
        elif node.op_type == "Add" and node.name in before_layers and node.name not in named and index.is_sum(node):
            chosen.add(node, (0, 1))
    chosen.add_value_preserving(before_layers)
    return Placement(
        edges=chosen.edges,
        weighted=frozenset(weighted),
        groups={name: chosen.group(name) for name in index.tensors if name in chosen.quantized},
        names=_unique_names(index, weighted),
        in_float={layer_name(index.nodes[name]): reason for name, reason in reasons.items()},
    )


def layer_name(node: NodeProto) -> str:
    """The name of a layer: the path of its node without the operator; ``/model.0/conv/Conv`` is ``model.0.conv``."""
    parts = [part for part in node.name.split("/") if part]
    if len(parts) > 1 and parts[-1].rstrip("0123456789_") in (node.op_type, f"{node.op_type}_"):
        parts = parts[:-1]
    name = ".".join(parts)
    return name or node.name


def _unique_names(index: _Index, weighted: Collection[str]) -> dict[str, str]:
    """The names of layers by the names of their nodes; a name that is taken gets a number."""
    taken = {node.name for node in index.graph.node if node.name not in weighted}
    names: dict[str, str] = {}
    for node in index.graph.node:
        if node.name in weighted:
            name, number = layer_name(node), 1
            while name in taken:
                number += 1
                name = f"{layer_name(node)}_{number}"
            taken.add(name)
            names[node.name] = name
    return names


def _named_by(patterns: Sequence[str], index: _Index) -> frozenset[str]:
    """Names of the nodes that the patterns match."""
    names = {node.name: layer_name(node) for node in index.graph.node if node.op_type in (*WEIGHTED, "Add")}
    found: set[str] = set()
    for pattern in patterns:
        matched = {name for name, layer in names.items() if fnmatchcase(layer, pattern) or name == pattern}
        if not matched:
            near = near_misses(pattern, names.values())
            raise QuantizationError(
                f"quantization.float_layers has {pattern!r}, which matches no layer of the graph",
                needed=f"a layer such as {listed(near or sorted(set(names.values())), 4)}, or a pattern such as head.*",
                fix="correct quantization.float_layers of the model in params.yaml",
            )
        found |= matched
    return frozenset(found)


def _why_float(node: NodeProto, index: _Index, named: Collection[str]) -> str:
    """Why a layer stays in float; empty for one that is quantized, and for other nodes."""
    if node.op_type not in WEIGHTED:
        return ""
    if node.name in named:
        return "named by quantization.float_layers"
    if node.op_type == "MatMul":
        return "a matrix product of activations" if index.weight_of(node) is None else "a matrix product"
    if index.weight_of(node) is None:
        return "weights that are not constant"
    if node.op_type == "Gemm" and (index.number(node, "alpha", 1) != 1 or index.number(node, "transA", 0)):
        return "alpha or transA"
    return "the expectation over a softmax" if index.reads_distribution(node) else ""


@dataclass
class _Chosen:
    """Quantized edges while they are collected; tensors that share a scale are joined."""

    index: _Index
    edges: dict[str, tuple[int, ...]] = field(default_factory=dict)
    quantized: set[str] = field(default_factory=set)
    parents: dict[str, str] = field(default_factory=dict)

    def add(self, node: NodeProto, positions: tuple[int, ...]) -> None:
        self.edges[node.name] = positions
        self.quantized.update(node.input[position] for position in positions)

    def add_value_preserving(self, before_layers: Collection[str]) -> None:
        """Quantize around nodes whose output is only read quantized, from the end of the graph to its start."""
        for node in reversed(self.index.graph.node):
            if not self._is_preserving(node) or node.name not in before_layers:
                continue
            output = node.output[0]
            if not self._is_read_quantized(output):
                continue
            positions = tuple(range(len(node.input))) if node.op_type == "Concat" else (0,)
            if any(node.input[position] in self.index.constants for position in positions):
                continue
            self.add(node, positions)
            self.quantized.add(output)
            for position in positions:
                self.join(node.input[position], output)

    def group(self, name: str) -> str:
        while (parent := self.parents.get(name, name)) != name:
            name = parent
        return name

    def join(self, one: str, other: str) -> None:
        first, second = self.group(one), self.group(other)
        if first != second:
            self.parents[second] = first

    def _is_preserving(self, node: NodeProto) -> bool:
        if node.op_type == "Concat":
            return self.index.is_feature_map(node.output[0])
        return node.op_type in _VALUE_PRESERVING and len(node.output) == 1

    def _is_read_quantized(self, name: str) -> bool:
        """Whether every reader of ``name`` quantizes it, and it is no output of the graph."""
        readers = self.index.readers.get(name, [])
        if name in self.index.outputs or not readers:
            return False
        return all(self._quantizes(reader, name) for reader in readers)

    def _quantizes(self, reader: NodeProto, name: str) -> bool:
        return any(reader.input[position] == name for position in self.edges.get(reader.name, ()))


class _Index:
    """What a placement asks of a graph."""

    def __init__(self, graph: GraphProto) -> None:
        self.graph = graph
        self.nodes: dict[str, NodeProto] = {node.name: node for node in graph.node}
        self.constants = {tensor.name for tensor in graph.initializer}
        self.outputs = {value.name for value in graph.output}
        self.producers = {name: node for node in graph.node for name in node.output}
        self.readers: dict[str, list[NodeProto]] = {}
        for node in graph.node:
            for name in dict.fromkeys(node.input):
                self.readers.setdefault(name, []).append(node)
        values = (*graph.value_info, *graph.input, *graph.output)
        self.shapes: Shapes = {value.name: shape_of(value) for value in values}
        self.tensors = [*(value.name for value in graph.input), *self.producers]

    def weight_of(self, node: NodeProto) -> str | None:
        """Name of the constant weights of a layer; None where they are computed."""
        return node.input[1] if node.input[1] in self.constants else None

    def number(self, node: NodeProto, name: str, default: float) -> float:
        """A number among the attributes of a node."""
        found = next((one for one in node.attribute if one.name == name), None)
        return default if found is None else float(found.f or found.i)

    def is_feature_map(self, name: str) -> bool:
        """Whether a tensor is (1, channels, height, width)."""
        return len(self.shapes.get(name, ())) == 4

    def is_sum(self, node: NodeProto) -> bool:
        """Whether a node adds two feature maps of one shape."""
        one, other = node.input
        if one == other or not {one, other}.isdisjoint(self.constants):
            return False
        return self.is_feature_map(one) and list(self.shapes[one]) == list(self.shapes.get(other, ()))

    def reads_distribution(self, node: NodeProto) -> bool:
        """Whether a layer reads a softmax, through nodes that move values."""
        name = node.input[0]
        while (producer := self.producers.get(name)) is not None and producer.op_type in _MOVING:
            name = producer.input[0]
        return producer is not None and producer.op_type in _DISTRIBUTIONS

    def nodes_before(self, layers: Collection[str]) -> set[str]:
        """Names of the nodes whose output one of ``layers`` needs."""
        found: set[str] = set()
        pending = [name for layer in layers for name in self.nodes[layer].input]
        while pending:
            producer = self.producers.get(pending.pop())
            if producer is not None and producer.name not in found:
                found.add(producer.name)
                pending += producer.input
        return found
