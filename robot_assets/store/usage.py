"""Disk usage of a cache: its objects, reservations and copies, and which artifacts the objects belong to."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from robot_assets.core.errors import StoreError
from robot_assets.store.artifact import is_directory
from robot_assets.store.cache import OBJECTS, Cache
from robot_assets.store.pins import last_uses
from robot_assets.store.tree import parse_tree

CHECKOUTS = "opened"
STAGING_PREFIX = "laying-out-"
"""Prefix of the staging folder of a checkout, followed by the digest."""
COPIES_SUFFIX = ".copies"
"""Suffix of the file beside a checkout with the bytes of its copies, made where the file system refused links."""
BATCHES = "batches"
EVICTED_PREFIX = "evicted-"
"""Prefix of evicted checkouts in ``opened`` and evicted objects in ``batches`` that are about to be removed."""
RESERVATIONS = "promised"
CORRUPT = "corrupt"
_BLOCK = 4096
_OBJECT_NAME = re.compile(r"[0-9a-f]{32}(\.dir)?")


def on_disk(size_bytes: int) -> int:
    """Disk usage of a file of this size: whole blocks, which matters for thousands of small labels."""
    return -(-size_bytes // _BLOCK) * _BLOCK


@dataclass(frozen=True)
class StoredObject:
    """An object of a cache."""

    oid: str
    size_bytes: int
    written_ns: int

    @property
    def disk_bytes(self) -> int:
        """Its disk usage."""
        return on_disk(self.size_bytes)


def stored_objects(cache: Cache) -> dict[str, StoredObject]:
    """Every object of the cache, by oid."""
    found: dict[str, StoredObject] = {}
    for prefix in _names(f"{cache.root}/{OBJECTS}"):
        for entry in _entries(f"{cache.root}/{OBJECTS}/{prefix}"):
            oid = prefix + entry.name
            with suppress(FileNotFoundError):
                if _OBJECT_NAME.fullmatch(oid):
                    facts = entry.stat(follow_symlinks=False)
                    found[oid] = StoredObject(oid, facts.st_size, facts.st_mtime_ns)
    return found


def overhead_bytes(cache: Cache) -> int:
    """Disk usage beside the objects: corrupt and evicted objects, and checkouts that are copies."""
    copies = sum(_number(entry.path) for entry in _entries(f"{cache.root}/{CHECKOUTS}") if _is_count(entry.name))
    evicted = [entry for entry in _entries(f"{cache.root}/{BATCHES}") if entry.name.startswith(EVICTED_PREFIX)]
    useless = 0
    for entry in [*_entries(f"{cache.root}/{CORRUPT}"), *evicted]:
        with suppress(FileNotFoundError):
            useless += on_disk(entry.stat().st_size)
    return copies + useless


def reserved_bytes(cache: Cache) -> int:
    """Bytes that live processes have reserved. Reservations of killed processes are removed."""
    return sum(_live_reservation(entry.path) for entry in _entries(f"{cache.root}/{RESERVATIONS}"))


def effective_last_uses(cache: Cache, objects: dict[str, StoredObject]) -> dict[str, int]:
    """Time of last use of each artifact; of one without a recorded use, the time its listing was written."""
    recorded = last_uses(cache)
    listings = {oid: item.written_ns for oid, item in objects.items() if is_directory(oid)}
    checkouts = {name: 0 for name in _names(f"{cache.root}/{CHECKOUTS}") if _OBJECT_NAME.fullmatch(name)}
    return {**checkouts, **listings, **recorded}


def members_of(cache: Cache, digest: str) -> frozenset[str] | None:
    """The objects of an artifact; None when its listing is absent or damaged."""
    if not is_directory(digest):
        return frozenset([digest])
    try:
        payload = Path(cache.path(digest)).read_bytes()
        return frozenset([digest, *parse_tree(payload, digest).digests])
    except (FileNotFoundError, StoreError):
        return None


def _live_reservation(path: str) -> int:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        Path(path).unlink(missing_ok=True)
    except BlockingIOError:
        return _number(path)
    finally:
        os.close(handle)
    return 0


def _is_count(name: str) -> bool:
    return name.endswith(COPIES_SUFFIX)


def _number(path: str) -> int:
    try:
        return int(Path(path).read_bytes() or b"0")
    except (FileNotFoundError, ValueError):
        return 0


def _entries(folder: str) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as listing:
            yield from listing
    except (FileNotFoundError, NotADirectoryError):
        return


def _names(folder: str) -> list[str]:
    return [entry.name for entry in _entries(folder)]
