"""Walks an untrusted source tree: follows no links, and checks every name."""

from __future__ import annotations

import os
import shlex
import unicodedata
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from robot_assets.core.errors import DataError
from robot_assets.core.label_issues import CAUSE, LabelIssue, printable
from robot_assets.data.dvc_links import refuse_dvc_links
from robot_assets.data.images import FOREIGN_SUFFIXES, SUFFIXES, foreign_image

MAX_DEPTH = 32
EMPTY_FOLDER = "an empty folder"
NOTICE_NAMES = ("NOTICE", "NOTICE.txt", "NOTICE.md", "LICENSE", "LICENSE.txt", "LICENSE.md", "COPYING")
_LINK = "a symlink"
_LEFTOVERS = frozenset(
    ("__macosx", "@eadir", "desktop.ini", "thumbs.db", "ehthumbs.db", "$recycle.bin", "system volume information")
)
"""What macOS, Windows and a Synology NAS leave in folders and archives, in lower case."""
_CACHE_SUFFIX = ".cache"
"""Ultralytics writes labels.cache beside the labels that it read."""
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")


@dataclass
class Tree:
    """Regular files of a source, by relative path ("20250114/r2/a.jpg"), sorted; and the issues found.

    Attributes:
        files: Path of each file, by its relative path.
        issues: Items that are not read: symlinks, unusable names, foreign image formats.
        root: The folder of the source.
    """

    files: dict[str, Path] = field(default_factory=dict)
    issues: list[LabelIssue] = field(default_factory=list)
    root: Path = field(default_factory=Path)

    def images(self) -> list[str]:
        """Paths with the suffix of an image that can be imported."""
        return self.with_suffix(*SUFFIXES)

    def with_suffix(self, *suffixes: str) -> list[str]:
        """Paths with one of these suffixes, which are in lower case and begin with a dot."""
        return sorted(name for suffix in suffixes for name in self._by_suffix.get(suffix, ()))

    def without_suffix(self, *suffixes: str) -> list[str]:
        """Paths with another suffix or none."""
        return sorted(name for suffix, names in self._by_suffix.items() if suffix not in suffixes for name in names)

    @cached_property
    def _by_suffix(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name in self.files:
            found.setdefault(suffix_of(name), []).append(name)
        return found

    @cached_property
    def folders(self) -> dict[str, list[str]]:
        """Names of the files of each folder that has files; "" is the top. Computed once: do not change it."""
        folders: dict[str, list[str]] = {}
        for name in self.files:
            folder, _, base = name.rpartition("/")
            folders.setdefault(folder, []).append(base)
        return folders


def suffix_of(name: str) -> str:
    """Suffix of a path in lower case, with its dot; empty when it has none. Faster than ``PurePath.suffix``."""
    base = name[name.rfind("/") + 1 :]
    dot = base.rfind(".")
    return base[dot:].lower() if dot > 0 else ""


def walk(source: Path) -> Tree:
    """List the regular files below ``source``; hidden files and leftovers of operating systems are ignored.

    Anything else that is not a regular file is an issue.

    Raises:
        DataError: ``source`` is not a folder, is a symlink, or is empty.
    """
    if source.is_symlink() or not source.is_dir():
        raise _not_a_folder(source)
    tree = Tree(root=source)
    _walk(source, "", tree)
    if not tree.files and not tree.issues:
        raise DataError(
            f"{printable(str(source))} is an empty folder",
            needed="images with their labels",
            fix="check the path, or copy the data",
        )
    refuse_dvc_links(source, [source / issue.place for issue in tree.issues if issue.found == _LINK])
    tree.files = dict(sorted(tree.files.items()))
    tree.issues += [foreign_image(name, source) for name in tree.with_suffix(*FOREIGN_SUFFIXES)]
    return tree


def _not_a_folder(source: Path) -> DataError:
    state, fix = "not a folder", "check the path"
    if source.is_symlink():
        state, fix = "a symlink", f"use {shlex.quote(str(source.resolve()))}"
    elif source.suffix.lower() in _ARCHIVES and source.is_file():
        state = "an archive"
        fix = "extract it, and use the folder that results"
        if source.suffix.lower() == ".zip":
            folder = shlex.quote(str(source.with_suffix("")))
            fix = f"unzip {shlex.quote(str(source))} -d {folder}   # then import {folder}"
    elif source.is_file():
        state, fix = "a file, not a folder", f"use its folder: {shlex.quote(str(source.parent))}"
    return DataError(f"{printable(str(source))} is {state}", needed="the folder of the images", fix=fix)


def _walk(folder: Path | str, below: str, tree: Tree) -> None:
    """Recurse with ``scandir``: ``os.walk`` does not report empty folders nor folders that it cannot read."""
    with os.scandir(folder) as listing:
        entries = sorted((entry for entry in listing if not _is_ignored(entry.name)), key=lambda e: e.name)
    if below.count("/") >= MAX_DEPTH:
        fix = f"move it to a depth of at most {MAX_DEPTH}"
        tree.issues.append(LabelIssue(printable(below), f"a folder nested more than {MAX_DEPTH} deep", fix))
        return
    if not entries and below:
        tree.issues.append(LabelIssue(printable(below), EMPTY_FOLDER, "copy its images, or remove the folder", CAUSE))
    for entry in entries:
        name = f"{below}/{entry.name}" if below else entry.name
        fault = _fault(entry)
        if fault:
            tree.issues.append(LabelIssue(printable(name), *fault))
        elif entry.is_dir(follow_symlinks=False):
            _walk(entry.path, name, tree)
        else:
            tree.files[name] = Path(entry.path)


def _is_ignored(name: str) -> bool:
    return name.startswith(".") or name.endswith(_CACHE_SUFFIX) or name.lower() in _LEFTOVERS


def _fault(entry: os.DirEntry[str]) -> tuple[str, str] | None:
    if not entry.name.isprintable():
        return _fault_of_name(entry.name)
    if entry.is_symlink():
        return _LINK, "replace it by the file or folder that it points to"
    if not entry.is_file(follow_symlinks=False) and not entry.is_dir(follow_symlinks=False):
        return "neither a file nor a folder", "remove it"
    return None


def _fault_of_name(name: str) -> tuple[str, str]:
    """What makes a name unprintable: bytes of another encoding, or a character that a terminal obeys or hides."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return "a name that is not UTF-8", "rename it (convmv -f latin1 -t utf8 --notest)"
    character = next(c for c in name if not c.isprintable())
    kind = unicodedata.category(character)
    described = {"Cc": "control characters", "Cf": "invisible characters", "Zs": "an unusual kind of space"}
    label = unicodedata.name(character, "")
    code = f"U+{ord(character):04X}" + (f" {label}" if label else "")
    return f"a name with {described.get(kind, 'unprintable characters')} ({code})", "rename it"


def notice_of(source: Path) -> bytes:
    """Text of the notice and licence files at the top of a source, which are copied to everything derived from it."""
    texts = []
    for name in NOTICE_NAMES:
        path = source / name
        if path.is_file() and not path.is_symlink():
            texts.append(path.read_bytes())
    return b"\n\n".join(texts)
