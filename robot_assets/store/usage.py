"""What lies in a cache, how much of the disk it takes, and what of it is needed."""

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

OPENED = "opened"
LAYING_OUT = "laying-out-"
"""Followed by the digest, the name of the folder in which an artifact is being laid out."""
COPIES_SUFFIX = ".copies"
"""Beside an artifact that was laid out: the bytes that it takes where links to the objects were refused."""
BATCHES = "batches"
EVICTED = "evicted-"
"""Before the name of what is about to be removed, in ``opened`` and ``batches``."""
PROMISES = "promised"
CORRUPT = "corrupt"
_BLOCK = 4096
_OBJECT_NAME = re.compile(r"[0-9a-f]{32}(\.dir)?")


def on_disk(size_bytes: int) -> int:
    """What a file of this size takes of a disk; thousands of small labels take more than their bytes."""
    return -(-size_bytes // _BLOCK) * _BLOCK


@dataclass(frozen=True)
class Stored:
    """An object of a cache."""

    oid: str
    size_bytes: int
    written_ns: int

    @property
    def disk_bytes(self) -> int:
        """What it takes of the disk."""
        return on_disk(self.size_bytes)


def stored(cache: Cache) -> dict[str, Stored]:
    """Every object of the cache."""
    found: dict[str, Stored] = {}
    for prefix in _names(f"{cache.root}/{OBJECTS}"):
        for entry in _entries(f"{cache.root}/{OBJECTS}/{prefix}"):
            oid = prefix + entry.name
            with suppress(FileNotFoundError):
                if _OBJECT_NAME.fullmatch(oid):
                    facts = entry.stat(follow_symlinks=False)
                    found[oid] = Stored(oid, facts.st_size, facts.st_mtime_ns)
    return found


def beside_bytes(cache: Cache) -> int:
    """What else takes the disk: damaged objects, evicted ones, and artifacts that were laid out as copies."""
    copies = sum(_number(entry.path) for entry in _entries(f"{cache.root}/{OPENED}") if _is_count(entry.name))
    evicted = [entry for entry in _entries(f"{cache.root}/{BATCHES}") if entry.name.startswith(EVICTED)]
    useless = 0
    for entry in [*_entries(f"{cache.root}/{CORRUPT}"), *evicted]:
        with suppress(FileNotFoundError):
            useless += on_disk(entry.stat().st_size)
    return copies + useless


def promised_bytes(cache: Cache) -> int:
    """What processes that are alive are about to bring. The promise of one that was killed is void, and removed."""
    return sum(_kept_promise(entry.path) for entry in _entries(f"{cache.root}/{PROMISES}"))


def uses(cache: Cache, objects: dict[str, Stored]) -> dict[str, int]:
    """When each artifact was used last. Of one that nobody noted, its listing tells when it came."""
    noted = last_uses(cache)
    listings = {oid: item.written_ns for oid, item in objects.items() if is_directory(oid)}
    laid_out = {name: 0 for name in _names(f"{cache.root}/{OPENED}") if _OBJECT_NAME.fullmatch(name)}
    return {**laid_out, **listings, **noted}


def contents(cache: Cache, digest: str) -> frozenset[str] | None:
    """The objects of an artifact; None when its listing is not here or damaged."""
    if not is_directory(digest):
        return frozenset([digest])
    try:
        payload = Path(cache.path(digest)).read_bytes()
        return frozenset([digest, *parse_tree(payload, digest).digests])
    except (FileNotFoundError, StoreError):
        return None


def _kept_promise(path: str) -> int:
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
