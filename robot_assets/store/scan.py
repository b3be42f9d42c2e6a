"""Lists the files of an artifact with the facts (size, timestamps, inode, mode) that a change would alter."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from robot_assets.core.errors import StoreError

_NOT_IN_DVC = {".git", ".hg", ".dvc", ".dvcignore"}
"""Names that ``dvc`` skips in a directory, or refuses: with them our digest would differ from dvc's."""
_facts = attrgetter("st_size", "st_mtime_ns", "st_ctime_ns", "st_ino", "st_mode")


class Scanned(NamedTuple):
    """A file with its facts. ``relpath`` is empty for an artifact that is one file."""

    relpath: str
    path: str
    size_bytes: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    mode: int


def scan(path: Path) -> list[Scanned]:
    """List the files of the artifact at ``path`` with their current facts, in no particular order.

    Raises:
        StoreError: The path does not exist, a directory has no file, or it has an entry that an artifact cannot
            contain: a symlink, a device or socket, a name that is not UTF-8, or a folder that ``dvc`` skips.
    """
    try:
        found = path.stat()
        if stat.S_ISREG(found.st_mode):
            return [_scanned("", str(path), found)]
        if not stat.S_ISDIR(found.st_mode):
            raise _refused(str(path), "is not a regular file or a directory", "a file or a directory")
        files = list(_walk(str(path), ""))
    except FileNotFoundError as error:
        raise _refused(
            str(error.filename or path), "does not exist", "a file or a directory", "check the path"
        ) from None
    except OSError as error:
        raise _refused(str(error.filename or path), f"cannot be read: {error.strerror}", "a readable file") from None
    if not files:
        raise _refused(str(path), "is a directory without any file", "at least one file", "write its files first")
    return files


def _walk(folder: str, prefix: str) -> Iterator[Scanned]:
    """Yield the files below ``folder``. ``scandir`` gives the kind of an entry without a system call."""
    with os.scandir(folder) as listing:
        for entry in listing:
            name = entry.name
            if name in _NOT_IN_DVC or not name.isascii():
                _check_name(entry)
            if entry.is_file(follow_symlinks=False):
                yield _scanned(prefix + name, entry.path, entry.stat(follow_symlinks=False))
            elif entry.is_dir(follow_symlinks=False):
                yield from _walk(entry.path, f"{prefix}{name}/")
            elif entry.is_symlink():
                raise _refused(entry.path, "is a symlink", "regular files only", "replace the link by the file itself")
            else:
                raise _refused(entry.path, "is a device, pipe or socket", "regular files only")


def _check_name(entry: os.DirEntry[str]) -> None:
    if not entry.name.isascii():
        try:
            entry.name.encode("utf-8")
        except UnicodeEncodeError:
            raise _refused(
                ascii(os.fsencode(entry.path)),
                "has a name that is not UTF-8",
                "names in UTF-8",
                "rename it, for example with convmv -f latin1 -t utf8 --notest FILE",
            ) from None
    if entry.name in _NOT_IN_DVC:
        raise _refused(entry.path, "is a file or folder that dvc skips", "data files only")


def _scanned(relpath: str, path: str, found: os.stat_result) -> Scanned:
    return Scanned(relpath, path, *_facts(found))


def _refused(path: str, what: str, needed: str, fix: str = "move it out of the artifact") -> StoreError:
    return StoreError(f"{path} {what}", needed=needed, fix=f"{fix}, then add again")
