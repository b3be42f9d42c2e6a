"""What a stage can reach: from its entry points along names to definitions, and to the modules that this imports.

A *node* is something that can be part of a code version: ``pkg.mod:name`` is a definition, ``pkg.mod`` stands for what
runs when the module is imported, ``pkg.mod:*`` for everything in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from threading import RLock

from robot_assets.lineage.code.files import OUR_PACKAGE, Files
from robot_assets.lineage.code.records import Definition, Import, Module, Reference, Statement
from robot_assets.lineage.code.syntax import digest_of
from robot_assets.lineage.errors import LineageError

_OUR_ERRORS = f"{OUR_PACKAGE}.core.errors:RobotAssetsError"
_NAMESPACES = frozenset({"globals", "exec", "eval"})
_MODULE_ATTRIBUTES = frozenset({"__name__", "__file__", "__doc__", "__package__", "__path__", "__spec__"})


class Reach:
    """The graph over the definitions of some packages; thread-safe.

    Args:
        files: Their source. What was found in it once is kept.
    """

    def __init__(self, files: Files) -> None:
        self.files = files
        self._lock = RLock()
        self._walks: dict[tuple[str, ...], frozenset[str]] = {}
        self._successors: dict[str, tuple[str, ...]] = {}
        self._resolved: dict[tuple[str, tuple[str, ...]], tuple[str, ...]] = {}
        self._digests: dict[str, str] = {}
        self._errors: dict[str, bool] = {}

    def nodes(self, entries: tuple[str, ...]) -> frozenset[str]:
        """Every node that can be reached from entry points.

        Raises:
            LineageError: An entry point does not exist, or the code imports a module by a computed name.
        """
        with self._lock:
            if entries not in self._walks:
                self._walks[entries] = frozenset(self._walk(entries))
            return self._walks[entries]

    def digest(self, node: str) -> str:
        """Digest of the syntax of a node; empty where it has none of its own."""
        with self._lock:
            if node not in self._digests:
                self._digests[node] = _combined([*self._pieces(node)])
            return self._digests[node]

    def holders(self, module: str, anonymous: str) -> frozenset[str]:
        """The nodes of a module whose statements have code of an anonymous name outside functions: ``<lambda>``."""
        found = self.files.find(module)
        if found is None:
            return frozenset()
        nodes = {f"{module}:{name}": definition.statements for name, definition in found.definitions.items()}
        nodes[module] = found.effects
        return frozenset(
            node for node, statements in nodes.items() if any(anonymous in one.anonymous for one in statements)
        )

    def _walk(self, entries: Iterable[str]) -> set[str]:
        seen: set[str] = set()
        pending = [node for entry in entries for node in self._start(entry)]
        while pending:
            node = pending.pop()
            if node not in seen:
                seen.add(node)
                if node not in self._successors:
                    self._successors[node] = tuple(dict.fromkeys(self._follow(node)))
                pending += self._successors[node]
        return seen

    def _start(self, entry: str) -> tuple[str, ...]:
        name, _, definition = entry.partition(":")
        module = self.files.find(name)
        chain = tuple(definition.split(".")) if definition else ()
        if module is None or (chain and not (chain[0] in module.definitions or chain[0] in module.imported)):
            raise LineageError(
                f"no code at the entry point {entry}: "
                + (f"no module {name}" if module is None else f"{name} defines no {definition}"),
                needed="package.module:function, for code that exists",
                fix=f"python -c 'import {name}; print(dir({name}))'   (and correct the kind of stage that names it)",
            )
        return self._look_up(name, chain)

    def _follow(self, node: str) -> Iterator[str]:
        """The nodes that a node reaches by itself."""
        name, _, definition = node.partition(":")
        module = self.files.find(name)
        if module is None:
            return
        if not definition:
            yield from self._at_import(module)
            return
        yield name
        if definition != "*":
            for statement in _statements(module, definition):
                yield from self._links(statement, module)
            return
        yield from (f"{name}:{one}" for one in module.definitions)
        for bound in module.imported:
            if bound != "*":
                yield from self._look_up(name, (bound,))

    def _at_import(self, module: Module) -> Iterator[str]:
        """What runs when a module is imported: packages above, imports, statements with an effect, registrations."""
        yield from self._existing(module.name)
        for one in module.executed:
            yield from self._imports(one)
        for statement in module.effects:
            yield from self._links(statement, module)
        for name, definition in module.definitions.items():
            if definition.is_registered or self._is_hooked(definition, module):
                yield f"{module.name}:{name}"

    def _links(self, statement: Statement, module: Module) -> Iterator[str]:
        for reference in statement.references:
            yield from self._refer(reference, module)
        for one in statement.imports:
            yield from self._imports(one)
        for dynamic in statement.dynamic_imports:
            if dynamic.module is None:
                raise _computed(module, dynamic.line)
            if self.files.has(dynamic.module):
                yield from self._look_up(dynamic.module, ())

    def _refer(self, reference: Reference, module: Module) -> Iterator[str]:
        """The nodes that a reference in a module may mean."""
        if reference.module is not None:
            yield from self._look_up(reference.module, reference.chain)
            if _opens_namespace(reference):
                yield f"{module.name}:*"
            return
        head = reference.chain[0]
        if head in module.definitions or head in module.imported:
            yield from self._look_up(module.name, reference.chain)
        elif head in _NAMESPACES:
            yield f"{module.name}:*"
        elif module.is_package and self.files.find(f"{module.name}.{head}"):
            yield from self._look_up(f"{module.name}.{head}", reference.chain[1:])

    def _look_up(self, name: str, chain: tuple[str, ...]) -> tuple[str, ...]:
        """The nodes that an attribute of a module may mean, through re-exports; the whole module if that is unclear."""
        key = (name, chain)
        if key not in self._resolved:
            self._resolved[key] = ()  # where re-exports run in a circle
            self._resolved[key] = tuple(self._resolve(name, chain))
        return self._resolved[key]

    def _resolve(self, name: str, chain: tuple[str, ...]) -> Iterator[str]:
        module = self.files.find(name)
        if module is None:
            return
        if not chain or chain[0] == "*":
            yield f"{name}:*"
            return
        head, *rest = chain
        if head in module.definitions:
            yield f"{name}:{head}"
        for one in module.imported.get(head, ()):
            yield from self._through(one, tuple(rest), module)
        if head in module.definitions or head in module.imported:
            return
        if self.files.find(f"{name}.{head}"):
            yield from self._look_up(f"{name}.{head}", tuple(rest))
        else:
            yield name if head in _MODULE_ATTRIBUTES else f"{name}:*"

    def _through(self, one: Import, attributes: tuple[str, ...], module: Module) -> Iterator[str]:
        """What a name that a module imports means, followed by attributes."""
        if one.module == module.name and one.name is not None:  # ``from . import name`` in a package
            yield from self._look_up(f"{one.module}.{one.name}", attributes)
            return
        for reference in one.references(attributes):
            if self.files.find(reference.module or ""):
                yield from self._look_up(reference.module or "", reference.chain)
            else:
                yield f"{module.name}:{one.bound}"
                if _opens_namespace(reference):
                    yield f"{module.name}:*"

    def _imports(self, one: Import) -> Iterator[str]:
        """The modules that an import statement runs."""
        if not self.files.has(one.module):
            return
        yield from self._existing(f"{one.module}.")
        module = self.files.find(one.module)
        if one.name == "*":
            yield f"{one.module}:*"
        elif module and one.name and not (one.name in module.definitions or one.name in module.imported):
            yield from self._existing(f"{one.module}.{one.name}.")

    def _existing(self, dotted: str) -> Iterator[str]:
        """The packages above the last dot."""
        parts = dotted.split(".")[:-1]
        for length in range(1, len(parts) + 1):
            name = ".".join(parts[:length])
            if self.files.find(name):
                yield name

    def _pieces(self, node: str) -> Iterator[str]:
        name, _, definition = node.partition(":")
        module = self.files.find(name)
        if module is None or definition == "*":
            return
        for statement in _statements(module, definition) if definition else module.effects:
            yield statement.digest
            for text in statement.texts:
                if text.callee is None or not self._is_error(text.callee, module):
                    yield text.digest
        for one in module.imported.get(definition, ()):
            if not self.files.find(one.module):
                yield f"{one.module}:{one.name}"

    def _is_error(self, reference: Reference, module: Module) -> bool:
        """Whether a reference means one of our own error classes."""
        nodes = [*self._refer(reference, module)]
        return bool(nodes) and all(self._is_error_class(node) for node in nodes)

    def _is_error_class(self, node: str) -> bool:
        if node not in self._errors:
            self._errors[node] = False  # where classes are their own ancestors
            self._errors[node] = node == _OUR_ERRORS or any(self._is_error(*base) for base in self._bases(node))
        return self._errors[node]

    def _is_hooked(self, definition: Definition, module: Module) -> bool:
        """Whether a base class of ours runs code when this class is defined."""
        pending = [node for base in definition.bases for node in self._refer(base, module)]
        seen: set[str] = set()
        while pending:
            node = pending.pop()
            if node not in seen:
                seen.add(node)
                if self._hooks_subclasses(node):
                    return True
                pending += [above for base in self._bases(node) for above in self._refer(*base)]
        return False

    def _hooks_subclasses(self, node: str) -> bool:
        name, _, definition = node.partition(":")
        module = self.files.find(name)
        return (
            module is not None and definition in module.definitions and module.definitions[definition].hooks_subclasses
        )

    def _bases(self, node: str) -> Iterator[tuple[Reference, Module]]:
        name, _, definition = node.partition(":")
        module = self.files.find(name)
        if module is not None and definition in module.definitions:
            yield from ((base, module) for base in module.definitions[definition].bases)


def _statements(module: Module, definition: str) -> tuple[Statement, ...]:
    return module.definitions[definition].statements if definition in module.definitions else ()


def _combined(pieces: list[str]) -> str:
    return pieces[0] if len(pieces) == 1 and ":" not in pieces[0] else digest_of("|".join(pieces)) if pieces else ""


def _opens_namespace(reference: Reference) -> bool:
    """Whether a library's function or object gives access to all names of a module."""
    chain = reference.chain
    return (reference.module == "sys" and chain[:1] == ("modules",)) or (
        reference.module == "builtins" and chain[:1] != () and chain[0] in _NAMESPACES
    )


def _computed(module: Module, line: int) -> LineageError:
    return LineageError(
        f"{module.path}:{line} imports a module by a computed name, which no code version can follow",
        needed="a constant name, or @chosen_by_params on the function, whose stage then names what it chooses",
        fix=f"sed -n {line}p {module.path}   (and write the name of the module there, or mark the function)",
    )
