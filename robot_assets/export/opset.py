"""Rewrites a graph of opset 18, which torch exports, in the operators of opset 17. Needs onnx, not torch.

TensorRT 8.6 reads opset 17. The conversion of torch itself fails for every reduction, leaves new attributes at others,
and loses which module a node is of.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from robot_assets.core.errors import ExportError
from robot_assets.core.text import escaped, listed

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto, NodeProto

    Constants = dict[str, NDArray[Any]]

EXPORTED = 18
"""The opset that torch exports natively."""
_TO = 17
_FEATURE_MAP = 4
"""Axes of a feature map: images, channels, rows, columns."""
_SCOPES = "pkg.torch.onnx.name_scopes"
_REDUCTIONS = (
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSumSquare",
)
_ADDED_ATTRIBUTES = {
    **dict.fromkeys(_REDUCTIONS, ("noop_with_empty_axes",)),
    "Resize": ("antialias", "axes", "keep_aspect_ratio_policy"),
    "Split": ("num_outputs",),
}
"""Attributes that opset 18 added, by operator."""


def lower_opset(model: ModelProto) -> None:
    """Rewrite ``model`` in opset 17, in place; a graph of another opset than 18 is left to the preflight.

    Raises:
        ExportError: A node has no equivalent in opset 17; with its name.
    """
    opset = next((one for one in model.opset_import if one.domain in ("", "ai.onnx")), None)
    if opset is None or opset.version != EXPORTED:
        return
    constants = _constants(model)
    nodes = [new for node in model.graph.node for new in _lowered(node, constants)]
    maps = {one.name for one in model.graph.value_info if len(one.type.tensor_type.shape.dim) == _FEATURE_MAP}
    for node in nodes:
        if node.op_type == "ReduceMean" and node.input[0] in maps:
            _as_pooling(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    _remove_unread(model)
    opset.version = _TO


def modules_of(model: ModelProto) -> dict[str, str]:
    """Path of the module of each node of a graph as torch exports it, by the name of the node; such as ``stem.0``."""
    found = {}
    for node in model.graph.node:
        scopes = next((one.value for one in node.metadata_props if one.key == _SCOPES), "[]")
        path = [str(scope) for scope in ast.literal_eval(scopes)][-2:-1]
        found[node.name or node.output[0]] = path[0] if path else ""
    return found


def _lowered(node: NodeProto, constants: Constants) -> Iterable[NodeProto]:
    if node.op_type == "Mish":
        return _mish(node)
    if node.op_type == "Pad" and len(node.input) > 3 and node.input[3]:
        raise _refused(node, "axes")
    if rule := _RULES.get(node.op_type):
        rule(node, constants)
    return [node]


def _reduction(node: NodeProto, constants: Constants) -> None:
    from onnx import helper

    name = node.input[1] if len(node.input) > 1 else ""
    if name and name not in constants:
        raise _refused(node, "axes that are computed in the graph")
    _drop_attributes(node)
    del node.input[1:]
    if name:
        node.attribute.append(helper.make_attribute("axes", [int(axis) for axis in constants[name].reshape(-1)]))


def _as_pooling(node: NodeProto) -> None:
    """A mean over rows and columns as pooling: runtimes have int8 for pooling, and none for reductions."""
    from onnx import helper

    found = {one.name: helper.get_attribute_value(one) for one in node.attribute}
    if found.get("keepdims", 1) and {axis % _FEATURE_MAP for axis in found.get("axes", ())} == {2, 3}:
        node.op_type = "GlobalAveragePool"
        del node.attribute[:]


def _resize(node: NodeProto, constants: Constants) -> None:
    for attribute in node.attribute:
        is_default = attribute.name == "keep_aspect_ratio_policy" and attribute.s == b"stretch"
        if (attribute.name == "antialias" and not attribute.i) or is_default:
            continue
        if attribute.name in _ADDED_ATTRIBUTES["Resize"]:
            raise _refused(node, attribute.name)
    _drop_attributes(node)


def _split(node: NodeProto, constants: Constants) -> None:
    _drop_attributes(node)


_RULES: dict[str, Callable[[NodeProto, Constants], None]] = {
    **dict.fromkeys(_REDUCTIONS, _reduction),
    "Resize": _resize,
    "Split": _split,
}


def _mish(node: NodeProto) -> list[NodeProto]:
    """``x * tanh(softplus(x))``."""
    from onnx import helper

    source, result = node.input[0], node.output[0]
    names = (f"{result}_softplus", f"{result}_tanh")
    return [
        helper.make_node("Softplus", [source], [names[0]], name=names[0]),
        helper.make_node("Tanh", [names[0]], [names[1]], name=names[1]),
        helper.make_node("Mul", [source, names[1]], [result], name=node.name),
    ]


def _drop_attributes(node: NodeProto) -> None:
    kept = [one for one in node.attribute if one.name not in _ADDED_ATTRIBUTES[node.op_type]]
    del node.attribute[:]
    node.attribute.extend(kept)


def _constants(model: ModelProto) -> Constants:
    """Small constants by name: of initializers and of Constant nodes."""
    from onnx import numpy_helper

    found = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer if len(one.dims) <= 1}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
            found[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    return found


def _remove_unread(model: ModelProto) -> None:
    """Remove constants that no node reads any more, such as axes."""
    graph = model.graph
    read = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    kept = [one for one in graph.initializer if one.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _refused(node: NodeProto, what: str) -> ExportError:
    return ExportError(
        f"node {node.name or node.output[0]!r}: {node.op_type} with {what} needs opset {EXPORTED}",
        needed=f"operators of opset {_TO}, which every TensorRT from 8.6 reads",
        fix="replace the operation in the network",
    )


def not_convertible(error: Exception) -> ExportError:
    """The error for a graph with an operator that the exporter of torch cannot convert."""
    causes = [error, *filter(None, (error.__cause__, error.__context__))]
    operators = dict.fromkeys(name for one in causes for name in re.findall(r"OpOverload\(op='([^']+)'", str(one)))
    lines = [line.strip() for one in reversed(causes) for line in str(one).splitlines() if line.strip()]
    found = f"no equivalent of {listed(operators)}" if operators else (lines or [type(error).__name__])[0][:300]
    return ExportError(
        f"the network cannot be exported to ONNX: {escaped(found)}",
        needed="operators that torch exports to ONNX",
        fix="replace the operation in the network",
        details={"operators": list(operators)},
    )
