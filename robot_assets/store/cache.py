"""The local object cache, in DVC's layout: paths of objects, and which objects exist."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

OBJECTS = "files/md5"
READ_ONLY = 0o444
_LISTED_FROM = 2_000
"""From this number of objects on, listing the folders is faster than checking each object."""
_LISTED_AT_MOST = 8
"""Listing stops once it has found this many times the number of wanted objects."""


def object_name(oid: str) -> str:
    """Path of an object below the root of a cache or remote, as in DVC 3."""
    return f"{OBJECTS}/{oid[:2]}/{oid[2:]}"


@dataclass(frozen=True)
class Cache:
    """A local directory with objects and the store's bookkeeping.

    Attributes:
        root: ``files/md5`` has the objects, ``batches`` objects being added, ``state`` known hashes, ``receipts``
            memos of ``add``, ``opened`` read-only checkouts, ``corrupt`` objects found damaged, ``uses`` pins and
            times of last use, ``promised`` reservations of space.
        limit_bytes: Size limit for objects that the remote has too; None for no limit.
    """

    root: Path
    limit_bytes: int | None = None

    def path(self, oid: str) -> str:
        """Path of the object, whether it exists or not."""
        return f"{self.root}/{OBJECTS}/{oid[:2]}/{oid[2:]}"

    def has(self, oid: str, size_bytes: int | None = None) -> bool:
        """Whether the object exists and has the size, if one is given. Does not read it."""
        try:
            found = os.stat(self.path(oid))
        except FileNotFoundError:
            return False
        return size_bytes is None or found.st_size == size_bytes

    def folders_beginning_with(self, digits: str) -> list[str]:
        """Listings of folders in the cache whose md5 begins with two or more ``digits``."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            names = os.listdir(f"{self.root}/{OBJECTS}/{digits[:2]}")
            return sorted(digits[:2] + name for name in names if re.fullmatch(rf"{digits[2:]}[0-9a-f]*\.dir", name))
        return []

    def missing(self, oids: Iterable[str]) -> list[str]:
        """Those of ``oids`` that the cache lacks."""
        wanted = list(oids)
        listed = self._listed(wanted)
        if listed is not None:
            return [oid for oid in wanted if oid not in listed]
        return [oid for oid in wanted if not os.path.exists(self.path(oid))]

    def _listed(self, wanted: list[str]) -> set[str] | None:
        """Objects of the cache with the prefixes of ``wanted``; None when checking each object is faster."""
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
        """Name, inode and ctime in nanoseconds of every object folder.

        Removing, adding or renaming an object changes the ctime of its folder, which no process can set back.
        """
        with os.scandir(f"{self.root}/{OBJECTS}") as listing:
            return [(entry.name, entry.inode(), entry.stat().st_ctime_ns) for entry in listing]

    def quarantine(self, oid: str, inode: int) -> Path:
        """Move a damaged object to ``corrupt``, unless another writer has replaced it meanwhile."""
        quarantined = self.root / "corrupt" / oid
        quarantined.parent.mkdir(parents=True, exist_ok=True)
        if os.path.exists(self.path(oid)) and os.stat(self.path(oid)).st_ino == inode:
            os.replace(self.path(oid), quarantined)
        return quarantined
