"""From the names in source files to nodes: Python's rules of imports, without importing anything.

A *node* is something that can be part of a code version: ``pkg.mod:name`` is a definition, ``pkg.mod`` stands for what
runs when the module is imported, ``pkg.mod:*`` for everything in it.
"""

from __future__ import annotations

from collections.abc import Iterator

from robot_assets.lineage.code.files import OUR_PACKAGE, Files
from robot_assets.lineage.code.records import Definition, Import, Module, Reference

_OUR_ERRORS = f"{OUR_PACKAGE}.core.errors:RobotAssetsError"
_NAMESPACES = frozenset({"globals", "exec", "eval"})
_MODULE_ATTRIBUTES = frozenset({"__name__", "__file__", "__doc__", "__package__", "__path__", "__spec__"})


class Resolver:
    """Resolves names in some packages; for one thread at a time.

    Args:
        files: Their source.
    """

    def __init__(self, files: Files) -> None:
        self._files = files
        self._found: dict[tuple[str, tuple[str, ...]], tuple[str, ...]] = {}
        self._errors: dict[str, bool] = {}

    def refer(self, reference: Reference, module: Module) -> Iterator[str]:
        """The nodes that a reference in ``module`` may mean; none for a name of a library or a built-in."""
        if reference.module is not None:
            yield from self.look_up(reference.module, reference.chain)
            if _opens_namespace(reference):
                yield f"{module.name}:*"
            return
        head, *rest = reference.chain
        if head in module.definitions or head in module.imported:
            yield from self.look_up(module.name, reference.chain)
        elif head in _NAMESPACES:
            yield f"{module.name}:*"
        elif module.is_package and self._files.find(f"{module.name}.{head}"):
            yield from self.look_up(f"{module.name}.{head}", tuple(rest))

    def look_up(self, module: str, chain: tuple[str, ...]) -> tuple[str, ...]:
        """The nodes that an attribute of a module may mean, through re-exports; the whole module if that is unclear."""
        key = (module, chain)
        if key not in self._found:
            self._found[key] = ()  # where re-exports run in a circle
            self._found[key] = tuple(self._attribute(module, chain))
        return self._found[key]

    def _attribute(self, name: str, chain: tuple[str, ...]) -> Iterator[str]:
        module = self._files.find(name)
        if module is None:
            return
        if not chain or chain[0] == "*":
            yield f"{name}:*"
            return
        head, rest = chain[0], chain[1:]
        if head in module.definitions or head in module.imported:
            yield from (f"{name}:{head}" for _ in range(head in module.definitions))
            for one in module.imported.get(head, ()):
                yield from self._through(one, rest, module)
        elif self._files.find(f"{name}.{head}"):
            yield from self.look_up(f"{name}.{head}", rest)
        else:
            yield name if head in _MODULE_ATTRIBUTES else f"{name}:*"

    def _through(self, one: Import, attributes: tuple[str, ...], module: Module) -> Iterator[str]:
        """What a name that ``module`` imports means, followed by attributes."""
        if one.module == module.name and one.name is not None:  # ``from . import name`` in a package
            yield from self.look_up(f"{one.module}.{one.name}", attributes)
            return
        for reference in one.references(attributes):
            yield from self.refer(reference, module)

    def executed(self, one: Import) -> Iterator[str]:
        """The nodes of the modules that an import statement runs."""
        if not self._files.has(one.module):
            return
        yield from self.packages(one.module)
        module = self._files.find(one.module)
        if module is None:
            return
        yield module.name
        if one.name == "*":
            yield f"{module.name}:*"
        elif one.name is not None and not (one.name in module.definitions or one.name in module.imported):
            submodule = self._files.find(f"{module.name}.{one.name}")
            yield from [submodule.name] if submodule is not None else []

    def packages(self, module: str) -> Iterator[str]:
        """The packages that are imported before ``module`` is."""
        parts = module.split(".")
        for length in range(1, len(parts)):
            package = self._files.find(".".join(parts[:length]))
            yield from [package.name] if package is not None else []

    def definition(self, node: str) -> tuple[Definition, Module] | None:
        """The definition of a node, and its module; None where a node is no definition."""
        name, _, defined = node.partition(":")
        module = self._files.find(name)
        if module is None or defined not in module.definitions:
            return None
        return module.definitions[defined], module

    def is_choice(self, node: str) -> bool:
        """Whether a node is marked with ``@chosen_by_params``."""
        found = self.definition(node)
        return found is not None and found[0].is_choice

    def is_error(self, reference: Reference, module: Module) -> bool:
        """Whether a reference in ``module`` means one of our own error classes."""
        nodes = [*self.refer(reference, module)]
        return bool(nodes) and all(self._is_error_class(node) for node in nodes)

    def _is_error_class(self, node: str) -> bool:
        if node not in self._errors:
            self._errors[node] = False  # where classes are their own ancestors
            self._errors[node] = node == _OUR_ERRORS or any(self.is_error(*base) for base in self._bases(node))
        return self._errors[node]

    def runs_at_import(self, node: str) -> bool:
        """Whether a definition may have an effect when its module is imported: by a decorator, or by a base class."""
        found = self.definition(node)
        return found is not None and (found[0].is_registered or self._is_hooked(node))

    def _is_hooked(self, node: str) -> bool:
        """Whether a base class of ours runs code when this class is defined."""
        seen = {node}
        pending = [node]
        while pending:
            for base in self._bases(pending.pop()):
                for above in {*self.refer(*base)} - seen:
                    found = self.definition(above)
                    if found is not None and found[0].hooks_subclasses:
                        return True
                    seen.add(above)
                    pending.append(above)
        return False

    def _bases(self, node: str) -> Iterator[tuple[Reference, Module]]:
        found = self.definition(node)
        if found is not None:
            yield from ((base, found[1]) for base in found[0].bases)


def _opens_namespace(reference: Reference) -> bool:
    """Whether a library's function or object gives access to all names of a module."""
    chain = reference.chain
    return (reference.module == "sys" and chain[:1] == ("modules",)) or (
        reference.module == "builtins" and chain[:1] != () and chain[0] in _NAMESPACES
    )
