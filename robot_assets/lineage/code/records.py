"""What the analysis keeps of a source file: small immutable records, without syntax trees."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple


class Reference(NamedTuple):
    """A name followed by attributes, such as ``split.images.mean``.

    Attributes:
        module: The module that the chain starts in; None: the globals of the module that has the reference.
        chain: The name and the attributes; empty: the module itself as a value.
    """

    module: str | None
    chain: tuple[str, ...]


class Import(NamedTuple):
    """One name of an import statement.

    Attributes:
        module: Absolute dotted name.
        name: What ``from module import name`` takes; None for ``import module``.
        bound: The name that it binds; ``*`` for a star import.
    """

    module: str
    name: str | None
    bound: str

    def references(self, attributes: tuple[str, ...]) -> Iterator[Reference]:
        """What the bound name followed by ``attributes`` refers to.

        ``import a.b.c`` binds ``a``: where ``a`` or ``a.b`` is used as a value, ``a.b.c`` is within reach as well.
        """
        top, *below = self.module.split(".")
        if self.name is not None:
            yield Reference(self.module, (self.name, *attributes))
        elif self.bound != top:
            yield Reference(self.module, attributes)
        else:
            yield Reference(top, attributes)
            for length in range(len(attributes) + 1, len(below) + 1):
                if attributes == tuple(below[: len(attributes)]):
                    yield Reference(top, tuple(below[:length]))


class DynamicImport(NamedTuple):
    """An import by a name in a string, such as ``import_module("json")``; ``module`` is None for a computed name."""

    module: str | None
    line: int


class Text(NamedTuple):
    """Text arguments of a call, which are not code when the callee is one of our error classes.

    Attributes:
        callee: What is called; None: a local variable.
        digest: Of the arguments.
    """

    callee: Reference | None
    digest: str


@dataclass(frozen=True, slots=True)
class Statement:
    """One module-level statement.

    Attributes:
        digest: Of its syntax, without what is not code.
        references: The names that it reads, other than local variables.
        choices: Names in functions that are marked with ``@chosen_by_params``.
        imports: Import statements in its functions.
        dynamic_imports: Imports by a name in a string.
        texts: Text that counts unless the callee is an error class of ours.
        anonymous: Names of its code objects outside functions and classes, such as ``<lambda>``.
    """

    digest: str
    references: frozenset[Reference]
    choices: frozenset[Reference]
    imports: tuple[Import, ...]
    dynamic_imports: tuple[DynamicImport, ...]
    texts: tuple[Text, ...]
    anonymous: frozenset[str]


@dataclass(frozen=True, slots=True)
class Definition:
    """A module-level name, with every statement that binds it.

    Attributes:
        statements: Usually one.
        is_registered: Whether a decorator can have an effect when the module is imported.
        is_choice: Whether it is marked with ``@chosen_by_params``.
        bases: Base classes.
        hooks_subclasses: Whether it runs code when a subclass is defined: ``__init_subclass__`` or a metaclass.
    """

    statements: tuple[Statement, ...]
    is_registered: bool = False
    is_choice: bool = False
    bases: tuple[Reference, ...] = ()
    hooks_subclasses: bool = False


@dataclass(frozen=True, slots=True)
class Module:
    """One source file.

    Attributes:
        name: Dotted name.
        path: Of the file.
        is_package: Whether it is the ``__init__`` of a package.
        definitions: Functions, classes and assigned names.
        imported: Names that module-level import statements bind.
        executed: Every import statement that runs when the module is imported.
        effects: Module-level statements with an effect, in their order.
    """

    name: str
    path: str
    is_package: bool
    definitions: Mapping[str, Definition]
    imported: Mapping[str, tuple[Import, ...]]
    executed: tuple[Import, ...]
    effects: tuple[Statement, ...]
