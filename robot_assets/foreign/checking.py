"""Names everything in a graph that cannot be quantized, evaluated or built, before anything is converted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from robot_assets.core.text import listed, plural
from robot_assets.export.preflight import name_of

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

OPSET_MIN = 9
CONTROL_FLOW = ("If", "Loop", "Scan", "SequenceMap")
_RANDOM = ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike")
_READ_BY_WEIGHTS = ("Conv", "ConvTranspose", "Gemm", "MatMul", "BatchNormalization")
_SHOWN_CYCLE = 6


def problems_of(model: ModelProto) -> list[str]:
    """Every problem of ``model``, one sentence each; its local functions are inlined already."""
    graph = model.graph
    found = [*_container(model), *_names(graph), *_inputs(graph), *_nodes(graph), *_numbers(graph)]
    return found or list(_cycle(graph))


def inputs_of(graph: GraphProto) -> list[ValueInfoProto]:
    """The inputs of ``graph`` that are no constants: files before IR version 4 list constants among the inputs."""
    constants = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in constants]


def shape_of(value: ValueInfoProto) -> list[int | str]:
    """The dimensions of a tensor: sizes, and names or ``?`` of those that are open."""
    dimensions = value.type.tensor_type.shape.dim
    return [one.dim_value if one.dim_value > 0 else one.dim_param or "?" for one in dimensions]


def type_of(value: ValueInfoProto) -> str:
    """The element type of a tensor, such as ``float32``."""
    from onnx import TensorProto

    name = str(TensorProto.DataType.Name(value.type.tensor_type.elem_type)).lower()
    return {"float": "float32", "double": "float64"}.get(name, name)


def _container(model: ModelProto) -> Iterator[str]:
    import onnx

    opsets = {opset.domain or "ai.onnx": opset.version for opset in model.opset_import}
    version, newest = opsets.get("ai.onnx"), onnx.defs.onnx_opset_version()
    if version is None:
        yield "no operator set of ai.onnx is declared (opset_import)"
    elif not OPSET_MIN <= version <= newest:
        yield f"opset {version}, needed {OPSET_MIN} to {newest}"


def _names(graph: GraphProto) -> Iterator[str]:
    """Tensors that are made twice, and tensors that nothing makes."""
    made = Counter(name for node in graph.node for name in node.output if name)
    constants = Counter(tensor.name for tensor in graph.initializer)
    given = {value.name for value in graph.input}
    for name, count in (made + constants).items():
        if count > 1 or (name in made and name in given):
            how = "by a node and given as an input" if count == 1 else plural(count, "time")
            yield f"tensor {name!r} is made {how}"
    known = {*made, *constants, *given, ""}
    for node in graph.node:
        for name in node.input:
            if name not in known:
                yield f"node {name_of(node)!r} reads {name!r}, which nothing makes"
    for value in graph.output:
        if value.name not in known:
            yield f"output {value.name!r} is made by no node"


def _inputs(graph: GraphProto) -> Iterator[str]:
    inputs = inputs_of(graph)
    if len(inputs) != 1:
        names = f": {listed(value.name for value in inputs)}" if inputs else ""
        yield f"{plural(len(inputs), 'input')}{names}; needed 1"
    for value in inputs[:1]:
        kind, shape = type_of(value), shape_of(value)
        if kind != "float32":
            hint = "; remove the cast and the scaling from the graph, and declare them as models.M.input"
            yield f"input {value.name!r} is {kind}, needed float32{hint if kind == 'uint8' else ''}"
        if len(shape) != 4 or 3 not in (shape[1], shape[3]):
            yield f"input {value.name!r} has the shape {shown(shape)}, needed (1, 3, height, width)"
        elif isinstance(shape[0], int) and shape[0] != 1:
            yield f"input {value.name!r} has the shape {shown(shape)}: a batch of {shape[0]}, needed 1 or an open batch"


def shown(shape: Iterable[int | str]) -> str:
    """A shape as text."""
    return f"({', '.join(map(str, shape))})"


def _nodes(graph: GraphProto) -> Iterator[str]:
    for node in graph.node:
        if node.domain not in ("", "ai.onnx"):
            yield f"node {name_of(node)!r}: operator {node.op_type} of the domain {node.domain!r}, which is not ONNX"
        elif node.op_type in _RANDOM:
            yield f"node {name_of(node)!r}: {node.op_type} gives random numbers"
        elif not _is_known(node):
            yield f"node {name_of(node)!r}: {node.op_type} is no operator of ONNX{_hint(node)}"
        elif any(one.name == "training_mode" and one.i for one in node.attribute):
            yield f"node {name_of(node)!r}: {node.op_type} is in training mode; export the network after model.eval()"


def _is_known(node: NodeProto) -> bool:
    import onnx

    return bool(onnx.defs.has(node.op_type))


def _hint(node: NodeProto) -> str:
    is_plugin = node.op_type.endswith(("_TRT", "_DYNAMIC"))
    return ", but a plug-in of TensorRT, which nothing else can run: export the network without it" if is_plugin else ""


def _numbers(graph: GraphProto) -> Iterator[str]:
    """Constants with NaN; weights with infinite values; types that nothing here computes with."""
    from onnx import TensorProto

    weights = {name for node in graph.node if node.op_type in _READ_BY_WEIGHTS for name in node.input[1:]}
    refused = {TensorProto.FLOAT16: "float16", TensorProto.BFLOAT16: "bfloat16", TensorProto.DOUBLE: "float64"}
    for tensor in graph.initializer:
        if (name := refused.get(tensor.data_type)) and tensor.name in weights:
            yield f"weights {tensor.name!r} are {name}, needed float32; engines of lower precision are made from those"
        elif tensor.data_type == TensorProto.FLOAT:
            yield from _values(tensor, is_weight=tensor.name in weights)


def _values(tensor: TensorProto, *, is_weight: bool) -> Iterator[str]:
    import numpy as np
    from onnx import numpy_helper

    try:
        values = numpy_helper.to_array(tensor)
    except ValueError as error:
        yield f"tensor {tensor.name!r} does not have the values of its shape {tuple(tensor.dims)} ({error})"
        return
    if count := int(np.isnan(values).sum()):
        yield f"tensor {tensor.name!r} {tuple(tensor.dims)} has {plural(count, 'NaN value')}"
    elif is_weight and (count := int(np.isinf(values).sum())):
        yield f"weights {tensor.name!r} {tuple(tensor.dims)} have {plural(count, 'infinite value')}"


def _cycle(graph: GraphProto) -> Iterator[str]:
    """The nodes of a cycle, if there is one."""
    _, rest = sorted_nodes(graph)
    if rest:
        names = listed((repr(name_of(node)) for node in rest), _SHOWN_CYCLE)
        yield f"the graph has a cycle, among the nodes {names}"


def sorted_nodes(graph: GraphProto) -> tuple[list[NodeProto], list[NodeProto]]:
    """The nodes, each after what it reads, and those on or after a cycle. An order that is one already is kept."""
    ready = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer} | {""}
    waiting, done = list(graph.node), []
    while waiting:
        left = []
        for node in waiting:
            if ready.issuperset(read_by(node)):
                done.append(node)
                ready.update(node.output)
            else:
                left.append(node)
        if len(left) == len(waiting):
            break
        waiting = left
    return done, waiting if len(done) < len(graph.node) else []


def read_by(node: NodeProto) -> set[str]:
    """Names of the tensors that ``node`` reads, also inside its inner graphs."""
    names = set(node.input)
    for attribute in node.attribute:
        for inner in (attribute.g, *attribute.graphs):
            made = {name for one in inner.node for name in one.output}
            made |= {tensor.name for tensor in inner.initializer} | {value.name for value in inner.input}
            names |= {name for one in inner.node for name in read_by(one)} - made
            names |= {value.name for value in inner.output} - made
    return names
