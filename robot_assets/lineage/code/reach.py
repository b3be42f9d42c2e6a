"""What a stage can reach: from its entry points along names to definitions, and to the modules that this imports."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from threading import RLock

from robot_assets.lineage.code.files import Files
from robot_assets.lineage.code.records import Module, Statement
from robot_assets.lineage.code.resolver import Resolver
from robot_assets.lineage.code.syntax import digest_of
from robot_assets.lineage.errors import LineageError


class Reach:
    """The graph over the definitions of some packages; thread-safe. Its nodes are those of the resolver.

    Args:
        files: The source of the packages. What was found in it once is kept.
    """

    def __init__(self, files: Files) -> None:
        self.files = files
        self._resolver = Resolver(files)
        self._lock = RLock()
        self._walks: dict[tuple[str, ...], frozenset[str]] = {}
        self._successors: dict[str, tuple[str, ...]] = {}
        self._digests: dict[str, str] = {}

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
                pieces = [*self._pieces(node)]
                self._digests[node] = pieces[0] if len(pieces) == 1 else digest_of(" ".join(pieces)) if pieces else ""
            return self._digests[node]

    def holders(self, module: str, anonymous: str) -> frozenset[str]:
        """The nodes of a module with code of an anonymous name outside functions, such as ``<lambda>``."""
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
        name, _, defined = entry.partition(":")
        module = self.files.find(name)
        chain = tuple(defined.split(".")) if defined else ()
        if module is None or (chain and not (chain[0] in module.definitions or chain[0] in module.imported)):
            raise _no_code(entry, module)
        return self._resolver.look_up(name, chain)

    def _follow(self, node: str) -> Iterator[str]:
        """The nodes that a node reaches by itself."""
        name, _, defined = node.partition(":")
        module = self.files.find(name)
        if module is None:
            return
        if not defined:
            yield from self._at_import(module)
            return
        yield name
        if defined == "*":
            yield from self._everything(module)
            return
        for statement in _statements(module, defined):
            yield from self._links(statement, module)

    def _everything(self, module: Module) -> Iterator[str]:
        yield from (f"{module.name}:{defined}" for defined in module.definitions)
        for bound in module.imported:
            if bound != "*":
                yield from self._resolver.look_up(module.name, (bound,))

    def _at_import(self, module: Module) -> Iterator[str]:
        """What runs when a module is imported: packages above, imports, statements with an effect, registrations."""
        yield from self._resolver.packages(module.name)
        for one in module.executed:
            yield from self._resolver.executed(one)
        for statement in module.effects:
            yield from self._links(statement, module)
        nodes = (f"{module.name}:{defined}" for defined in module.definitions)
        yield from (node for node in nodes if self._resolver.runs_at_import(node))

    def _links(self, statement: Statement, module: Module) -> Iterator[str]:
        for reference in statement.references:
            yield from self._resolver.refer(reference, module)
        for reference in statement.choices:
            yield from filter(self._resolver.is_choice, self._resolver.refer(reference, module))
        for one in statement.imports:
            yield from self._resolver.executed(one)
        for dynamic in statement.dynamic_imports:
            if dynamic.module is None:
                raise _computed(module, dynamic.line)
            yield from self._resolver.look_up(dynamic.module, ())

    def _pieces(self, node: str) -> Iterator[str]:
        name, _, defined = node.partition(":")
        module = self.files.find(name)
        if module is None:
            return
        for statement in _statements(module, defined) if defined else module.effects:
            yield statement.digest
            for text in statement.texts:
                if text.callee is None or not self._resolver.is_error(text.callee, module):
                    yield text.digest


def _statements(module: Module, defined: str) -> tuple[Statement, ...]:
    return module.definitions[defined].statements if defined in module.definitions else ()


def _no_code(entry: str, module: Module | None) -> LineageError:
    name, _, defined = entry.partition(":")
    return LineageError(
        f"no code at the entry point {entry}: "
        + (f"no module {name}" if module is None else f"{module.path} does not define {defined}"),
        needed="package.module:function, for code that exists",
        fix="correct the entry point in the stage kind or engine kind that names it"
        if module is None
        else f"grep -nE '^(def|class) ' {module.path}  # and correct the entry point in the kind that names it",
    )


def _computed(module: Module, line: int) -> LineageError:
    return LineageError(
        f"{module.path}:{line} imports a module by a computed name, which no code version can follow",
        needed="a constant name, or @chosen_by_params on the function, whose stage then names what it chooses",
        fix=f"sed -n {line}p {module.path}  # write the name of the module there, or mark the function",
    )
