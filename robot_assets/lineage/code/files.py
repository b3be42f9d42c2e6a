"""Source files of some packages, read at one look and never imported."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import TypeAlias

from robot_assets.lineage.code.outline import read_module
from robot_assets.lineage.code.records import Module
from robot_assets.lineage.errors import LineageError

OUR_PACKAGE = "robot_assets"
_OUR_FOLDER = Path(__file__).parents[2]
_MISSING = f"not installed in {sys.prefix}"
_PLUGIN_GROUPS = ("robot_assets.stage_kinds", "robot_assets.engine_kinds")

_Mark: TypeAlias = tuple[int, int, int]

_parsed: dict[tuple[Path, str], tuple[_Mark, Module]] = {}
"""Modules by file and name, with the mark that the file had. Shared by everything in this process."""


class Files:
    """The modules of some packages as their files were when each was first asked for.

    Args:
        roots: Folder of each top-level package.
    """

    def __init__(self, roots: Mapping[str, Path]) -> None:
        self._roots = roots
        self._modules: dict[str, Module | None] = {}
        self._marks: dict[Path, _Mark | None] = {}

    def has(self, module: str) -> bool:
        """Whether a module, existing or not, is in one of the packages."""
        return module.partition(".")[0] in self._roots

    def find(self, module: str) -> Module | None:
        """A module of the packages; None where there is no such file.

        Raises:
            LineageError: It does not parse, or is a compiled extension.
        """
        if module not in self._modules:
            self._modules[module] = self._read(module) if self.has(module) else None
        return self._modules[module]

    def is_current(self) -> bool:
        """Whether every file is still as it was, and what was missing is still missing."""
        known = [*self._marks.items()]  # another thread may be looking at more files
        return all(_mark(path) == mark for path, mark in known)

    def _read(self, name: str) -> Module | None:
        top, *rest = name.split(".")
        place = self._roots[top].joinpath(*rest)
        for path in (place / "__init__.py", place.with_name(f"{place.name}.py")) if rest else (place / "__init__.py",):
            mark = self._marks[path] = _mark(path)
            if mark is not None:
                return self._parse(path, mark, name)
        if any(place.with_name(place.name + suffix).exists() for suffix in EXTENSION_SUFFIXES):
            raise _compiled(name, place.parent)
        return None

    def _parse(self, path: Path, mark: _Mark, name: str) -> Module:
        known = _parsed.get((path, name))
        if known is None or known[0] != mark:
            known = _parsed[path, name] = (mark, _parse(path, name))
        return known[1]


def package_folder(name: str) -> Path | None:
    """The folder of a top-level package, found without importing it; None for anything but a regular package."""
    if name == OUR_PACKAGE:
        return _OUR_FOLDER
    try:
        spec = find_spec(name)
    except ValueError:  # a module that was put into sys.modules by hand
        return None
    origin = Path(spec.origin) if spec is not None and spec.origin else None
    return origin.parent if origin is not None and origin.name == "__init__.py" and origin.exists() else None


def required_folder(name: str) -> Path:
    """The folder of a top-level package that has code of a stage.

    Raises:
        LineageError: It is not installed, or its source cannot be read.
    """
    if (folder := package_folder(name)) is not None:
        return folder
    what = _what_it_is(name)
    look = f"python -c 'import {name}; print({name})'   # then move the code into a package"
    install = f"pip install -e FOLDER   # the one with the pyproject.toml of {name}; or correct its name in params.yaml"
    raise LineageError(
        f"{name} is {what}, so the code of a stage in it has no version",
        needed=f"a package {name}: a folder with an __init__.py that Python finds",
        fix=install if what == _MISSING else look,
    )


@cache
def plugin_folders() -> Mapping[str, Path]:
    """Folders of the packages whose plug-ins are installed, by name; looked for once in a process."""
    names = {point.module.partition(".")[0] for group in _PLUGIN_GROUPS for point in entry_points(group=group)}
    return {name: folder for name in sorted(names) if (folder := package_folder(name)) is not None}


def _what_it_is(name: str) -> str:
    try:
        spec = find_spec(name)
    except ValueError:
        return "a module without a file"
    if spec is None:
        return _MISSING
    if spec.origin is None:
        return "a namespace package"
    return "a compiled extension" if spec.origin.endswith(tuple(EXTENSION_SUFFIXES)) else "a file outside any package"


def _mark(path: Path) -> _Mark | None:
    """What changes when a file is written; None for a missing one."""
    try:
        facts = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return facts.st_mtime_ns, facts.st_size, facts.st_ino


def _parse(path: Path, name: str) -> Module:
    try:
        return read_module(path.read_bytes(), name, is_package=path.name == "__init__.py", path=str(path))
    except (SyntaxError, ValueError, RecursionError) as error:
        raise LineageError(
            f"{path} does not parse: {error}",
            needed="Python source",
            fix=f"python -m py_compile {path}  # and correct the line that it names",
        ) from None


def _compiled(name: str, folder: Path) -> LineageError:
    return LineageError(
        f"{name} in {folder} is a compiled extension, whose source the code version of a stage cannot read",
        needed="Python source in the package of the stage",
        fix=f"move {name} to a distribution of its own, whose version is recorded like that of any library",
    )
