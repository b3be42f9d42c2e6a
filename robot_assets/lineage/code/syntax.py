"""One walk over the syntax tree of a module-level statement: its digest, and the names that it reads.

The digest covers neither positions nor what is not code, and is equal on every Python that parses the file.
``ast.dump`` will not do: Python versions differ in which empty fields they print.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from itertools import groupby, pairwise
from typing import Any, TypeAlias, TypeGuard

from robot_assets.lineage.code.not_code import (
    CHOSEN_BY_PARAMS,
    IGNORE_ANNOTATIONS,
    PROSE_ARGUMENTS,
    decorator_name,
    is_prose,
    may_be_error,
)
from robot_assets.lineage.code.records import DynamicImport, Import, Statement
from robot_assets.lineage.code.scopes import Names, Use
from robot_assets.lineage.code.trees import (
    chain_of,
    imported_module,
    imports_of,
    is_docstring,
    is_for_type_checkers,
    parameters,
    signature,
)

DIGEST_DIGITS = 12

_Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
_Comprehension: TypeAlias = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp

_SKIPPED_FIELDS = frozenset({"ctx", "kind", "type_comment", "type_ignores"})
_ANONYMOUS = {
    ast.Lambda: "<lambda>",
    ast.ListComp: "<listcomp>",
    ast.SetComp: "<setcomp>",
    ast.DictComp: "<dictcomp>",
    ast.GeneratorExp: "<genexpr>",
}


def digest_of(text: str) -> str:
    """The first digits of the md5 of a text."""
    content = text.encode("utf-8", "surrogatepass")
    return hashlib.md5(content, usedforsecurity=False).hexdigest()[:DIGEST_DIGITS]


def read_statement(
    node: ast.stmt, package: str, imported: Mapping[str, tuple[Import, ...]]
) -> tuple[Statement, frozenset[str]]:
    """Analyse one module-level statement.

    Args:
        node: Its syntax tree.
        package: The package that relative imports in it start from.
        imported: Names that the module's import statements bind.

    Returns:
        The statement, and the module-level names that it binds.
    """
    return _Walk(package, imported).statement(node)


class _Walk:
    """Writes the canonical text of a statement piece by piece, and collects its names in passing."""

    def __init__(self, package: str, imported: Mapping[str, tuple[Import, ...]]) -> None:
        self._package = package
        self._names = Names(imported)
        self._pieces: list[str] = []
        self._put = self._pieces.append
        self._anonymous: set[str] = set()
        self._is_followed = True
        self._strings_are_names = False

    def statement(self, node: ast.stmt) -> tuple[Statement, frozenset[str]]:
        self._visit(node)
        bound, names = self._names.finish(), self._names
        statement = Statement(
            digest_of("".join(self._pieces)),
            frozenset(names.references),
            frozenset(names.choices - names.references),
            tuple(names.imports),
            tuple(names.dynamic_imports),
            tuple(names.texts),
            frozenset(self._anonymous),
        )
        return statement, bound

    def _visit(self, node: ast.AST) -> None:
        visit = _VISITORS.get(type(node))
        if visit is not None:
            visit(self, node)
        else:
            self._write(node)

    def _write(self, node: ast.AST) -> None:
        """Write a node that needs nothing special: its type and the fields that are not empty."""
        put = self._put
        put(type(node).__name__ + "(")
        for name in node._fields:
            value = getattr(node, name, None)
            if value is None or value == [] or name in _SKIPPED_FIELDS:
                continue
            put(name + "=")
            if isinstance(value, ast.AST):
                self._visit(value)
            elif isinstance(value, list):
                self._write_list(value)
            else:
                put(ascii(value) + " ")
        put(")")

    def _write_list(self, values: list[Any]) -> None:
        """Write nodes and names; ``~`` where there is nothing, such as a keyword parameter without a default."""
        self._put("[")
        for value in values:
            if isinstance(value, ast.AST):
                self._visit(value)
            else:
                self._put("~ " if value is None else ascii(value) + " ")
        self._put("]")

    @contextmanager
    def _aside(self) -> Iterator[list[str]]:
        """Write to a list that is no part of the digest."""
        kept = self._pieces, self._put
        self._pieces = []
        self._put = self._pieces.append
        yield self._pieces
        self._pieces, self._put = kept

    def _expression_statement(self, node: ast.Expr) -> None:
        if not is_docstring(node):
            self._write(node)

    def _nothing(self, node: ast.AST) -> None:
        pass

    def _if(self, node: ast.If) -> None:
        if is_for_type_checkers(node):
            self._write_list(node.orelse)
        else:
            self._write(node)

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        for one in imports_of(node, self._package):
            self._put(f"{one.module}:{one.name} as {one.bound} ")
            if not self._names.is_in_module:
                self._names.bind_import(one)
            if self._names.is_in_function and self._is_followed:
                self._names.imports.append(one)

    def _global(self, node: ast.Global) -> None:
        self._write(node)
        for name in node.names:
            self._names.declare_global(name, node.lineno)

    def _nonlocal(self, node: ast.Nonlocal) -> None:
        self._write(node)
        for name in node.names:
            self._names.declare_nonlocal(name)

    def _annotated_assignment(self, node: ast.AnnAssign) -> None:
        """Annotations of variables are read in classes only, by dataclasses and pydantic."""
        if self._names.is_in_class_body:
            self._put("AnnAssign(")
            self._visit(node.target)
            self._annotation(node.annotation)
            self._write_list([node.value])
            self._put(")")
        elif node.value is not None:
            self._write(ast.Assign([node.target], node.value))  # the same statement without its annotation
        elif isinstance(node.target, ast.Name) and not self._names.is_in_module:
            self._names.bind(node.target.id)

    def _augmented_assignment(self, node: ast.AugAssign) -> None:
        self._write(node)
        if isinstance(node.target, ast.Name):
            self._use((node.target.id,), node.target)

    def _function(self, node: _Function) -> None:
        decorators = [decorator_name(one, self._names.absolute) for one in node.decorator_list]
        self._names.bind(node.name)
        self._put(f"{type(node).__name__}({node.name} ")
        self._write_list(node.decorator_list)
        self._annotations(node, are_read=not IGNORE_ANNOTATIONS.issuperset(decorators))
        kept, self._is_followed = self._is_followed, self._is_followed and CHOSEN_BY_PARAMS not in decorators
        self._parameters_and_body(node.args, node.body)
        self._is_followed = kept

    def _annotations(self, node: _Function, *, are_read: bool) -> None:
        """Follow the annotations of parameters: the classes of what is passed. They count if something reads them."""
        annotations = [one.annotation for one in parameters(node.args)]
        if are_read:
            for annotation in (*annotations, node.returns):
                self._annotation(annotation)
        else:
            with self._aside():
                for annotation in annotations:
                    self._annotation(annotation)

    def _lambda(self, node: ast.Lambda) -> None:
        self._collect_anonymous(node)
        self._put("Lambda(")
        self._parameters_and_body(node.args, [node.body])

    def _parameters_and_body(self, arguments: ast.arguments, body: list[Any]) -> None:
        self._write_list([*arguments.defaults, *arguments.kw_defaults])
        self._put(signature(arguments))
        self._names.open("function")
        for one in parameters(arguments):
            self._names.bind(one.arg)
        self._write_list(body)
        self._names.close()
        self._put(")")

    def _class(self, node: ast.ClassDef) -> None:
        self._names.bind(node.name)
        self._put(f"ClassDef({node.name} ")
        self._write_list(node.decorator_list)
        self._write_list([*node.bases, *node.keywords])
        self._names.open("class")
        self._write_list(node.body)
        self._names.close()
        self._put(")")

    def _name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self._put_name((node.id,))
            self._use((node.id,), node)
        else:
            self._put(f".{node.id} ")
            self._names.bind(node.id)

    def _attribute(self, node: ast.Attribute) -> None:
        chain = chain_of(node)
        if chain is None:
            self._write(node)
        else:
            self._put_name(chain)
            self._use(chain, node)

    def _put_name(self, chain: tuple[str, ...]) -> None:
        """Write a name as what it was imported as, so that another import for the same name is another digest."""
        self._put(f".{self._names.absolute(chain)} ")

    def _use(self, chain: tuple[str, ...], node: ast.expr, text: str | None = None, module: str | None = None) -> None:
        self._names.use(Use(chain, node.lineno, self._is_followed, text, module))

    def _constant(self, node: ast.Constant) -> None:
        self._put(ascii(node.value) + " ")
        if self._strings_are_names and isinstance(node.value, str):
            self._quoted(node.value)

    def _quoted(self, annotation: str) -> None:
        try:
            parsed = ast.parse(annotation.strip(), mode="eval")
        except (SyntaxError, ValueError):
            return
        with self._aside():
            self._visit(parsed.body)

    def _annotation(self, node: ast.expr | None) -> None:
        if node is not None:
            with self._strings(are_names=True):
                self._visit(node)

    @contextmanager
    def _strings(self, *, are_names: bool) -> Iterator[None]:
        """Whether a string is a quoted annotation here, and names what it reads."""
        kept, self._strings_are_names = self._strings_are_names, are_names
        yield
        self._strings_are_names = kept

    def _subscript(self, node: ast.Subscript) -> None:
        chain = chain_of(node.value) if self._strings_are_names else None
        if chain is not None and chain[-1] == "Literal":
            with self._strings(are_names=False):
                self._write(node)
        else:
            self._write(node)

    def _call(self, node: ast.Call) -> None:
        if self._strings_are_names:  # ``Annotated[int, Field(description="...")]``
            with self._strings(are_names=False):
                self._call(node)
        elif (chain := chain_of(node.func)) is None:
            self._write(node)
        else:
            self._put("Call(")
            self._put_name(chain)
            texts = self._arguments(node, chain)
            text = digest_of("".join(texts)) if texts else None
            self._use(chain, node, text, imported_module(node, self._package))
            self._put(")")

    def _arguments(self, node: ast.Call, callee: tuple[str, ...]) -> list[str]:
        """Write the arguments of a call; returns the texts among them, which are not code if the callee is an error."""
        texts: list[str] = []
        prose: Collection[str | None] = PROSE_ARGUMENTS.get(self._names.absolute(callee), ())
        may_have_texts = may_be_error(callee)
        for name, value in (*((None, one) for one in node.args), *((one.arg, one.value) for one in node.keywords)):
            if name in prose:
                with self._aside():
                    self._visit(value)
            elif may_have_texts and is_prose(value):
                self._put("~" if name is None else "")
                with self._aside() as pieces:
                    self._visit(value)
                texts += [f"{name}=", *pieces]
            else:
                self._put(f"{name}=")
                self._visit(value)
        return texts

    def _display(self, node: ast.List | ast.Tuple) -> None:
        """A list or a tuple; ``[sys.executable, "-m", "package.module"]`` runs a module."""
        self._write(node)
        for option, module in pairwise(node.elts):
            if _is_text(option) and option.value == "-m" and _is_text(module) and self._is_followed:
                self._names.dynamic_imports.append(DynamicImport(module.value, node.lineno))

    def _comprehension(self, node: _Comprehension) -> None:
        self._collect_anonymous(node)
        first, *others = node.generators
        self._put(f"{type(node).__name__}({first.is_async} ")
        self._visit(first.iter)  # which is evaluated outside
        self._names.open("comprehension")
        self._write_list([first.target, *first.ifs])
        self._write_list(others)
        self._write_list([node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt])
        self._names.close()
        self._put(")")

    def _collect_anonymous(self, node: ast.Lambda | _Comprehension) -> None:
        if self._names.is_at_module_level:
            self._anonymous.add(_ANONYMOUS[type(node)])

    def _walrus(self, node: ast.NamedExpr) -> None:
        self._put(f"NamedExpr({node.target.id} ")
        self._names.bind_outside_comprehension(node.target.id)
        self._visit(node.value)
        self._put(")")

    def _joined_string(self, node: ast.JoinedStr) -> None:
        """Python versions differ in where they divide the text of an f-string: 3.12 adds empty pieces."""
        self._put("JoinedStr[")
        for is_text, values in groupby(node.values, _is_text):
            if is_text:
                text = "".join(one.value for one in values if _is_text(one))
                self._put(ascii(text) if text else "")
            else:
                for value in values:
                    self._visit(value)
        self._put("]")

    def _named(self, node: ast.ExceptHandler | ast.MatchAs | ast.MatchStar | ast.MatchMapping) -> None:
        name = node.rest if isinstance(node, ast.MatchMapping) else node.name
        if name:
            self._names.bind(name)
        self._write(node)


_VISITORS: Mapping[type[ast.AST], Callable[[_Walk, Any], None]] = {
    ast.AnnAssign: _Walk._annotated_assignment,
    ast.AsyncFunctionDef: _Walk._function,
    ast.Attribute: _Walk._attribute,
    ast.AugAssign: _Walk._augmented_assignment,
    ast.Call: _Walk._call,
    ast.ClassDef: _Walk._class,
    ast.Constant: _Walk._constant,
    ast.DictComp: _Walk._comprehension,
    ast.ExceptHandler: _Walk._named,
    ast.Expr: _Walk._expression_statement,
    ast.FunctionDef: _Walk._function,
    ast.GeneratorExp: _Walk._comprehension,
    ast.Global: _Walk._global,
    ast.If: _Walk._if,
    ast.Import: _Walk._import,
    ast.ImportFrom: _Walk._import,
    ast.JoinedStr: _Walk._joined_string,
    ast.Lambda: _Walk._lambda,
    ast.List: _Walk._display,
    ast.ListComp: _Walk._comprehension,
    ast.MatchAs: _Walk._named,
    ast.MatchMapping: _Walk._named,
    ast.MatchStar: _Walk._named,
    ast.Name: _Walk._name,
    ast.NamedExpr: _Walk._walrus,
    ast.Nonlocal: _Walk._nonlocal,
    ast.Pass: _Walk._nothing,
    ast.SetComp: _Walk._comprehension,
    ast.Subscript: _Walk._subscript,
    ast.Tuple: _Walk._display,
}


class _TextNode(ast.Constant):
    value: str


def _is_text(node: ast.expr) -> TypeGuard[_TextNode]:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)
