"""Which names a statement reads from its module: Python's rules of scopes, applied to one module-level statement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

from robot_assets.lineage.code.records import DynamicImport, Import, Reference, Text

_ScopeKind: TypeAlias = Literal["module", "class", "function", "comprehension"]

_IMPORTERS = frozenset(
    {
        "importlib.import_module",
        "importlib.__import__",
        "__import__",
        "builtins.__import__",
        "runpy.run_module",
        "pkgutil.resolve_name",
    }
)
_LOADERS = frozenset({"importlib.metadata.entry_points", "importlib.util.spec_from_file_location", "runpy.run_path"})
"""Functions that give access to modules without naming them."""


class Use(NamedTuple):
    """One place where a name is read.

    Attributes:
        chain: The name, and attributes of it.
        line: Where.
        is_followed: False in a function that is marked with ``@chosen_by_params``.
        text: Digest of text arguments, when it is called with some.
        module: The module that a call imports by this constant name.
    """

    chain: tuple[str, ...]
    line: int
    is_followed: bool = True
    text: str | None = None
    module: str | None = None


@dataclass(slots=True)
class _Scope:
    kind: _ScopeKind
    parent: _Scope | None
    bound: set[str] = field(default_factory=set)
    imports: dict[str, list[Import]] = field(default_factory=dict)
    of_module: set[str] = field(default_factory=set)
    of_outer: set[str] = field(default_factory=set)
    uses: list[Use] = field(default_factory=list)


class Names:
    """Collects the names of one statement while its syntax tree is walked.

    Whether a name is local is only known at the end of its scope, so that uses are kept until then.

    Args:
        imported: Names that import statements at module level bind.
    """

    def __init__(self, imported: Mapping[str, tuple[Import, ...]]) -> None:
        self.references: set[Reference] = set()
        self.choices: set[Reference] = set()
        self.imports: list[Import] = []
        self.dynamic_imports: list[DynamicImport] = []
        self.texts: list[Text] = []
        self._imported = imported
        self._module = self._scope = _Scope("module", None)
        self._functions = self._classes = 0

    @property
    def is_in_class_body(self) -> bool:
        """Whether the current scope is that of a class."""
        return self._scope.kind == "class"

    @property
    def is_in_module(self) -> bool:
        """Whether the current scope is that of the module."""
        return self._scope.kind == "module"

    @property
    def is_at_module_level(self) -> bool:
        """Whether no function and no class is around."""
        return not self._functions and not self._classes

    @property
    def is_in_function(self) -> bool:
        """Whether what is walked only runs when a function is called."""
        return self._functions > 0

    def use(self, use: Use) -> None:
        """Note that a name is read here."""
        self._scope.uses.append(use)

    def bind(self, name: str) -> None:
        """Note that a name is bound here."""
        self._scope.bound.add(name)

    def bind_outside_comprehension(self, name: str) -> None:
        """Note that ``:=`` binds a name, which a comprehension leaves to the scope around it."""
        scope = self._scope
        while scope.kind == "comprehension" and scope.parent is not None:
            scope = scope.parent
        scope.bound.add(name)

    def bind_import(self, one: Import) -> None:
        """Note an import statement inside a function or a class."""
        self._scope.imports.setdefault(one.bound, []).append(one)

    def declare_global(self, name: str, line: int) -> None:
        """Note ``global name``."""
        self._scope.of_module.add(name)
        self._module.uses.append(Use((name,), line))

    def declare_nonlocal(self, name: str) -> None:
        """Note ``nonlocal name``."""
        self._scope.of_outer.add(name)

    def open(self, kind: Literal["class", "function", "comprehension"]) -> None:
        """Enter a scope."""
        self._scope = _Scope(kind, self._scope)
        self._functions += kind == "function"
        self._classes += kind == "class"

    def close(self) -> None:
        """Leave a scope: uses of its local variables are dropped, the others belong to the scope around it."""
        scope = self._scope
        self._scope = scope.parent or self._module
        self._functions -= scope.kind == "function"
        self._classes -= scope.kind == "class"
        outer = self._scope
        while outer.kind == "class" and outer.parent is not None:  # whose names its methods do not see
            outer = outer.parent
        local = scope.bound - scope.of_outer - scope.of_module
        for use in scope.uses:
            head = use.chain[0]
            if head in scope.of_module:
                self._module.uses.append(use)
                continue
            for one in scope.imports.get(head, ()):
                self._resolve(use, one)
            if scope.kind == "class" or not (head in local or head in scope.imports):
                outer.uses.append(use)
            elif use.text is not None and head not in scope.imports:
                self.texts.append(Text(None, use.text))

    def finish(self) -> frozenset[str]:
        """Settle what is left to the module, and return the module-level names that the statement binds."""
        for use in self._module.uses:
            self._keep(use, Reference(None, use.chain))
            self._note_dynamic_import(use, self.absolute(use.chain))
        return frozenset(self._module.bound)

    def absolute(self, chain: tuple[str, ...]) -> str:
        """A chain that starts at module level, with the dotted name of what its first name was imported as."""
        for one in self._imported.get(chain[0], ()):
            return _dotted(next(one.references(chain[1:])))
        return ".".join(chain)

    def _resolve(self, use: Use, one: Import) -> None:
        for reference in one.references(use.chain[1:]):
            self._keep(use, reference)
            self._note_dynamic_import(use, _dotted(reference))

    def _keep(self, use: Use, reference: Reference) -> None:
        (self.references if use.is_followed else self.choices).add(reference)
        if use.text is not None:
            self.texts.append(Text(reference, use.text))

    def _note_dynamic_import(self, use: Use, dotted: str) -> None:
        if use.is_followed and dotted in _IMPORTERS:
            self.dynamic_imports.append(DynamicImport(use.module, use.line))
        elif use.is_followed and dotted in _LOADERS:
            self.dynamic_imports.append(DynamicImport(None, use.line))


def _dotted(reference: Reference) -> str:
    return ".".join((reference.module or "", *reference.chain))
