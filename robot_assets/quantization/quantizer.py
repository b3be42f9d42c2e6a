"""A torchao quantizer with the Q/DQ placement that TensorRT recommends, for any network.

Needs torch; import it late. Quantized are

- the input of every convolution, transposed convolution and linear layer, per tensor, and its weight, per output
  channel;
- both inputs of every residual or pyramid addition of feature maps, also when they are outputs of linear convolutions,
  and of every gate: a multiplication of a feature map with a value for each channel or each pixel;
- the input of average pooling and of bilinear resizing before such a layer;
- the input of what moves values without computing with them (nearest resizing, max pooling, concatenation, reshaping,
  transposing, slicing, splitting, shuffling) before such a layer; its output has the same scale;
- no output of the graph: the heads stay in float.

Everything else stays in float, and :attr:`SymmetricQuantizer.in_float` names what that costs speed.

Source: TensorRT developer guide, "Working with quantized types", explicit quantization.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch.fx import GraphModule, Node
from torchao.quantization.pt2e.quantizer import (
    QuantizationAnnotation,
    QuantizationSpec,
    QuantizationSpecBase,
    Quantizer,
    SharedQuantizationSpec,
)
from torchao.quantization.pt2e.quantizer.quantizer import Q_ANNOTATION_KEY

from robot_assets.quantization.fake_quantize import (
    ActivationQuantizer,
    TransposedWeightPerChannelQuantizer,
    WeightPerChannelQuantizer,
)
from robot_assets.quantization.folding import ALONE
from robot_assets.quantization.naming import layer_name, matching, refuse_unmatched

_aten = torch.ops.aten
_WEIGHTED = (_aten.conv2d.default, _aten.conv2d.padding, _aten.convolution.default, _aten.linear.default)
_TRANSPOSED = (_aten.conv_transpose2d.input,)
_ADDITIONS = (_aten.add.Tensor, _aten.add_.Tensor)
_PRODUCTS = (_aten.mul.Tensor, _aten.mul_.Tensor)
_AVERAGING = (
    _aten.adaptive_avg_pool2d.default,
    _aten.avg_pool2d.default,
    _aten.mean.dim,
    _aten.upsample_bilinear2d.default,
    _aten.upsample_bilinear2d.vec,
)
_MOVING = (
    _aten.channel_shuffle.default,
    _aten.clone.default,
    _aten.contiguous.default,
    _aten.flatten.using_ints,
    _aten.max_pool2d.default,
    _aten.permute.default,
    _aten.pixel_shuffle.default,
    _aten.pixel_unshuffle.default,
    _aten.reshape.default,
    _aten.slice.Tensor,
    _aten.squeeze.dim,
    _aten.transpose.int,
    _aten.unflatten.int,
    _aten.unsqueeze.default,
    _aten.upsample_nearest2d.default,
    _aten.upsample_nearest2d.vec,
    _aten.view.default,
)
_CONCATENATIONS = (_aten.cat.default,)
_SELECTIONS = (operator.getitem, _aten.select.int, _aten.expand.default, _aten.squeeze.default)
_SPLITS = (_aten.chunk.default, _aten.split.Tensor, _aten.split.sizes, _aten.split_with_sizes.default)

_FUSED = frozenset(
    {
        "celu",
        "clamp",
        "elu",
        "gelu",
        "hardsigmoid",
        "hardswish",
        "hardtanh",
        "leaky_relu",
        "mish",
        "prelu",
        "relu",
        "relu6",
        "selu",
        "sigmoid",
        "silu",
        "softplus",
        "tanh",
    }
)
"""Activations: runtimes fuse them with the layer before, whose output they read in float."""

_BECAUSE = {
    "scaled_dot_product_attention": "attention: products of two activations stay in float",
    "matmul": "a product of two activations",
    "bmm": "a product of two activations",
    "softmax": "exponentials need the range of float",
    "layer_norm": "a normalization by statistics of its input",
    "group_norm": "a normalization by statistics of its input",
    "instance_norm": "a normalization by statistics of its input",
    "conv1d": "TensorRT has int8 for convolutions of two dimensions",
    "conv3d": "quantized here are convolutions of two dimensions",
}
_NO_LAYER_AFTER = "no quantized layer reads it"

_ACTIVATION = QuantizationSpec(
    dtype=torch.int8,
    observer_or_fake_quant_ctr=ActivationQuantizer,
    quant_min=ActivationQuantizer.quant_min,
    quant_max=ActivationQuantizer.quant_max,
    qscheme=torch.per_tensor_symmetric,
)


def _weight(quantizer: type[WeightPerChannelQuantizer]) -> QuantizationSpec:
    return QuantizationSpec(
        dtype=torch.int8,
        observer_or_fake_quant_ctr=quantizer,
        quant_min=quantizer.quant_min,
        quant_max=quantizer.quant_max,
        qscheme=torch.per_channel_symmetric,
        ch_axis=quantizer.ch_axis,
    )


_WEIGHT, _TRANSPOSED_WEIGHT = _weight(WeightPerChannelQuantizer), _weight(TransposedWeightPerChannelQuantizer)


@dataclass(frozen=True)
class FloatOperator:
    """An operator that stays in float.

    Attributes:
        name: Of the module, or of the operator in it.
        operator: Such as ``conv2d``.
        reason: Why.
    """

    name: str
    operator: str
    reason: str


class SymmetricQuantizer(Quantizer):  # type: ignore[misc, unused-ignore]
    """Int8, zero point 0, per-tensor activations, per-channel weights.

    Args:
        float_layers: Patterns of module paths that stay in float.

    Attributes:
        layers: Names of the quantized layers, in execution order.
        in_float: Operators that stay in float, in execution order; without activations, which are fused.
    """

    def __init__(self, float_layers: Sequence[str] = ()) -> None:
        super().__init__()
        self._float_layers = tuple(float_layers)
        self.layers: tuple[str, ...] = ()
        self.in_float: tuple[FloatOperator, ...] = ()

    def annotate(self, model: GraphModule) -> GraphModule:
        """Annotate the quantized edges of ``model``, an exported ATen graph, and return it.

        Raises:
            QuantizationError: A pattern matches no layer that would be quantized.
        """
        nodes = [node for node in model.graph.nodes if node.op == "call_function"]
        ruled = {node: annotation for node in nodes if (annotation := _layer(node)) is not None}
        refuse_unmatched(self._float_layers, ruled)
        chosen = {node for node in ruled if not matching(node, self._float_layers)}
        before, computed = _before(nodes, chosen), _computed(model)
        for node in nodes:
            annotation = ruled[node] if node in chosen else _before_layer(node) if node in before else None
            if annotation is not None:
                node.meta[Q_ANNOTATION_KEY] = annotation
        self.layers = tuple(dict.fromkeys(layer_name(node) for node in nodes if node in chosen))
        left = (node for node in nodes if node in computed and node not in before and _is_worth(node, chosen))
        self.in_float = tuple(dict.fromkeys(self._float_operator(node) for node in left))
        return model

    def validate(self, model: GraphModule) -> None:
        """Do nothing: the placement is fixed, and the exported ONNX graph is checked node by node."""

    def _float_operator(self, node: Node) -> FloatOperator:
        patterns = matching(node, self._float_layers) if _layer(node) is not None else []
        reason = f"float_layers has {patterns[0]}" if patterns else _reason(node)
        return FloatOperator(layer_name(node), _operator(node), reason)


def _layer(node: Node) -> QuantizationAnnotation | None:
    """The annotation of a node that computes with quantized inputs; None for any other."""
    for targets, rule in _LAYERS:
        if node.target in targets:
            return rule(node)
    return None


def _weighted(node: Node) -> QuantizationAnnotation | None:
    return _with_weight(node, _WEIGHT)


def _transposed(node: Node) -> QuantizationAnnotation | None:
    groups = node.args[6] if len(node.args) > 6 else 1
    return _with_weight(node, _TRANSPOSED_WEIGHT) if groups == 1 else None


def _with_weight(node: Node, weight: QuantizationSpec) -> QuantizationAnnotation | None:
    source, parameter = node.args[:2]
    if not (_is_float(source) and isinstance(parameter, Node) and parameter.op == "get_attr"):
        return None
    if not isinstance(source, Node) or source.op == "get_attr" or _is_transposed(node):
        return None
    return QuantizationAnnotation(input_qspec_map={source: _ACTIVATION, parameter: weight}, _annotated=True)


def _is_transposed(node: Node) -> bool:
    return node.target is _aten.convolution.default and bool(node.args[6])


def _addition(node: Node) -> QuantizationAnnotation | None:
    return _elementwise(node) if not node.kwargs else None  # alpha multiplies one operand


def _gate(node: Node) -> QuantizationAnnotation | None:
    """A product of two feature maps of one shape is an activation, such as ``x * sigmoid(x)``, and no gate."""
    maps = [operand for operand in node.args[:2] if isinstance(operand, Node) and _is_feature_map(operand)]
    shapes = {str(operand.meta["val"].shape) for operand in maps}  # as text: the size of a batch is a symbol
    return _elementwise(node) if len(shapes) == 2 else None


def _elementwise(node: Node) -> QuantizationAnnotation | None:
    operands = [argument for argument in node.args[:2] if isinstance(argument, Node)]
    if len(operands) < 2 or not all(_is_feature_map(operand) for operand in operands):
        return None
    return QuantizationAnnotation(input_qspec_map=dict.fromkeys(operands, _ACTIVATION), _annotated=True)


_LAYERS: tuple[tuple[tuple[object, ...], Callable[[Node], QuantizationAnnotation | None]], ...] = (
    (_WEIGHTED, _weighted),
    (_TRANSPOSED, _transposed),
    (_ADDITIONS, _addition),
    (_PRODUCTS, _gate),
)


def _before(nodes: Sequence[Node], layers: set[Node]) -> set[Node]:
    """Operators that move or average values, all before a quantized layer: directly, or through each other."""
    found: set[Node] = set()
    for node in reversed(nodes):
        if not (node.target in (*_MOVING, *_CONCATENATIONS, *_AVERAGING, *_SPLITS) or _is_part(node)):
            continue
        if any(user in layers or user in found for user in node.users) and not _feeds_output(node):
            found.add(node)
    return found


def _computed(model: GraphModule) -> set[Node]:
    """Nodes that depend on the input, and not on parameters alone."""
    found: set[Node] = set()
    for node in model.graph.nodes:
        if node.op == "placeholder" or any(source in found for source in node.all_input_nodes):
            found.add(node)
    return found


def _before_layer(node: Node) -> QuantizationAnnotation | None:
    """The annotation of an operator before a quantized layer."""
    if node.target in _CONCATENATIONS:
        return _concatenation(node)
    source = node.args[0]
    if not isinstance(source, Node):
        return None
    if _is_part(node):
        whole = source.args[0]
        shared = SharedQuantizationSpec((whole, source)) if _is_float(whole) else None
        return QuantizationAnnotation(output_qspec=shared, _annotated=True) if shared else None
    if not _is_float(source) or source.op == "get_attr":
        return None
    is_computed = node.target in (*_AVERAGING, *_SPLITS)
    shared = None if is_computed else SharedQuantizationSpec((source, node))
    return QuantizationAnnotation(input_qspec_map={source: _ACTIVATION}, output_qspec=shared, _annotated=True)


def _concatenation(node: Node) -> QuantizationAnnotation | None:
    parts = node.args[0]
    if not isinstance(parts, list | tuple) or not _is_float(node):
        return None
    nodes = [part for part in parts if isinstance(part, Node)]
    if not nodes or any(part.op == "get_attr" for part in nodes):
        return None
    shared = SharedQuantizationSpec((nodes[0], node))
    specs: dict[Node, QuantizationSpecBase | None] = dict.fromkeys(nodes, shared)
    specs[nodes[0]] = _ACTIVATION
    return QuantizationAnnotation(input_qspec_map=specs, output_qspec=shared, _annotated=True)


def _is_part(node: Node) -> bool:
    """Whether a node takes one of the parts of a split."""
    source = node.args[0] if node.target is operator.getitem else None
    return isinstance(source, Node) and source.target in _SPLITS


def _is_float(node: object) -> bool:
    value = node.meta.get("val") if isinstance(node, Node) else None
    return isinstance(value, torch.Tensor) and value.is_floating_point()


def _is_feature_map(node: object) -> bool:
    return isinstance(node, Node) and node.op != "get_attr" and _is_float(node) and node.meta["val"].dim() == 4


def _feeds_output(node: Node) -> bool:
    return any(user.op == "output" for user in node.users)


def _operator(node: Node) -> str:
    """The name of an operator without its overload, and without the underscore of one that works in place."""
    if ALONE in node.meta:
        return "batch_norm"
    packet = getattr(node.target, "_opname", getattr(node.target, "__name__", str(node.target)))
    return str(packet).rstrip("_")


def _is_worth(node: Node, layers: set[Node]) -> bool:
    """Whether it is worth a line that a node stays in float: it computes with activations, and is not fused."""
    if node in layers or not _is_float(node) or _operator(node) in _FUSED:
        return False
    return node.target not in (*_MOVING, *_CONCATENATIONS, *_SPLITS, *_SELECTIONS)


def _reason(node: Node) -> str:
    if ALONE in node.meta:
        return "no layer before it that it alone reads, so it cannot be folded"
    if node.target in _AVERAGING:
        return _NO_LAYER_AFTER
    if node.target in _TRANSPOSED:
        return "a transposed convolution in groups"
    if node.target in (*_WEIGHTED, *_TRANSPOSED):
        return "its weights are computed in the graph, or its input is a constant"
    if node.target in (*_ADDITIONS, *_PRODUCTS):
        return _reason_of_elementwise(node)
    return _BECAUSE.get(_operator(node), "no rule for this operator")


def _reason_of_elementwise(node: Node) -> str:
    constants = [one for one in node.args[:2] if not (isinstance(one, Node) and one.op != "get_attr")]
    if constants:
        return "one operand is a constant"
    return "no addition of two feature maps" if node.target in _ADDITIONS else "no gate of a feature map"
