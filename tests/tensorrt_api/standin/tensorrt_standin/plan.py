"""A plan: the graph, its settings, its fused layers, and their tactics."""

import hashlib
import json
import zlib
from dataclasses import asdict, dataclass, field
from typing import Any

import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

_MAGIC = b"PLAN OF THE TENSORRT STAND-IN\n"
_TACTICS = tuple(f"0x{number:016x}" for number in range(0x10, 0x20))


@dataclass
class Plan:
    """Content of a plan.

    Attributes:
        version: Of TensorRT.
        compute_capability: Of the GPU that it was built on.
        flags: Names of the builder flags.
        typing: weak or strong.
        workspace: Bytes.
        optimization_level: As configured.
        verbosity: As configured.
        dla_core: None for the GPU.
        profile: Minimum, optimal and maximum shape of the images; None for a static shape.
        ranges: Tensor -> maximum magnitude, for implicit quantization.
        layers: As reported by the inspector.
        stripped: Names of the weights that are left out.
        model: The graph.
    """

    version: str
    compute_capability: str
    flags: list[str]
    typing: str
    workspace: int
    optimization_level: int
    verbosity: str
    dla_core: int | None
    profile: list[list[int]] | None
    ranges: dict[str, float]
    layers: list[dict[str, Any]]
    stripped: list[str] = field(default_factory=list)
    model: ModelProto = field(default_factory=ModelProto)

    def serialize(self) -> bytes:
        """The same bytes for the same content."""
        facts = {key: value for key, value in asdict(self).items() if key != "model"}
        header = json.dumps(facts, sort_keys=True).encode()
        graph = zlib.compress(self.model.SerializeToString(deterministic=True), 6)
        return _MAGIC + len(header).to_bytes(8, "little") + header + graph


def read_plan(content: bytes) -> Plan | None:
    """The plan in ``content``; None when it is not a plan."""
    if not content.startswith(_MAGIC):
        return None
    start = len(_MAGIC) + 8
    length = int.from_bytes(content[len(_MAGIC) : start], "little")
    try:
        header = json.loads(content[start : start + length])
        model = onnx.load_from_string(zlib.decompress(content[start + length :]))
    except (ValueError, zlib.error, TypeError):
        return None
    return Plan(**header, model=model)


def fused(model: ModelProto, half: bool, on_dla: set[str]) -> list[dict[str, Any]]:
    """Layers roughly as TensorRT fuses them: convolution with ReLU, without Q/DQ; all layers of the DLA are one."""
    makers = {name: node for node in model.graph.node for name in node.output}
    readers: dict[str, list[NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    layers, merged, dla = [], set(), []
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") or node.name in merged:
            continue
        if node.name in on_dla:
            dla.append(node.name)
            continue
        after = readers.get(node.output[0], [])
        name = node.name
        if node.op_type in ("Conv", "Add") and len(after) == 1 and after[0].op_type == "Relu":
            merged.add(after[0].name)
            name = f"{name} + {after[0].name}"
        source = makers.get(node.input[0])
        is_int8 = source is not None and source.op_type == "DequantizeLinear"
        layers.append(_layer(name, node.op_type, "Int8" if is_int8 else "FP16" if half else "FP32", node))
    if dla:
        layers.append(
            {"Name": f"{{ForeignNode[{dla[0]}...{dla[-1]}]}}", "LayerType": "DLA", "Inputs": [], "Outputs": []}
        )
    return layers


_PARAMETER_TYPES = {"Conv": "Convolution", "Add": "ElementWise", "Resize": "Resize", "Concat": "Concatenation"}


def _layer(name: str, operator: str, datatype: str, node: NodeProto) -> dict[str, Any]:
    text = "Thirty-two wide channel vectorized row major Int8 format" if datatype == "Int8" else f"linear {datatype}"
    return {
        "Name": name,
        "LayerType": "CaskConvolution" if operator == "Conv" else operator,
        "ParameterType": _PARAMETER_TYPES.get(operator, operator),
        "Inputs": [{"Name": node.input[0], "Format/Datatype": text}],
        "Outputs": [{"Name": node.output[0], "Format/Datatype": "Row major linear FP32"}],
    }


def tactic_key(layer: dict[str, Any], model: ModelProto) -> str:
    """A key that is equal for layers that share a measurement."""
    shapes = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    text = json.dumps([layer["LayerType"], layer.get("Inputs"), sorted(map(str, shapes.values()))])
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def tactics() -> tuple[str, ...]:
    """All tactics of a layer."""
    return _TACTICS


def strip(model: ModelProto) -> list[str]:
    """Remove the weights of a graph in place, except for tensors of at most 8 values."""
    names = []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.size > 8:
            tensor.CopyFrom(numpy_helper.from_array(values * 0, tensor.name))
            names.append(tensor.name)
    return names


def refill(model: ModelProto, weights: ModelProto, names: list[str]) -> list[str]:
    """Restore weights in place; return those that ``weights`` lacks or has in another shape."""
    found = {tensor.name: tensor for tensor in weights.graph.initializer}
    missing = []
    for tensor in model.graph.initializer:
        if tensor.name not in names:
            continue
        given = found.get(tensor.name)
        if given is None or given.dims != tensor.dims or given.data_type != tensor.data_type:
            missing.append(tensor.name)
        else:
            tensor.CopyFrom(given)
    return missing


def with_ranges(model: ModelProto, ranges: dict[str, float]) -> ModelProto:
    """Implicit quantization: round each tensor with a range to 127 steps, as int8 does."""
    if not ranges:
        return model
    graph = model.graph
    made: list[NodeProto] = []
    renamed: dict[str, str] = {}
    zero = "implicit_zero_point"
    graph.initializer.append(helper.make_tensor(zero, TensorProto.INT8, [], [0]))
    pending = {name: value for name, value in ranges.items() if name in {one.name for one in graph.input}}

    def round_off(name: str, greatest: float) -> None:
        graph.initializer.append(helper.make_tensor(f"{name}_step", TensorProto.FLOAT, [], [greatest / 127]))
        made.append(helper.make_node("QuantizeLinear", [name, f"{name}_step", zero], [f"{name}_int8"]))
        made.append(helper.make_node("DequantizeLinear", [f"{name}_int8", f"{name}_step", zero], [f"{name}_rounded"]))
        renamed[name] = f"{name}_rounded"

    for name, value in pending.items():
        round_off(name, value)
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        made.append(node)
        for name in node.output:
            if name in ranges:
                round_off(name, ranges[name])
    made = [type(node).FromString(node.SerializeToString()) for node in made]
    del graph.node[:]
    graph.node.extend(made)
    return model
