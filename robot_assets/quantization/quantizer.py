"""A torchao quantizer with the Q/DQ placement that TensorRT recommends.

Needs torch; import it late. Nothing between two convolutions stays float. Quantized are

- the input of every convolution, per tensor, and its weight, per output channel;
- both inputs of every residual or pyramid addition, also when they are outputs of linear convolutions;
- the input of resizing, pooling and concatenation; their output shares its scale, since they do not compute values;
- no output of the graph: the heads stay float.

Source: TensorRT developer guide, "Working with quantized types", explicit quantization.
"""

from __future__ import annotations

from collections.abc import Callable

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

from robot_assets.quantization.fake_quantize import ActivationQuantizer, WeightPerChannelQuantizer

_aten = torch.ops.aten
_CONVOLUTIONS = (_aten.conv2d.default, _aten.conv2d.padding, _aten.convolution.default)
_ADDITIONS = (_aten.add.Tensor, _aten.add_.Tensor)
_VALUE_PRESERVING = (
    _aten.upsample_nearest2d.vec,
    _aten.upsample_nearest2d.default,
    _aten.max_pool2d.default,
)
_CONCATENATIONS = (_aten.cat.default,)

_ACTIVATION = QuantizationSpec(
    dtype=torch.int8,
    observer_or_fake_quant_ctr=ActivationQuantizer,
    quant_min=ActivationQuantizer.quant_min,
    quant_max=ActivationQuantizer.quant_max,
    qscheme=torch.per_tensor_symmetric,
)
_WEIGHT = QuantizationSpec(
    dtype=torch.int8,
    observer_or_fake_quant_ctr=WeightPerChannelQuantizer,
    quant_min=WeightPerChannelQuantizer.quant_min,
    quant_max=WeightPerChannelQuantizer.quant_max,
    qscheme=torch.per_channel_symmetric,
    ch_axis=0,
)


class SymmetricQuantizer(Quantizer):  # type: ignore[misc, unused-ignore]
    """Int8, zero point 0, per-tensor activations, per-channel weights on axis 0."""

    def annotate(self, model: GraphModule) -> GraphModule:
        """Annotate the quantized edges of ``model``, an exported ATen graph, and return it."""
        rules: dict[object, Callable[[Node], QuantizationAnnotation | None]] = {
            **dict.fromkeys(_CONVOLUTIONS, _convolution),
            **dict.fromkeys(_ADDITIONS, _addition),
            **dict.fromkeys(_VALUE_PRESERVING, _value_preserving),
            **dict.fromkeys(_CONCATENATIONS, _concatenation),
        }
        for node in model.graph.nodes:
            rule = rules.get(node.target) if node.op == "call_function" else None
            annotation = rule(node) if rule else None
            if annotation is not None:
                node.meta[Q_ANNOTATION_KEY] = annotation
        return model

    def validate(self, model: GraphModule) -> None:
        """Do nothing: the placement is fixed, and the exported ONNX graph is checked node by node."""


def _convolution(node: Node) -> QuantizationAnnotation:
    return QuantizationAnnotation(
        input_qspec_map={_argument(node, 0): _ACTIVATION, _argument(node, 1): _WEIGHT}, _annotated=True
    )


def _addition(node: Node) -> QuantizationAnnotation | None:
    operands = [argument for argument in node.args[:2] if isinstance(argument, Node)]
    if len(operands) < 2 or not all(_is_feature_map(operand) for operand in operands):
        return None
    return QuantizationAnnotation(input_qspec_map=dict.fromkeys(operands, _ACTIVATION), _annotated=True)


def _value_preserving(node: Node) -> QuantizationAnnotation | None:
    source = _argument(node, 0)
    if _feeds_output(node):
        return None
    shared = SharedQuantizationSpec((source, node))
    return QuantizationAnnotation(input_qspec_map={source: _ACTIVATION}, output_qspec=shared, _annotated=True)


def _concatenation(node: Node) -> QuantizationAnnotation | None:
    parts = node.args[0]
    if not isinstance(parts, list | tuple) or _feeds_output(node):
        return None
    nodes = [part for part in parts if isinstance(part, Node)]
    if not nodes:
        return None
    shared = SharedQuantizationSpec((nodes[0], node))
    specs: dict[Node, QuantizationSpecBase | None] = dict.fromkeys(nodes, shared)
    specs[nodes[0]] = _ACTIVATION
    return QuantizationAnnotation(input_qspec_map=specs, output_qspec=shared, _annotated=True)


def _argument(node: Node, index: int) -> Node:
    argument = node.args[index]
    if not isinstance(argument, Node):
        raise TypeError(f"{node.name}: argument {index} is {argument!r}, not a tensor of the graph")
    return argument


def _is_feature_map(node: Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, torch.Tensor) and value.dim() == 4 and value.is_floating_point()


def _feeds_output(node: Node) -> bool:
    return any(user.op == "output" for user in node.users)
