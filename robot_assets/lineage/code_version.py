"""The code version of a stage, computed from what its code is and never typed by hand.

A digest over the syntax trees of the stage's module and of every ``robot_assets`` module that it imports,
directly or through others, plus the slice of parameters that the stage reads. Comments, docstrings,
formatting and type-only imports do not count; neither does any module that the stage cannot reach.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from robot_assets.lineage.errors import LineageError

ROOT_PACKAGE = "robot_assets"
_ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class _Source:
    """What one file says: the digest of its syntax tree, and every dotted name that an import in it may mean."""

    digest: str
    imports: frozenset[str]


@dataclass
class Code:
    """The code of this system as the files were at one look; ask a new one to look again.

    A file is read when it is first asked for and kept for the life of the object, so that all versions that one
    object gives are of one moment. Parsed files are shared between objects for as long as they do not change.
    """

    _sources: dict[str, _Source | None] = field(default_factory=dict, repr=False)
    _closures: dict[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    _digests: dict[str, str] = field(default_factory=dict, repr=False)

    def version(self, module: str, params: Mapping[str, Any]) -> str:
        """The version of what ``module`` does with ``params``.

        Args:
            module: Dotted name of the stage's module inside ``robot_assets``.
            params: The slice of ``params.yaml`` that the stage reads, JSON-serializable.

        Returns:
            32 hexadecimal digits.
        """
        if module not in self._digests:
            self._digests[module] = _md5(_canonical(self.modules(module)))
        return _md5(_canonical([self._digests[module], params]))

    def modules(self, module: str) -> dict[str, str]:
        """Digest of every module that makes up the code of ``module``, by name, sorted."""
        return {name: self._source(name).digest for name in self.closure(module)}

    def closure(self, module: str) -> tuple[str, ...]:
        """``module`` and every module of ``robot_assets`` that it imports at any depth, sorted.

        Imports inside functions count (most of ours are, so that nothing heavy loads early); imports under
        ``if TYPE_CHECKING`` do not, since no code runs because of them.
        """
        if module not in self._closures:
            seen: set[str] = set()
            pending = [module]
            while pending:
                name = pending.pop()
                if name not in seen:
                    seen.add(name)
                    pending += _packages_above(name)
                    pending += (other for other in self._source(name).imports if self._find(other))
            self._closures[module] = tuple(sorted(seen))
        return self._closures[module]

    def _source(self, module: str) -> _Source:
        source = self._find(module)
        if source is None:
            raise ModuleNotFoundError(f"no module {module}", name=module)
        return source

    def _find(self, module: str) -> _Source | None:
        """The file of ``module``; None where there is none: ``from a.b import c`` may name a function of a.b."""
        if module not in self._sources:
            self._sources[module] = _read(module)
        return self._sources[module]


@cache
def running_code() -> Code:
    """The code that this process runs: the files as they were when the process first asked."""
    return Code()


def load(module: str) -> None:
    """Import the whole code of ``module`` into this process, and make sure that it is what ``running_code`` says.

    A process that lives long may have asked for its versions before it imported the modules. What is imported
    here is compared with what was promised, so that a record never names code that did not run.

    Raises:
        LineageError: A file was edited between the two.
    """
    code = running_code()
    fresh = [name for name in code.closure(module) if name not in sys.modules]
    for name in fresh:
        try:
            import_module(name)
        except ModuleNotFoundError as error:
            # A machine without a library (torch on a Jetson) cannot run the modules that need it.
            if (error.name or "").startswith(ROOT_PACKAGE):
                raise
    now = Code()
    changed = [name for name in fresh if code.modules(module)[name] != now._source(name).digest]
    if changed:
        raise LineageError(
            f"{', '.join(changed)} was edited after this process had looked at it",
            needed="one and the same code from the start of the process to the import",
            fix="run it again: a new process takes the code as it is now",
        )


_parsed: dict[Path, tuple[tuple[int, int, int], _Source]] = {}


def _read(module: str) -> _Source | None:
    """Parse the file of ``module``, unless that has been done and the file has not changed since."""
    if module != ROOT_PACKAGE and not module.startswith(f"{ROOT_PACKAGE}."):
        return None
    place = _ROOT.joinpath(*module.split(".")[1:])
    for path, package in ((place / "__init__.py", module), (place.with_suffix(".py"), module.rpartition(".")[0])):
        try:
            facts = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        mark = (facts.st_mtime_ns, facts.st_size, facts.st_ino)
        known = _parsed.get(path)
        if known is None or known[0] != mark:
            tree = ast.parse(path.read_bytes(), str(path))
            known = (mark, _Source(syntax_digest(tree), frozenset(_imports(tree, package))))
            _parsed[path] = known
        return known[1]
    return None


def _imports(tree: ast.Module, package: str) -> Iterator[str]:
    """Every dotted name that an import in ``tree`` may mean."""
    for node in _running_statements(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, package)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


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


def _running_statements(tree: ast.Module) -> Iterator[ast.stmt]:
    """All statements at any depth but those that only a type checker sees; expressions hold none."""
    pending: list[Any] = list(tree.body)
    while pending:
        node = pending.pop()
        yield node
        is_for_types = isinstance(node, ast.If) and "TYPE_CHECKING" in {
            getattr(node.test, "id", None),
            getattr(node.test, "attr", None),
        }
        if not is_for_types:
            pending += getattr(node, "body", ())
        for clause in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
            pending += clause.body
        pending += getattr(node, "orelse", ())
        pending += getattr(node, "finalbody", ())


def syntax_digest(tree: ast.Module) -> str:
    """md5 of a syntax tree without positions and docstrings, equal on every Python that parses it.

    ``ast.dump`` will not do: Python versions differ in which empty fields they print.
    """
    pieces: list[str] = []
    _write(tree, pieces.append)
    return _md5("".join(pieces).encode("utf-8", "surrogatepass"))


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


_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode


def _canonical(value: Any) -> bytes:
    return _encode(value).encode()


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
