"""Which artifacts the cache has whole: asked of thousands at once, and every half minute.

What was whole is remembered while no folder of objects has changed since. Whoever takes an object away changes its
folder, and cannot hide it.
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
"""Two changes of a folder within one tick of the file system's clock look like one; no tick is as long as this."""


@dataclass
class _Known:
    """Artifacts that are whole for as long as the folders of objects are as they were."""

    folders: list[tuple[str, int, int]]
    digests: set[str] = field(default_factory=set)


_known: dict[Path, _Known] = {}


def whole_in_cache(root: Path, digests: Iterable[str]) -> set[str]:
    """Those of ``digests`` of which the cache at ``root`` has every object. Reads no file's bytes.

    A directory whose listing is damaged is not whole.

    Raises:
        StoreError: One of them is no digest.
    """
    now_ns = time.time_ns()
    known = _Known(_folders(root))
    before = _known.get(root)
    if before is not None and before.folders == known.folders:
        known = before
    wanted = set(digests)
    found = {digest for digest in wanted - known.digests if _is_whole(root, digest)}
    if all(ctime_ns < now_ns - _AT_REST_NS for _, _, ctime_ns in known.folders):
        known.digests |= found
        _known[root] = known
    return (wanted & known.digests) | found


def _folders(root: Path) -> list[tuple[str, int, int]]:
    try:
        return Cache(root).folders()
    except FileNotFoundError:
        return []


def _is_whole(root: Path, digest: str) -> bool:
    try:
        return Store(root).has(digest)
    except (ObjectCorrupt, ObjectMissing):  # it has been set aside, or has just made room for others
        return False
