"""Converts a graph that was made elsewhere to the form of our own exports.

The result has one input, float32 (1, 3, height, width), fixed shapes, opset 17, IR 8 and no inner graphs. A float
graph is simplified by ONNX Runtime: constants folded, batch norms folded into convolutions, Identity and Dropout
removed. The quantization of a Q/DQ graph is left as it is; only its constants become initializers. Every change is
listed, and the import compares the answers of the graph before and after.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from robot_assets.core.errors import RobotAssetsError
from robot_assets.core.text import listed, plural
from robot_assets.export.preflight import IR_VERSION, OPSET, name_of
from robot_assets.foreign.checking import CONTROL_FLOW, inputs_of, problems_of, shape_of, shown, sorted_nodes
from robot_assets.foreign.constants import bypass, constants_to_initializers, quantize_constants, remove_unread
from robot_assets.foreign.errors import added, refused, without_these
from robot_assets.foreign.opset import to_opset
from robot_assets.foreign.simplification import run_once, simplified

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto

    Shape = tuple[int, int, int, int]

_NEEDED = "a network with one image as its input, in operators of ONNX, with finite weights"


@dataclass(frozen=True)
class Converted:
    """A graph in the form of our own exports.

    Attributes:
        model: The graph.
        changes: What was changed, one sentence each.
        is_quantized: Whether it has Q/DQ nodes.
        is_nhwc: Whether the original takes (1, height, width, 3).
        shape: Of the input, (1, 3, height, width).
    """

    model: ModelProto
    changes: tuple[str, ...]
    is_quantized: bool
    is_nhwc: bool
    shape: Shape


def convert(given: ModelProto, origin: str, height: int | None = None, width: int | None = None) -> Converted:
    """Convert ``given``, which stays as it is.

    Args:
        given: A graph with its tensors inside.
        origin: Its file, named in errors.
        height: Of the input in pixels, for a graph that leaves it open.
        width: The same.

    Raises:
        ExportError: Lists everything that cannot be converted, each with its node, tensor or input.
    """
    try:
        return _converted(given, origin, height, width)
    except RobotAssetsError:
        raise
    except Exception as error:  # onnx, protobuf and NumPy have many classes for values that no exporter writes
        reason = (str(error).strip().splitlines() or [""])[0][:200]
        found = f"the graph is damaged, or no valid ONNX: {type(error).__name__}: {reason}"
        raise refused(origin, [found], needed=_NEEDED, fix=without_these(origin)) from error


def _converted(given: ModelProto, origin: str, height: int | None, width: int | None) -> Converted:
    model, changes = _copied(given), list[str]()
    model = _inlined(model, origin, changes)
    _refuse(origin, problems_of(model))
    _sort(model.graph, changes)
    is_nhwc, shape = _fix_shape(model.graph, origin, height, width, changes)
    model = _at_opset(model, origin, changes)
    if is_nhwc:
        _transpose_input(model.graph, shape, changes)
    is_quantized = any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in model.graph.node)
    if is_quantized:
        _tidy_quantized(model.graph, changes)
    else:
        model = simplified(model, origin, changes)
    _normalize(model)
    model = _with_shapes(model, origin)
    _refuse(origin, _left_over(model))
    run_once(model, origin, shape)
    return Converted(model, tuple(changes), is_quantized, is_nhwc, shape)


def _copied(given: ModelProto) -> ModelProto:
    import onnx

    model = onnx.ModelProto()
    model.CopyFrom(given)
    return model


def _refuse(origin: str, problems: list[str]) -> None:
    if problems:
        raise refused(origin, problems, needed=_NEEDED, fix=without_these(origin))


def _inlined(model: ModelProto, origin: str, changes: list[str]) -> ModelProto:
    """Replace calls of local functions by their nodes."""
    from onnx import inliner

    if not model.functions:
        return model
    names = [function.name for function in model.functions]
    try:
        inlined = inliner.inline_local_functions(model)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1][-200:]
        raise refused(
            origin, [f"local functions cannot be inlined: {reason}"], needed=_NEEDED, fix=without_these(origin)
        ) from None
    changes.append(f"{plural(len(names), 'local function')} inlined: {listed(names)}")
    domains = {node.domain or "ai.onnx" for node in inlined.graph.node} | {"ai.onnx"}
    kept = [one for one in inlined.opset_import if (one.domain or "ai.onnx") in domains]
    del inlined.opset_import[:]
    inlined.opset_import.extend(kept)
    return inlined


def _sort(graph: GraphProto, changes: list[str]) -> None:
    nodes, _ = sorted_nodes(graph)
    if nodes != list(graph.node):
        del graph.node[:]
        graph.node.extend(nodes)
        changes.append("nodes put in the order of execution")


def _fix_shape(
    graph: GraphProto, origin: str, height: int | None, width: int | None, changes: list[str]
) -> tuple[bool, Shape]:
    """Give the input of ``graph`` a fixed shape. Returns whether it is NHWC, and the shape as (1, 3, height, width)."""
    (value,) = inputs_of(graph)
    found = shape_of(value)
    is_nhwc = found[1] != 3
    rows, columns = found[1:3] if is_nhwc else found[2:4]
    sizes = [_size(rows, height), _size(columns, width)]
    _refuse_size(origin, f"input {value.name!r} has the shape {shown(found)}", (rows, columns), (height, width))
    fixed = [1, *sizes, 3] if is_nhwc else [1, 3, *sizes]
    if fixed != found:
        changes.append(f"input {value.name!r} {shown(found)} fixed to {shown(fixed)}")
    _set_shape(graph, value.name, fixed)
    return is_nhwc, (1, 3, sizes[0], sizes[1])


def _size(found: int | str, given: int | None) -> int:
    return found if isinstance(found, int) else given or 0


def _refuse_size(
    origin: str, shape: str, found: tuple[int | str, int | str], given: tuple[int | None, int | None]
) -> None:
    """Refuse a size that is open, and one that params.yaml contradicts."""
    names = ("input_height", "input_width")
    pairs = list(zip(names, found, given, strict=True))
    problems = [
        f"{name} is {needed}, and {shape}"
        for name, size, needed in pairs
        if isinstance(size, int) and needed not in (None, size)
    ]
    if any(not isinstance(size, int) and needed is None for _, size, needed in pairs):
        problems.append(f"{shape}, which leaves its size open")
    if problems:
        fix = (
            "write input_height and input_width of models.M.source in params.yaml; `robot-assets model inspect` has "
            "--height and --width"
        )
        raise refused(origin, problems, needed="one fixed size of the input", fix=fix)


def _set_shape(graph: GraphProto, name: str, shape: list[int]) -> None:
    """Set the shape of the input; shapes that were inferred with another one are dropped."""
    from onnx import TensorProto, helper

    constants = {tensor.name for tensor in graph.initializer}
    kept = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)]
    del graph.input[:], graph.value_info[:]
    graph.input.extend(kept if name not in constants else [])
    for value in graph.output:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.ClearField("shape")


def _at_opset(model: ModelProto, origin: str, changes: list[str]) -> ModelProto:
    version = next(one.version for one in model.opset_import if one.domain in ("", "ai.onnx"))
    constants_to_initializers(model.graph)
    converted, problems = to_opset(model)
    if problems:
        fix = f"export the network again with opset_version={OPSET}, then: {added(origin)}"
        raise refused(origin, problems, needed=f"opset {OPSET}, or what can be converted to it", fix=fix)
    if version != OPSET:
        changes.append(f"opset {version} converted to {OPSET}")
    constants_to_initializers(converted.graph)
    return converted


def _transpose_input(graph: GraphProto, shape: Shape, changes: list[str]) -> None:
    from onnx import helper

    value = graph.input[0]
    given = value.name
    transposed = f"{given}_nhwc"
    for node in graph.node:
        for position, name in enumerate(node.input):
            if name == given:
                node.input[position] = transposed
    nodes = list(graph.node)
    del graph.node[:]
    first = helper.make_node("Transpose", [given], [transposed], perm=[0, 2, 3, 1], name=f"{given}_to_nhwc")
    graph.node.extend([first, *nodes])
    _set_shape(graph, given, list(shape))
    changes.append(f"input {given!r} is NHWC: a Transpose from NCHW was added before it")


def _tidy_quantized(graph: GraphProto, changes: list[str]) -> None:
    """Store weights in int8: exporters of fake quantization leave them in float, with a QuantizeLinear after each."""
    bypass(graph, ("Identity", "Dropout"), changes)
    count = quantize_constants(graph)
    if count:
        changes.append(f"{plural(count, 'float weight')} stored in int8, as the QuantizeLinear after each gives it")
    remove_unread(graph)


def _normalize(model: ModelProto) -> None:
    """Remove what depends on the exporter and on the machine, and give every node a name of its own."""
    graph = model.graph
    domains = {node.domain or "ai.onnx" for node in graph.node}
    kept = [one for one in model.opset_import if (one.domain or "ai.onnx") in domains]
    del model.opset_import[:], model.metadata_props[:], graph.metadata_props[:], graph.value_info[:], model.functions[:]
    model.opset_import.extend(kept)
    for one in model.opset_import:
        one.domain = "" if one.domain == "ai.onnx" else one.domain
    model.ir_version = IR_VERSION
    model.producer_name, model.producer_version, model.doc_string, model.domain = "robot-assets", "", "", ""
    model.model_version = 0
    graph.doc_string, graph.name = "", "network"
    for item in (*graph.node, *graph.input, *graph.output, *graph.initializer):
        item.doc_string = ""
        del item.metadata_props[:]
    _name_nodes(graph)


def _name_nodes(graph: GraphProto) -> None:
    taken: set[str] = set()
    for node in graph.node:
        name = node.name or f"{node.op_type}_{node.output[0]}"
        while name in taken:
            name += "_again"
        node.name = name
        taken.add(name)


def _with_shapes(model: ModelProto, origin: str) -> ModelProto:
    """The graph with the inferred shapes of its outputs."""
    import onnx

    try:
        return onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    except onnx.shape_inference.InferenceError as error:
        reason = str(error).strip().splitlines()[-1][-300:]
        raise refused(origin, [f"the shapes do not fit: {reason}"], needed=_NEEDED, fix=without_these(origin)) from None


def _left_over(model: ModelProto) -> list[str]:
    """What conversion did not remove: control flow, outputs of open shape."""
    problems = [
        f"node {name_of(node)!r}: {node.op_type} decides at run time; export the network without control flow"
        for node in model.graph.node
        if node.op_type in CONTROL_FLOW
    ]
    for value in model.graph.output:
        shape = shape_of(value)
        if not problems and not (shape and all(isinstance(size, int) for size in shape)):
            problems.append(
                f"output {value.name!r} has the shape {shown(shape)}, which depends on the image; needed a fixed "
                "number of rows"
            )
    return problems
