"""Walks an untrusted source tree: follows no links, and checks every name."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from robot_assets.core.errors import DataError
from robot_assets.data.images import FOREIGN_SUFFIXES, SUFFIXES
from robot_assets.data.label_issues import LabelIssue, printable

MAX_DEPTH = 32
NOTICE_NAMES = ("NOTICE", "NOTICE.txt", "NOTICE.md", "LICENSE", "LICENSE.txt", "LICENSE.md", "COPYING")


@dataclass
class Tree:
    """Regular files of a source, by relative path ("20250114/r2/a.jpg"), sorted; and the issues found."""

    files: dict[str, Path] = field(default_factory=dict)
    issues: list[LabelIssue] = field(default_factory=list)

    def images(self) -> list[str]:
        """Paths with the suffix of a JPEG or PNG."""
        return [name for name in self.files if PurePosixPath(name).suffix.lower() in SUFFIXES]


def walk(source: Path) -> Tree:
    """List the regular files below ``source``; hidden files are ignored, anything else is an issue.

    Raises:
        DataError: ``source`` is not a folder, is a symlink, or is empty.
    """
    if source.is_symlink() or not source.is_dir():
        raise DataError(
            f"{source} is " + ("a symlink" if source.is_symlink() else "not a folder"),
            needed="the folder of the images",
            fix=f"use {source.resolve()}" if source.is_symlink() else "check the path",
        )
    tree = Tree()
    _walk(source, "", tree)
    if not tree.files and not tree.issues:
        raise DataError(
            f"{source} is an empty folder",
            needed="images with their labels",
            fix="check the path, or copy the data",
        )
    tree.files = dict(sorted(tree.files.items()))
    tree.issues += [
        LabelIssue(name, "not a JPEG or PNG image", "convert it to JPEG or PNG, or remove it")
        for name in tree.files
        if PurePosixPath(name).suffix.lower() in FOREIGN_SUFFIXES
    ]
    return tree


def _walk(folder: Path, below: str, tree: Tree) -> None:
    """Recurse with ``scandir``: ``os.walk`` does not report empty folders nor folders that it cannot read."""
    with os.scandir(folder) as listing:
        entries = sorted((entry for entry in listing if not entry.name.startswith(".")), key=lambda e: e.name)
    if below.count("/") >= MAX_DEPTH:
        fix = f"move it to a depth of at most {MAX_DEPTH}"
        tree.issues.append(LabelIssue(printable(below), f"a folder nested more than {MAX_DEPTH} deep", fix))
        return
    if not entries and below:
        tree.issues.append(LabelIssue(printable(below), "an empty folder", "copy its images, or remove the folder"))
    for entry in entries:
        name = f"{below}/{entry.name}" if below else entry.name
        fault = _fault(entry)
        if fault:
            tree.issues.append(LabelIssue(printable(name), *fault))
        elif entry.is_dir(follow_symlinks=False):
            _walk(Path(entry.path), name, tree)
        else:
            tree.files[name] = Path(entry.path)


def _fault(entry: os.DirEntry[str]) -> tuple[str, str] | None:
    if not entry.name.isprintable():
        try:
            entry.name.encode("utf-8")
        except UnicodeEncodeError:
            return "a name that is not UTF-8", "rename it (convmv -f latin1 -t utf8 --notest)"
        return "a name with control characters", "rename it"
    if entry.is_symlink():
        return "a symlink", "replace it by the file or folder that it points to"
    if not entry.is_file(follow_symlinks=False) and not entry.is_dir(follow_symlinks=False):
        return "neither a file nor a folder", "remove it"
    return None


def notice_of(source: Path) -> bytes:
    """Text of the notice and licence files at the top of a source, which are copied to everything derived from it."""
    texts = []
    for name in NOTICE_NAMES:
        path = source / name
        if path.is_file() and not path.is_symlink():
            texts.append(path.read_bytes())
    return b"\n\n".join(texts)
