"""Folds batch norms of an exported graph into the layers before them. Needs torch; import it late.

torchao folds once per *use* of a convolution, which would fold a head that two pyramid levels share twice. Here a
(layer, batch norm) pair is folded once, and a layer with different batch norms gets one set of weights for each of
them. A batch norm that follows no such layer becomes a multiplication and an addition for each channel, in float.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.fx import GraphModule, Node

from robot_assets.core.errors import QuantizationError
from robot_assets.quantization.naming import module_path

_aten = torch.ops.aten
_CONVOLUTIONS = (_aten.conv1d.default, _aten.conv2d.default, _aten.conv2d.padding, _aten.conv3d.default)
_TRANSPOSED = (_aten.conv_transpose2d.input,)
_LINEAR = (_aten.linear.default,)
_BATCH_NORMS = (_aten.batch_norm.default, _aten._native_batch_norm_legit_no_training.default)

ALONE = "robot_assets.batch_norm_alone"
"""Key of ``meta`` of the operators that a batch norm became which follows no layer."""

_Folded = dict[tuple[str, str], tuple[str, str]]


def fold_batch_norms(model: GraphModule) -> None:
    """Fold every batch norm of ``model``, in inference form, into the layer before it, in place.

    Raises:
        QuantizationError: A batch norm has no running statistics.
    """
    folded: _Folded = {}
    for node in list(model.graph.nodes):
        if node.op == "call_function" and node.target in _BATCH_NORMS:
            _refuse_batch_statistics(node)
            if _is_foldable(node):
                _fold(model, node, folded)
            else:
                _as_scale_and_shift(model, node, folded)
    model.graph.eliminate_dead_code()
    model.recompile()


def _refuse_batch_statistics(norm: Node) -> None:
    if _is_attribute(norm.args[3]) and _is_attribute(norm.args[4]) and not _trains(norm):
        return
    raise QuantizationError(
        f"batch norm {module_path(norm) or norm.name} normalizes by the statistics of each batch",
        needed="batch norms with running statistics, which evaluation and engines use",
        fix="build it with track_running_stats=True, and let eval() of the network reach it",
    )


def _trains(norm: Node) -> bool:
    return norm.target is _aten.batch_norm.default and bool(norm.args[5])


def _is_foldable(norm: Node) -> bool:
    """Whether the layer before a batch norm has weights of its own, and no other reader."""
    layer = norm.args[0]
    if not isinstance(layer, Node) or len(layer.users) > 1 or not _is_attribute(_argument(layer, 1)):
        return False
    if layer.target in _LINEAR:
        value = layer.meta.get("val")
        return isinstance(value, torch.Tensor) and value.dim() == 2
    return layer.target in (*_CONVOLUTIONS, *_TRANSPOSED)


def _fold(model: GraphModule, norm: Node, folded: _Folded) -> None:
    layer = norm.args[0]
    if not isinstance(layer, Node):
        raise TypeError(f"{norm.name} has no layer before it")
    pair = (_attribute(layer.args[1]), _attribute(norm.args[3]))
    if pair not in folded:
        is_shared = any(key[0] == pair[0] for key in folded)
        folded[pair] = _add_folded(model, layer, norm, is_shared=is_shared)
    weight, bias = _read(model, layer, folded[pair])
    layer.args = (layer.args[0], weight, bias, *layer.args[3:])
    norm.replace_all_uses_with(layer)
    model.graph.erase_node(norm)


def _as_scale_and_shift(model: GraphModule, norm: Node, folded: _Folded) -> None:
    """Replace a batch norm by a multiplication and an addition for each channel."""
    key = (ALONE, _attribute(norm.args[3]))
    if key not in folded:
        gain, shift = _gain_and_shift(model, norm)
        shape = (1, -1, *[1] * (norm.meta["val"].dim() - 2))
        names = _names(_attribute(norm.args[3]), "folded")
        folded[key] = _register(model, names, gain.reshape(shape), shift.reshape(shape))
    weight, bias = _read(model, norm, folded[key])
    result: object = norm.args[0]
    for target, factor in ((_aten.mul.Tensor, weight), (_aten.add.Tensor, bias)):
        with model.graph.inserting_before(norm):
            result = model.graph.call_function(target, (result, factor))  # type: ignore[arg-type]
        result.meta.update({name: norm.meta[name] for name in ("val", "nn_module_stack") if name in norm.meta})
        result.meta[ALONE] = True
    norm.replace_all_uses_with(result)  # type: ignore[arg-type]
    model.graph.erase_node(norm)


def _read(model: GraphModule, before: Node, names: tuple[str, str]) -> tuple[Node, Node]:
    """Nodes that read two parameters."""
    with model.graph.inserting_before(before):
        weight, bias = (model.graph.get_attr(name) for name in names)
    for attribute, name in zip((weight, bias), names, strict=True):
        attribute.meta["val"] = before.meta["val"].new_empty(model.get_parameter(name).shape)
    return weight, bias


def _add_folded(model: GraphModule, layer: Node, norm: Node, *, is_shared: bool) -> tuple[str, str]:
    """Add the folded weight and bias to the module of the layer; return their names.

    Args:
        model: The graph.
        layer: The layer.
        norm: The batch norm.
        is_shared: Whether the layer is already folded with another batch norm; the names then have its name.
    """
    weight = _tensor(model, layer.args[1])
    bias = _tensor(model, layer.args[2]) if len(layer.args) > 2 and layer.args[2] else None
    gain, shift = _gain_and_shift(model, norm)
    with torch.no_grad():
        new_bias = shift + (0 if bias is None else bias * gain)
    suffix = "folded" if not is_shared else "folded_" + _attribute(norm.args[3]).rpartition(".")[0].replace(".", "_")
    return _register(model, _names(_attribute(layer.args[1]), suffix), _scaled(layer, weight, gain), new_bias)


def _scaled(layer: Node, weight: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
    """The weight with each output channel multiplied by its gain."""
    with torch.no_grad():
        if layer.target not in _TRANSPOSED:
            return weight * gain.reshape(-1, *[1] * (weight.dim() - 1))
        groups = int(layer.args[6]) if len(layer.args) > 6 else 1  # type: ignore[arg-type]
        # (I, O / groups, rows, columns): the channels of a group are those of its part of axis 0.
        parts = weight.reshape(groups, -1, *weight.shape[1:]) * gain.reshape(groups, 1, -1, 1, 1)
        return parts.reshape(weight.shape)


def _gain_and_shift(model: GraphModule, norm: Node) -> tuple[torch.Tensor, torch.Tensor]:
    """What a batch norm multiplies each channel by, and what it adds; float (C,)."""
    mean, variance = (_tensor(model, argument) for argument in norm.args[3:5])
    epsilon = next(value for value in reversed(norm.args) if isinstance(value, float))
    with torch.no_grad():
        gain = torch.rsqrt(variance + epsilon)
        if norm.args[1] is not None:
            gain = _tensor(model, norm.args[1]) * gain
        shift = torch.zeros_like(mean) if norm.args[2] is None else _tensor(model, norm.args[2])
        return gain, shift - mean * gain


def _names(attribute: str, suffix: str) -> tuple[str, str]:
    owner = attribute.rpartition(".")[0]
    names = (f"weight_{suffix}", f"bias_{suffix}")
    return (f"{owner}.{names[0]}", f"{owner}.{names[1]}") if owner else names


def _register(model: GraphModule, names: tuple[str, str], weight: torch.Tensor, bias: torch.Tensor) -> tuple[str, str]:
    module = model.get_submodule(names[0].rpartition(".")[0])
    for name, value in zip(names, (weight, bias), strict=True):
        module.register_parameter(name.rpartition(".")[2], nn.Parameter(value.contiguous()))
    return names


def _argument(node: Node, index: int) -> object:
    return node.args[index] if len(node.args) > index else None


def _is_attribute(argument: object) -> bool:
    return isinstance(argument, Node) and argument.op == "get_attr"


def _attribute(argument: object) -> str:
    if not isinstance(argument, Node) or argument.op != "get_attr":
        raise QuantizationError(
            f"{argument!r} in place of a weight",
            needed="batch norms whose weights are parameters",
            fix="build the batch norm as a module of the network",
        )
    return str(argument.target)


def _tensor(model: GraphModule, argument: object) -> torch.Tensor:
    owner, _, leaf = _attribute(argument).rpartition(".")
    value = getattr(model.get_submodule(owner), leaf)
    if not isinstance(value, torch.Tensor):
        raise TypeError(f"{argument} is not a tensor")
    return value.detach()
