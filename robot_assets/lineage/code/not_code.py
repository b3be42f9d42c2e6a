"""What in a source file is not code: prose, and annotations and decorators without an effect at run time."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping

from robot_assets.lineage.code.trees import chain_of

CHOSEN_BY_PARAMS = "robot_assets.core.dispatch.chosen_by_params"

_FIELD = frozenset({"title", "description", "examples"})
_OPTION = frozenset({"help", "metavar", "rich_help_panel", "epilog", "short_help"})
PROSE_ARGUMENTS: Mapping[str, frozenset[str]] = {
    "pydantic.Field": _FIELD,
    "pydantic.fields.Field": _FIELD,
    "typer.Argument": _OPTION,
    "typer.Option": _OPTION,
    "typer.Typer": _OPTION,
}
"""Keyword arguments that are prose, by the function that takes them."""

READ_ANNOTATIONS = frozenset(
    {
        "pydantic.computed_field",
        "pydantic.field_serializer",
        "pydantic.model_serializer",
        "pydantic.validate_call",
    }
)
"""Decorators that change nothing but what they decorate, and read its annotations."""

IGNORE_ANNOTATIONS = frozenset(
    {
        "abc.abstractmethod",
        "classmethod",
        "contextlib.asynccontextmanager",
        "contextlib.contextmanager",
        "dataclasses.dataclass",
        "enum.unique",
        "functools.cache",
        "functools.cached_property",
        "functools.lru_cache",
        "functools.singledispatch",
        "functools.singledispatchmethod",
        "functools.total_ordering",
        "functools.wraps",
        "property",
        "pydantic.dataclasses.dataclass",
        "pydantic.field_validator",
        "pydantic.model_validator",
        "staticmethod",
        "torch.enable_grad",
        "torch.inference_mode",
        "torch.no_grad",
        "typing.final",
        "typing.no_type_check",
        "typing.overload",
        "typing.override",
        "typing.runtime_checkable",
        "typing_extensions.final",
        "typing_extensions.overload",
        "typing_extensions.override",
        "typing_extensions.runtime_checkable",
        CHOSEN_BY_PARAMS,
    }
)
"""Decorators that change nothing but what they decorate, and do not look at the annotations of a function."""

_ACCESSORS = frozenset({"getter", "setter", "deleter"})


def decorator_name(node: ast.expr, absolute: Callable[[tuple[str, ...]], str]) -> str:
    """The dotted name of a decorator, called or not; empty when it has none."""
    chain = chain_of(node.func if isinstance(node, ast.Call) else node)
    if chain is None:
        return ""
    is_accessor = len(chain) == 2 and chain[1] in _ACCESSORS  # @size.setter
    return "property" if is_accessor else absolute(chain)


def may_be_error(callee: tuple[str, ...]) -> bool:
    """Whether a callee is named like a class, and may be one of our error classes."""
    return callee[-1].lstrip("_")[:1].isupper()


def is_prose(node: ast.expr) -> bool:
    """Whether an expression makes a text out of literals: a string, an f-string, or an operation on one."""
    match node:
        case ast.JoinedStr():
            return True
        case ast.Constant():
            return isinstance(node.value, str)
        case ast.BinOp(op=ast.Add() | ast.Mod()):
            return is_prose(node.left) or is_prose(node.right)
        case ast.IfExp():
            return is_prose(node.body) or is_prose(node.orelse)
        case ast.BoolOp():
            return any(is_prose(value) for value in node.values)
        case ast.Call(func=ast.Attribute(value=text, attr="join" | "format")):
            return is_prose(text)
    return False
