"""From a source file to its :class:`Module`: which statements define a name, and which run with an effect."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from robot_assets.lineage.code.not_code import CHOSEN_BY_PARAMS, IGNORE_ANNOTATIONS, READ_ANNOTATIONS, decorator_name
from robot_assets.lineage.code.records import Definition, Import, Module, Reference, Statement
from robot_assets.lineage.code.scopes import Names
from robot_assets.lineage.code.syntax import read_statement
from robot_assets.lineage.code.trees import chain_of, imports_of, is_docstring, is_for_type_checkers

_Definition: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef

_WITHOUT_EFFECT = IGNORE_ANNOTATIONS | READ_ANNOTATIONS
_ABSTRACT = "abc.ABCMeta"
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_ASSIGNMENTS = (ast.Assign, ast.AnnAssign, getattr(ast, "TypeAlias", ast.Assign))
_IMPORTS = (ast.Import, ast.ImportFrom)


def read_module(source: bytes, name: str, *, is_package: bool, path: str) -> Module:
    """Parse a source file.

    Args:
        source: Its content.
        name: Its dotted name.
        is_package: Whether it is the ``__init__`` of a package.
        path: Of the file.

    Raises:
        SyntaxError: The file does not parse.
    """
    package = name if is_package else name.rpartition(".")[0]
    body = [*_running(ast.parse(source, path).body)]
    imported = _bound_imports(body, package)
    outline = _Outline(package, imported, Names(imported))
    for node in body:
        outline.add(node)
    executed = tuple(one for node in _at_import(body) for one in imports_of(node, package))
    return Module(name, path, is_package, outline.definitions(), imported, executed, tuple(outline.effects))


@dataclass
class _Outline:
    package: str
    imported: Mapping[str, tuple[Import, ...]]
    names: Names
    effects: list[Statement] = field(default_factory=list)
    found: dict[str, list[Definition]] = field(default_factory=lambda: defaultdict(list))

    def add(self, node: ast.stmt) -> None:
        """Sort one statement in."""
        if isinstance(node, _IMPORTS) or is_docstring(node):
            return
        statement, bound = read_statement(node, self.package, self.imported)
        if isinstance(node, _DEFINITIONS):
            self.found[node.name].append(self._definition(node, statement))
            return
        if not isinstance(node, _ASSIGNMENTS) or _changes_an_object(node):
            self.effects.append(statement)
        for name in bound:
            self.found[name].append(Definition((statement,)))

    def definitions(self) -> dict[str, Definition]:
        """All definitions, with those of one name put together."""
        return {name: parts[0] if len(parts) == 1 else _joined(parts) for name, parts in self.found.items()}

    def _definition(self, node: _Definition, statement: Statement) -> Definition:
        own = {self._name(one) for one in node.decorator_list}
        applied = {self._name(one) for one in _applied(node)}
        is_registered, is_choice = not applied <= _WITHOUT_EFFECT, CHOSEN_BY_PARAMS in own
        if not isinstance(node, ast.ClassDef):
            return Definition((statement,), is_registered, is_choice)
        has_metaclass = any(one.arg == "metaclass" and self._name(one.value) != _ABSTRACT for one in node.keywords)
        has_hook = any(isinstance(one, ast.FunctionDef) and one.name == "__init_subclass__" for one in node.body)
        bases = (chain_of(base.value if isinstance(base, ast.Subscript) else base) for base in node.bases)
        return Definition(
            (statement,),
            is_registered or has_metaclass,
            is_choice,
            tuple(Reference(None, chain) for chain in bases if chain),
            has_metaclass or has_hook,
        )

    def _name(self, node: ast.expr) -> str:
        return decorator_name(node, self.names.absolute)


def _joined(parts: Sequence[Definition]) -> Definition:
    return Definition(
        tuple(statement for part in parts for statement in part.statements),
        any(part.is_registered for part in parts),
        any(part.is_choice for part in parts),
        tuple(base for part in parts for base in part.bases),
        any(part.hooks_subclasses for part in parts),
    )


def _applied(node: _Definition) -> Iterator[ast.expr]:
    """What runs when a definition is executed: its decorators; in a class also those of members, and calls."""
    yield from node.decorator_list
    for member in node.body if isinstance(node, ast.ClassDef) else ():
        if isinstance(member, _DEFINITIONS):
            yield from _applied(member)
        elif isinstance(member, ast.Expr) and not is_docstring(member):
            yield member.value


def _running(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Module-level statements without what only type checkers see."""
    for node in body:
        if is_for_type_checkers(node):
            yield from _running(getattr(node, "orelse", ()))
        else:
            yield node


def _bound_imports(body: Sequence[ast.stmt], package: str) -> dict[str, tuple[Import, ...]]:
    """The names that import statements bind in the module."""
    found: dict[str, tuple[Import, ...]] = {}
    for node in _at_import(body, in_classes=False):
        for one in imports_of(node, package):
            found[one.bound] = (*found.get(one.bound, ()), one)
    return found


def _at_import(body: Sequence[ast.stmt], *, in_classes: bool = True) -> Iterator[ast.Import | ast.ImportFrom]:
    """Import statements that run when the module is imported."""
    for node in _running(body):
        if isinstance(node, _IMPORTS):
            yield node
        elif in_classes if isinstance(node, ast.ClassDef) else not isinstance(node, _DEFINITIONS):
            for block in _blocks(node):
                yield from _at_import(block, in_classes=in_classes)


def _blocks(node: Any) -> Iterator[Sequence[ast.stmt]]:
    """The lists of statements in a compound statement."""
    for name in ("body", "orelse", "finalbody"):
        yield getattr(node, name, ())
    for clause in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
        yield clause.body


def _changes_an_object(node: ast.stmt) -> bool:
    """Whether an assignment is to an attribute or an item: ``x.y = 1``, ``x["y"] = 1``."""
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return any(
        isinstance(one, ast.Attribute | ast.Subscript) and isinstance(one.ctx, ast.Store)
        for target in targets
        if target is not None
        for one in ast.walk(target)
    )
