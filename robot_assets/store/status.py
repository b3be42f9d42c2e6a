"""Which artifacts are complete in the cache: checked for thousands at once, every half minute.

A result is cached until an object folder changes: removing an object always changes the ctime of its folder.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from robot_assets.core.errors import ObjectCorrupt, ObjectMissing
from robot_assets.store.cache import Cache
from robot_assets.store.store import Store

_AT_REST_NS = 1_000_000_000
"""Two changes of a folder within one tick of the file system's clock look like one; every tick is shorter than this."""


@dataclass
class _Known:
    """Artifacts that are complete while the object folders are unchanged."""

    folders: list[tuple[str, int, int]]
    digests: set[str] = field(default_factory=set)


_known: dict[Path, _Known] = {}


def complete_in_cache(root: Path, digests: Iterable[str]) -> set[str]:
    """Those of ``digests`` whose objects are all in the cache at ``root``. Does not read the bytes of objects.

    A directory whose listing is damaged is not complete.

    Raises:
        StoreError: One of them is malformed.
    """
    now_ns = time.time_ns()
    known = _Known(_folders(root))
    before = _known.get(root)
    if before is not None and before.folders == known.folders:
        known = before
    wanted = set(digests)
    found = {digest for digest in wanted - known.digests if _is_complete(root, digest)}
    if all(ctime_ns < now_ns - _AT_REST_NS for _, _, ctime_ns in known.folders):
        known.digests |= found
        _known[root] = known
    return (wanted & known.digests) | found


def _folders(root: Path) -> list[tuple[str, int, int]]:
    try:
        return Cache(root).folders()
    except FileNotFoundError:
        return []


def _is_complete(root: Path, digest: str) -> bool:
    try:
        return Store(root).has(digest)
    except (ObjectCorrupt, ObjectMissing):  # its listing was quarantined, or has just been evicted
        return False
