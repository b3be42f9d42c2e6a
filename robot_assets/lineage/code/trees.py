"""Questions about nodes of a syntax tree."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from robot_assets.lineage.code.records import Import


def chain_of(node: ast.expr) -> tuple[str, ...] | None:
    """The name and attributes of ``a.b.c``; None for anything else."""
    attributes: list[str] = []
    while isinstance(node, ast.Attribute):
        attributes.append(node.attr)
        node = node.value
    return (node.id, *reversed(attributes)) if isinstance(node, ast.Name) else None


def is_docstring(node: ast.stmt) -> bool:
    """Whether a statement is a constant: a docstring, or the ellipsis of a body without one."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def is_for_type_checkers(node: ast.stmt) -> bool:
    """Whether the body of a statement never runs: ``if TYPE_CHECKING``."""
    chain = chain_of(node.test) if isinstance(node, ast.If) else None
    return chain is not None and chain[-1] == "TYPE_CHECKING"


def imports_of(node: ast.Import | ast.ImportFrom, package: str) -> Iterator[Import]:
    """The names of an import statement in a module of ``package``."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield Import(alias.name, None, alias.asname or alias.name.partition(".")[0])
    else:
        module = absolute_name(node.module or "", node.level, package)
        for alias in node.names:
            yield Import(module, alias.name, alias.asname or alias.name)


def absolute_name(module: str, level: int, package: str) -> str:
    """The dotted name of ``module`` after ``level`` dots in a module of ``package``."""
    if not level:
        return module
    parts = package.split(".")
    return ".".join([*parts[: len(parts) - level + 1], *([module] if module else [])])


def imported_module(call: ast.Call, package: str) -> str | None:
    """The module that a call such as ``import_module("json")`` imports; None when its name is computed."""
    arguments = [*call.args, *(one.value for one in call.keywords)]
    name = arguments[0] if arguments else None
    if not isinstance(name, ast.Constant) or not isinstance(name.value, str):
        return None
    module = name.value.partition(":")[0]  # pkgutil.resolve_name takes package.module:name
    level = len(module) - len(module.lstrip("."))
    if level and not any(isinstance(one, ast.Name) and one.id == "__package__" for one in arguments):
        return None
    return absolute_name(module[level:], level, package)


def parameters(arguments: ast.arguments) -> Iterator[ast.arg]:
    """Every parameter of a function."""
    yield from (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
    yield from filter(None, (arguments.vararg, arguments.kwarg))


def signature(arguments: ast.arguments) -> str:
    """The names of parameters, by how they are passed."""
    groups = (arguments.posonlyargs, arguments.args, [arguments.vararg], arguments.kwonlyargs, [arguments.kwarg])
    return "/".join(" ".join(one.arg for one in group if one is not None) for group in groups)
