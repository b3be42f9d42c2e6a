"""Names of the operators of an exported graph, by the modules that they come from, and patterns for them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from robot_assets.core.errors import QuantizationError
from robot_assets.core.text import listed, near_misses

if TYPE_CHECKING:
    from torch.fx import Node


def module_path(node: Node) -> str:
    """Path of the module of an operator, such as ``stage4.1.first.0``; empty for the network itself.

    It is the module with the weights, where the operator has some, else the one that called it.
    """
    if owner := _owner_of_weight(node):
        return owner
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path = str(stack[-1][0]) if stack else ""
    # torch adds @1 to the second call of a module, and has a name of its own for operators that it adds.
    return "" if path.startswith("_") and "." not in path and "hook" in path else re.sub(r"@\d+", "", path)


def _owner_of_weight(node: Node) -> str:
    weight = node.args[1] if len(node.args) > 1 else None
    is_read = getattr(weight, "op", "") == "get_attr"
    return str(getattr(weight, "target", "")).rpartition(".")[0] if is_read else ""


def layer_name(node: Node) -> str:
    """A name for an operator: the path of its module, with the operator where the module is no single operator."""
    path = module_path(node)
    if path and any(argument.op == "get_attr" for argument in node.all_input_nodes):
        return path
    return f"{path}.{node.name}" if path else str(node.name)


def names_of(node: Node) -> Iterator[str]:
    """What a pattern may match for an operator: its name, its module, and every module around it."""
    yield layer_name(node)
    parts = module_path(node).split(".")
    for count in range(1, len(parts) + 1):
        if name := ".".join(parts[:count]):
            yield name


def matching(node: Node, patterns: Iterable[str]) -> list[str]:
    """The patterns that match an operator."""
    names = list(names_of(node))
    return [pattern for pattern in patterns if any(fnmatchcase(name, pattern) for name in names)]


def refuse_unmatched(patterns: Sequence[str], nodes: Iterable[Node]) -> None:
    """Refuse patterns of ``quantization.float_layers`` that match none of ``nodes``, the operators with a rule.

    Raises:
        QuantizationError: With the near misses of each.
    """
    names = dict.fromkeys(name for node in nodes for name in names_of(node))
    unmatched = [one for one in patterns if not any(fnmatchcase(name, one) for name in names)]
    if not unmatched:
        return
    near = [miss for one in unmatched for miss in near_misses(one, names)]
    raise QuantizationError(
        f"quantization.float_layers: {listed(map(repr, unmatched))} {'matches' if len(unmatched) == 1 else 'match'} no "
        "layer that would be quantized" + (f"; did you mean {listed(map(repr, dict.fromkeys(near)))}?" if near else ""),
        needed=f"patterns of paths such as {listed(names, 6)}",
        fix="correct quantization.float_layers of the model in params.yaml",
    )
