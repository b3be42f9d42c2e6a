"""Rewrites constants and nodes without effect, in place and without changing an answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from robot_assets.core.text import plural

if TYPE_CHECKING:
    from onnx import GraphProto


def constants_to_initializers(graph: GraphProto) -> None:
    """Store the tensors of Constant nodes as initializers."""
    from onnx import helper, numpy_helper

    kept = []
    for node in graph.node:
        tensor = _constant(node) if node.op_type == "Constant" else None
        if tensor is None:
            kept.append(node)
        else:
            graph.initializer.append(numpy_helper.from_array(tensor, node.output[0]))
    outputs = {value.name for value in graph.output}
    if any(tensor.name in outputs for tensor in graph.initializer):
        names = {tensor.name: f"{tensor.name}_constant" for tensor in graph.initializer if tensor.name in outputs}
        for tensor in graph.initializer:
            tensor.name = names.get(tensor.name, tensor.name)
        kept += [helper.make_node("Identity", [made], [name]) for name, made in names.items()]
    del graph.node[:]
    graph.node.extend(kept)


def _constant(node: Any) -> Any:
    """The value of a Constant node; None where its attribute is no number."""
    import numpy as np
    from onnx import numpy_helper

    (attribute,) = node.attribute
    readers: dict[str, Callable[[Any], Any]] = {
        "value": lambda one: numpy_helper.to_array(one.t),
        "value_float": lambda one: np.float32(one.f).reshape(()),
        "value_int": lambda one: np.int64(one.i).reshape(()),
        "value_floats": lambda one: np.array(one.floats, np.float32),
        "value_ints": lambda one: np.array(one.ints, np.int64),
    }
    return readers[attribute.name](attribute) if attribute.name in readers else None


def quantize_constants(graph: GraphProto) -> int:
    """Replace each QuantizeLinear of constants by its int8 values; return their number."""
    import numpy as np
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in graph.initializer}
    kept, count = [], 0
    for node in graph.node:
        if node.op_type != "QuantizeLinear" or len(node.input) < 3 or any(one not in constants for one in node.input):
            kept.append(node)
            continue
        values, scale, zero = (numpy_helper.to_array(constants[name]) for name in node.input)
        if zero.dtype != np.int8 or not (scale > 0).all():
            kept.append(node)
            continue
        axis = next((one.i for one in node.attribute if one.name == "axis"), 1)
        if scale.size > 1 and scale.size != dict(enumerate(values.shape)).get(axis):
            kept.append(node)
            continue
        shape = [-1 if place == axis % values.ndim else 1 for place in range(values.ndim)] if scale.size > 1 else []
        with np.errstate(over="ignore"):  # a scale that is too small saturates
            rounded = np.rint(values / scale.reshape(shape)) + zero.reshape(shape if zero.size > 1 else [])
        stored = np.clip(rounded, -128, 127).astype(np.int8)
        graph.initializer.append(numpy_helper.from_array(stored, node.output[0]))
        count += 1
    del graph.node[:]
    graph.node.extend(kept)
    return count


def bypass(graph: GraphProto, operators: tuple[str, ...], changes: list[str]) -> None:
    """Remove nodes that give their first input unchanged; one that makes an output of the graph stays."""
    outputs = {value.name for value in graph.output}
    source: dict[str, str] = {}
    kept = []
    for node in graph.node:
        for position, name in enumerate(node.input):
            node.input[position] = source.get(name, name)
        if node.op_type in operators and outputs.isdisjoint(node.output):
            source[node.output[0]] = node.input[0]
        else:
            kept.append(node)
    if source:
        changes.append(f"{plural(len(source), 'node')} removed: {' and '.join(operators)}")
    del graph.node[:]
    graph.node.extend(kept)


def remove_unread(graph: GraphProto) -> None:
    """Remove nodes and constants that no output needs."""
    read = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if not read.isdisjoint(node.output):
            kept.append(node)
            read.update(node.input)
    constants = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(kept[::-1])
    graph.initializer.extend(constants)
