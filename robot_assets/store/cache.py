"""The local object cache, in DVC's layout: where objects lie, and which of them are there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

OBJECTS = "files/md5"
READ_ONLY = 0o444
_LISTED_FROM = 2_000
_LISTED_AT_MOST = 8
"""Give up listing a cache that has grown to this many times what is wanted."""


def object_name(oid: str) -> str:
    """Path of an object below the root of a cache or remote, as DVC 3 lays it out."""
    return f"{OBJECTS}/{oid[:2]}/{oid[2:]}"


@dataclass(frozen=True)
class Cache:
    """A local directory with objects, and beside them what makes the store quick and safe.

    Attributes:
        root: ``files/md5`` holds the objects, ``batches`` what is on its way in, ``state`` known hashes,
            ``receipts`` what adds came to, ``opened`` artifacts laid out for reading, ``corrupt`` objects that
            were found damaged, ``uses`` who needs which artifact, ``promised`` how many bytes are about to come.
        limit_bytes: What it may hold of what is on the remote too; None for any amount.
    """

    root: Path
    limit_bytes: int | None = None

    def path(self, oid: str) -> str:
        """Where the object lies, or would lie."""
        return f"{self.root}/{OBJECTS}/{oid[:2]}/{oid[2:]}"

    def has(self, oid: str, size_bytes: int | None = None) -> bool:
        """Whether the object is there, and of that size when one is given. Does not read it."""
        try:
            found = os.stat(self.path(oid))
        except FileNotFoundError:
            return False
        return size_bytes is None or found.st_size == size_bytes

    def missing(self, oids: Iterable[str]) -> list[str]:
        """Those of ``oids`` that are not there."""
        wanted = list(oids)
        listed = self._listed(wanted)
        if listed is not None:
            return [oid for oid in wanted if oid not in listed]
        return [oid for oid in wanted if not os.path.exists(self.path(oid))]

    def _listed(self, wanted: list[str]) -> set[str] | None:
        """Every object of the cache, when listing its folders is quicker than asking for each object."""
        if len(wanted) < _LISTED_FROM:
            return None
        present: set[str] = set()
        for prefix in {oid[:2] for oid in wanted}:
            with contextlib.suppress(FileNotFoundError):
                present.update(prefix + name for name in os.listdir(f"{self.root}/{OBJECTS}/{prefix}"))
            if len(present) > _LISTED_AT_MOST * len(wanted):
                return None
        return present

    def folders(self) -> list[tuple[str, int, int]]:
        """Name, inode and ctime in nanoseconds of every folder of objects.

        Whoever removes, adds or renames an object changes the ctime of its folder, and cannot set it back.
        """
        with os.scandir(f"{self.root}/{OBJECTS}") as listing:
            return [(entry.name, entry.inode(), entry.stat().st_ctime_ns) for entry in listing]

    def set_aside(self, oid: str, inode: int) -> Path:
        """Move a damaged object out of the way, unless another writer has replaced it by now."""
        aside = self.root / "corrupt" / oid
        aside.parent.mkdir(parents=True, exist_ok=True)
        if os.path.exists(self.path(oid)) and os.stat(self.path(oid)).st_ino == inode:
            os.replace(self.path(oid), aside)
        return aside
