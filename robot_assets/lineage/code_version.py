"""The code version of a stage, computed from what its code is and never typed by hand.

A digest over the syntax trees of the stage's module and of every ``robot_assets`` module that it imports,
directly or through others, plus the slice of parameters that the stage reads. Comments, docstrings,
formatting and type-only imports do not count; neither does any module that the stage cannot reach.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT_PACKAGE = "robot_assets"


def code_version(module: str, params: Mapping[str, Any]) -> str:
    """The version of what ``module`` does with ``params``.

    Args:
        module: Dotted name of the stage's module inside ``robot_assets``.
        params: The slice of ``params.yaml`` that the stage reads, JSON-serializable.

    Returns:
        32 hexadecimal digits.
    """
    parts = {
        "modules": {name: _syntax_digest(name) for name in import_closure(module)},
        "params": params,
    }
    return hashlib.md5(_canonical(parts), usedforsecurity=False).hexdigest()


def import_closure(module: str) -> tuple[str, ...]:
    """``module`` and every module of ``robot_assets`` that it imports at any depth, sorted.

    Imports inside functions count (most of ours are, so that nothing heavy loads early); imports under
    ``if TYPE_CHECKING`` do not, since no code runs because of them.
    """
    return _closure(module)


@cache
def _closure(module: str) -> tuple[str, ...]:
    seen: set[str] = set()
    pending = [module]
    while pending:
        name = pending.pop()
        if name not in seen:
            seen.add(name)
            pending += _imports(name)
    return tuple(sorted(seen))


@cache
def _source(module: str) -> tuple[Path, ast.Module]:
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"no module {module}", name=module)
    path = Path(spec.origin)
    return path, ast.parse(path.read_bytes(), str(path))


@cache
def _imports(module: str) -> tuple[str, ...]:
    """The ``robot_assets`` modules that ``module`` names in an import, and the packages above it."""
    path, tree = _source(module)
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    found = set(_packages_above(module))
    for node in _running_nodes(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, package)
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        else:
            continue
        found.update(name for name in names if _is_ours(name))
    return tuple(sorted(found - {module}))


def _packages_above(module: str) -> Iterator[str]:
    """Importing a.b.c runs a and a.b first."""
    parts = module.split(".")
    for length in range(1, len(parts)):
        yield ".".join(parts[:length])


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    above = package.split(".")[: len(package.split(".")) - node.level + 1]
    return ".".join([*above, *([node.module] if node.module else [])])


@cache
def _is_ours(name: str) -> bool:
    """Whether ``name`` is a module of ours; ``from a.b import c`` may name a function of a.b instead."""
    if name != ROOT_PACKAGE and not name.startswith(f"{ROOT_PACKAGE}."):
        return False
    root = find_spec(ROOT_PACKAGE)
    if root is None or root.origin is None:
        return False
    place = Path(root.origin).parent.joinpath(*name.split(".")[1:])
    return place.with_suffix(".py").is_file() or (place / "__init__.py").is_file()


def _running_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those that only a type checker sees."""
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        yield node
        children: list[ast.AST] = list(ast.iter_child_nodes(node))
        if isinstance(node, ast.If) and "TYPE_CHECKING" in {
            getattr(node.test, "id", None),
            getattr(node.test, "attr", None),
        }:
            children = list(node.orelse)
        pending += children


@cache
def _syntax_digest(module: str) -> str:
    return syntax_digest(_source(module)[1])


def syntax_digest(tree: ast.Module) -> str:
    """md5 of a syntax tree without positions and docstrings, equal on every Python that parses it.

    ``ast.dump`` will not do: Python versions differ in which empty fields they print.
    """
    digest = hashlib.md5(usedforsecurity=False)
    pieces: list[str] = []
    _write(tree, pieces.append)
    digest.update("".join(pieces).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


_SKIPPED_FIELDS = frozenset({"ctx", "kind", "type_comment", "type_ignores", "type_params"})


def _write(node: Any, put: Any) -> None:
    if isinstance(node, ast.AST):
        put(type(node).__name__)
        put("(")
        for name in node._fields:
            value = getattr(node, name, None)
            if name in _SKIPPED_FIELDS or (_is_empty(value) and not isinstance(node, ast.Constant)):
                continue
            if name == "body" and isinstance(value, list):
                value = _without_docstring(value)
            put(name)
            put("=")
            _write(value, put)
        put(")")
    elif isinstance(node, list):
        put("[")
        for item in node:
            _write(item, put)
            put(",")
        put("]")
    else:
        put(repr(node))


def _without_docstring(body: list[Any]) -> list[Any]:
    first = body[0] if body else None
    is_docstring = (
        isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    )
    return body[1:] if is_docstring else body


def _is_empty(value: Any) -> bool:
    return value is None or value == []


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
