"""The code version of a stage or a gate: a digest over every definition that it can reach, and over its parameters."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

from robot_assets.lineage.code.files import OUR_PACKAGE, Files, plugin_folders, required_folder
from robot_assets.lineage.code.reach import Reach
from robot_assets.lineage.errors import LineageError

CODE_RULE = 2
"""Number of the rule by which code versions are computed; a record keeps it beside the version."""

Entries: TypeAlias = Sequence[str] | str
"""One entry point, or several: ``package.module:function``, ``package.module:Class``, or a whole ``package.module``."""

_latest: dict[tuple[tuple[str, Path], ...], Reach] = {}
"""The last look at the files of some packages, by their folders."""


class Code:
    """The code of this system as the files were at one look; ask a new one to look again.

    A file is read when it is first asked for and kept for the life of the object, so that all versions that one
    object gives are of one moment. What was read is shared between objects for as long as the files do not change.

    Args:
        roots: Folders of the packages whose code counts, by name; by default ``robot_assets`` and the packages of
            installed plug-ins. The package of an entry point always counts.
    """

    def __init__(self, roots: Mapping[str, Path] | None = None) -> None:
        self._given = roots
        self._reaches: dict[tuple[tuple[str, Path], ...], Reach] = {}
        self._digests: dict[tuple[str, ...], str] = {}

    def version(self, entries: Entries, params: Mapping[str, Any]) -> str:
        """The version of what the code at ``entries`` does with ``params``.

        Args:
            entries: Entry points.
            params: The slice of ``params.yaml`` that the code reads, JSON-serializable.

        Returns:
            32 hexadecimal digits.

        Raises:
            LineageError: An entry point does not exist, or its code cannot be followed.
        """
        key = _normal(entries)
        if key not in self._digests:
            self._digests[key] = _md5([key, self.definitions(key)])
        return _md5([self._digests[key], params])

    def definitions(self, entries: Entries) -> dict[str, str]:
        """Digest of every definition that counts, sorted by name.

        Names are ``package.module:name``; ``package.module`` alone is for its module-level statements with an effect.
        """
        key = _normal(entries)
        reach = self._reach(key)
        found = ((node, reach.digest(node)) for node in sorted(reach.nodes(key)))
        return {node: digest for node, digest in found if digest}

    def modules(self, entries: Entries) -> tuple[str, ...]:
        """Names of the modules with a definition that counts, sorted."""
        return tuple(sorted({_module(node) for node in self.definitions(entries)}))

    def covers(self, entries: Entries, module: str, qualname: str) -> bool:
        """Whether a function is part of the version.

        Args:
            entries: Entry points.
            module: The module that defines the function.
            qualname: ``co_qualname`` of its code, such as ``Class.method`` or ``outer.<locals>.inner``.
        """
        key = _normal(entries)
        reach = self._reach(key)
        name = qualname.partition(".")[0]
        holders = reach.holders(module, name) if name.startswith("<") else {f"{module}:{name}"}
        return bool(holders) and holders <= reach.nodes(key)

    def has(self, entries: Entries, module: str) -> bool:
        """Whether a module, existing or not, is in one of the packages whose code counts."""
        return self._reach(_normal(entries)).files.has(module)

    def _reach(self, entries: tuple[str, ...]) -> Reach:
        roots = (
            {OUR_PACKAGE: required_folder(OUR_PACKAGE), **plugin_folders()} if self._given is None else {**self._given}
        )
        for name in {entry.partition(":")[0].partition(".")[0] for entry in entries} - roots.keys():
            roots[name] = required_folder(name)
        key = tuple(sorted(roots.items()))
        if key not in self._reaches:
            self._reaches[key] = _current(key)
        return self._reaches[key]


@cache
def running_code() -> Code:
    """The code that this process runs: the files as they were when the process first asked."""
    return Code()


def load(entries: Entries) -> None:
    """Import every module of the code at ``entries``, and make sure that it is what ``running_code`` has promised.

    A process that lives long may have asked for its versions before it imported the modules. What is imported
    here is compared with what was promised, so that a record never names code that did not run.

    Raises:
        LineageError: A file was edited between the two.
    """
    code = running_code()
    promised = code.definitions(entries)
    fresh = {name for name in code.modules(entries) if name not in sys.modules}
    for name in sorted(fresh):
        try:
            import_module(name)
        except ModuleNotFoundError as error:
            # A machine without a library (torch on a Jetson) cannot run the modules that need it.
            if code.has(entries, error.name or name):
                raise
    now = Code().definitions(entries)
    different = {node for node in promised.keys() | now.keys() if promised.get(node) != now.get(node)}
    if changed := sorted(fresh & {_module(node) for node in different}):
        raise LineageError(
            f"{', '.join(changed)} was edited after this process had looked at it",
            needed="one and the same code from the start of the process to the import",
            fix="run it again: a new process takes the code as it is now",
        )


def _current(roots: tuple[tuple[str, Path], ...]) -> Reach:
    """The last look at some packages, unless a file has changed since."""
    known = _latest.get(roots)
    if known is None or not known.files.is_current():
        known = _latest[roots] = Reach(Files(dict(roots)))
    return known


def _normal(entries: Entries) -> tuple[str, ...]:
    return (entries,) if isinstance(entries, str) else tuple(sorted(set(entries)))


def _module(node: str) -> str:
    return node.partition(":")[0]


_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode


def _md5(value: Any) -> str:
    return hashlib.md5(_encode(value).encode(), usedforsecurity=False).hexdigest()
