"""Brings a graph to the operator set that every TensorRT from 8.6 reads.

Older graphs are converted by ``onnx.version_converter``. Newer graphs keep their nodes: an operator of a newer set is
accepted where it has no input and no attribute that opset 17 lacks, and is rewritten where opset 17 writes the same in
another way. The import compares the answers before and after.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from robot_assets.export.preflight import OPSET, name_of

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import GraphProto, ModelProto, NodeProto

    Constants = Mapping[str, NDArray[Any]]
    Rewrite = Callable[[NodeProto, GraphProto, Constants], None]

_NEUTRAL: dict[str, object] = {
    "antialias": 0,
    "keep_aspect_ratio_policy": b"stretch",
    "noop_with_empty_axes": 0,
    "saturate": 1,
    "block_size": 0,
    "output_dtype": 0,
    "precision": 0,
    "count_include_pad": 0,
    "round_mode": b"up",
}
"""Attributes of newer sets, with the value that means what opset 17 does."""


def to_opset(model: ModelProto) -> tuple[ModelProto, list[str]]:
    """Convert ``model`` to :data:`OPSET`; return it with the problems, one sentence each."""
    version = next(one.version for one in model.opset_import if one.domain in ("", "ai.onnx"))
    if version == OPSET:
        return model, []
    return _raised(model, version) if version < OPSET else _lowered(model, version)


def _raised(model: ModelProto, version: int) -> tuple[ModelProto, list[str]]:
    from onnx import version_converter

    try:
        return version_converter.convert_version(model, OPSET), []
    except (RuntimeError, ValueError, IndexError) as error:
        reason = str(error).strip().splitlines()[-1][-200:]
        return model, [f"opset {version} cannot be converted to {OPSET}: {reason}"]


def _lowered(model: ModelProto, version: int) -> tuple[ModelProto, list[str]]:
    import onnx
    from onnx import numpy_helper

    if any(not onnx.defs.has(node.op_type, OPSET, "") for node in model.graph.node):
        model = _inlined(model)
    graph = model.graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    problems = []
    for node in graph.node:
        try:
            if rewrite := _rewrite_of(node):
                rewrite(node, graph, constants)
            _drop_neutral_attributes(node)
            _refuse_newer(node, version)
        except ValueError as error:
            problems.append(f"node {name_of(node)!r}: {error}")
    for one in model.opset_import:
        if one.domain in ("", "ai.onnx"):
            one.version = OPSET
    return model, problems


def _inlined(model: ModelProto) -> ModelProto:
    """Replace operators that opset 17 lacks, and that ONNX defines by other operators, by these."""
    import onnx
    from onnx import inliner

    newer = {node.op_type for node in model.graph.node if not onnx.defs.has(node.op_type, OPSET, "")}
    names = [("", name) for name in sorted(newer)]
    try:
        return inliner.inline_selected_functions(model, names, exclude=False, inline_schema_functions=True)
    except RuntimeError:
        return model  # named, node by node, by _refuse_newer


def _refuse_newer(node: NodeProto, version: int) -> None:
    import onnx

    if not onnx.defs.has(node.op_type, OPSET, ""):
        raise ValueError(f"{node.op_type} of opset {version} is not in opset {OPSET}")
    schema = onnx.defs.get_schema(node.op_type, OPSET, "")
    if unknown := [one.name for one in node.attribute if one.name not in schema.attributes]:
        raise ValueError(f"{node.op_type} of opset {version} has {', '.join(unknown)}, which opset {OPSET} lacks")
    if len(node.input) > schema.max_input:
        raise ValueError(f"{node.op_type} of opset {version} has {len(node.input)} inputs, needed {schema.max_input}")


def _drop_neutral_attributes(node: NodeProto) -> None:
    import onnx
    from onnx import helper

    if not onnx.defs.has(node.op_type, OPSET, ""):
        return
    known = onnx.defs.get_schema(node.op_type, OPSET, "").attributes
    kept = [
        one
        for one in node.attribute
        if one.name in known or one.name not in _NEUTRAL or helper.get_attribute_value(one) != _NEUTRAL[one.name]
    ]
    dilations = [one for one in kept if one.name == "dilations" and "dilations" not in known and set(one.ints) == {1}]
    kept = [one for one in kept if one not in dilations]
    while node.input and not node.input[-1]:
        node.input.pop()
    del node.attribute[:]
    node.attribute.extend(kept)


def _rewrite_of(node: NodeProto) -> Rewrite | None:
    if node.op_type.startswith("Reduce") and node.op_type != "ReduceSum":
        return _reduction
    return {"Split": _split, "QuantizeLinear": _quantization}.get(node.op_type)


def _reduction(node: NodeProto, graph: GraphProto, constants: Constants) -> None:
    """Since opset 18 the axes are an input."""
    from onnx import helper

    if len(node.input) < 2 or not node.input[1]:
        return
    if node.input[1] not in constants:
        raise ValueError(f"the axes of {node.op_type} are not constant")
    axes = constants[node.input[1]].tolist()
    del node.input[1:]
    if axes:
        node.attribute.append(helper.make_attribute("axes", axes))


def _split(node: NodeProto, graph: GraphProto, constants: Constants) -> None:
    """Since opset 18 the number of parts is an attribute, and the last one may be smaller."""
    import onnx
    from onnx import helper, numpy_helper

    count = next((one.i for one in node.attribute if one.name == "num_outputs"), 0)
    if not count:
        return
    kept = [one for one in node.attribute if one.name != "num_outputs"]
    axis = next((one.i for one in kept if one.name == "axis"), 0)
    del node.attribute[:]
    node.attribute.extend(kept)
    shapes = onnx.shape_inference.infer_shapes(helper.make_model(graph)).graph
    known = {value.name: value for value in (*shapes.value_info, *shapes.input)}
    dimensions = known[node.input[0]].type.tensor_type.shape.dim if node.input[0] in known else ()
    size = dimensions[axis].dim_value if dimensions else 0
    if size and size % count:
        part = -(-size // count)
        sizes = numpy_helper.from_array(_parts(size, part, count), f"{node.output[0]}_sizes")
        graph.initializer.append(sizes)
        node.input.append(sizes.name)


def _parts(size: int, part: int, count: int) -> NDArray[Any]:
    import numpy as np

    return np.array([min(part, size - part * index) for index in range(count)], np.int64)


def _quantization(node: NodeProto, graph: GraphProto, constants: Constants) -> None:
    """Since opset 21 the type can be an attribute, without a zero point."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    kind = next((one.i for one in node.attribute if one.name == "output_dtype"), 0)
    if not kind or (len(node.input) > 2 and node.input[2]):
        return
    if kind != TensorProto.INT8 or node.input[1] not in constants:
        raise ValueError(f"quantized type {TensorProto.DataType.Name(kind).lower()}, needed int8")
    zero = numpy_helper.from_array(np.zeros_like(constants[node.input[1]], np.int8), f"{node.output[0]}_zero_point")
    graph.initializer.append(zero)
    kept = [one for one in node.attribute if one.name != "output_dtype"]
    del node.input[2:], node.attribute[:]
    node.input.append(zero.name)
    node.attribute.extend(helper.make_attribute(one.name, helper.get_attribute_value(one)) for one in kept)
