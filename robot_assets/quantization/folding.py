"""Folds batch norms into the convolutions of an exported graph. Needs torch; import it late.

torchao folds once per *use* of a convolution, which would fold a head that two pyramid levels share twice. Here a
(convolution, batch norm) pair is folded once, and a convolution with different batch norms gets one set of weights
for each of them.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.fx import GraphModule, Node

from robot_assets.core.errors import QuantizationError

_aten = torch.ops.aten
_CONVOLUTIONS = (_aten.conv2d.default, _aten.conv2d.padding)
_BATCH_NORMS = (_aten.batch_norm.default, _aten._native_batch_norm_legit_no_training.default)


def fold_batch_norms(model: GraphModule) -> None:
    """Fold every batch norm of ``model``, in inference form, into the convolution before it, in place.

    Raises:
        QuantizationError: A batch norm does not directly follow a convolution, or is not its only reader.
    """
    folded: dict[tuple[str, str], tuple[str, str]] = {}
    for node in list(model.graph.nodes):
        if node.op == "call_function" and node.target in _BATCH_NORMS:
            _fold(model, node, folded)
    model.graph.eliminate_dead_code()
    model.recompile()


def _fold(model: GraphModule, norm: Node, folded: dict[tuple[str, str], tuple[str, str]]) -> None:
    convolution = norm.args[0]
    if not isinstance(convolution, Node) or convolution.target not in _CONVOLUTIONS or len(convolution.users) > 1:
        raise QuantizationError(
            f"batch norm {norm.name} does not directly follow a convolution as its only reader",
            needed="a convolution before every batch norm, read by it alone",
            fix="change the network in robot_assets/tasks/detection/network.py",
        )
    weight_name, norm_name = _attribute(convolution.args[1]), _attribute(norm.args[1])
    pair = (weight_name, norm_name)
    if pair not in folded:
        is_shared = any(key[0] == weight_name for key in folded)
        folded[pair] = _add_folded(model, convolution, norm, is_shared=is_shared)
    with model.graph.inserting_before(convolution):
        weight, bias = (model.graph.get_attr(name) for name in folded[pair])
    for attribute, name in zip((weight, bias), folded[pair], strict=True):
        attribute.meta["val"] = convolution.meta["val"].new_empty(model.get_parameter(name).shape)
    rest = convolution.args[3:]
    convolution.args = (convolution.args[0], weight, bias, *rest)
    norm.replace_all_uses_with(convolution)
    model.graph.erase_node(norm)


def _add_folded(model: GraphModule, convolution: Node, norm: Node, *, is_shared: bool) -> tuple[str, str]:
    """Add the folded weight and bias to the module of the convolution; return their names.

    Args:
        model: The graph.
        convolution: The convolution.
        norm: The batch norm.
        is_shared: Whether the convolution is already folded with another batch norm; the names then have its name.
    """
    weight = _tensor(model, convolution.args[1])
    bias = _tensor(model, convolution.args[2]) if len(convolution.args) > 2 and convolution.args[2] else None
    scale, shift, mean, variance = (_tensor(model, argument) for argument in norm.args[1:5])
    epsilon = next(value for value in reversed(norm.args) if isinstance(value, float))
    with torch.no_grad():
        gain = scale * torch.rsqrt(variance + epsilon)
        new_weight = weight * gain.reshape(-1, *[1] * (weight.dim() - 1))
        new_bias = shift - mean * gain + (0 if bias is None else bias * gain)
    owner = _attribute(convolution.args[1]).rpartition(".")[0]
    suffix = "folded" if not is_shared else "folded_" + _attribute(norm.args[1]).rpartition(".")[0].replace(".", "_")
    names = (f"{owner}.weight_{suffix}", f"{owner}.bias_{suffix}")
    module = model.get_submodule(owner)
    for name, value in zip(names, (new_weight, new_bias), strict=True):
        module.register_parameter(name.rpartition(".")[2], nn.Parameter(value.contiguous()))
    return names


def _attribute(argument: object) -> str:
    if not isinstance(argument, Node) or argument.op != "get_attr":
        raise QuantizationError(
            f"{argument!r} in place of a weight",
            needed="convolutions and batch norms whose weights are parameters",
            fix="change the network in robot_assets/tasks/detection/network.py",
        )
    return str(argument.target)


def _tensor(model: GraphModule, argument: object) -> torch.Tensor:
    owner, _, leaf = _attribute(argument).rpartition(".")
    value = getattr(model.get_submodule(owner), leaf)
    if not isinstance(value, torch.Tensor):
        raise TypeError(f"{argument} is not a tensor")
    return value.detach()
