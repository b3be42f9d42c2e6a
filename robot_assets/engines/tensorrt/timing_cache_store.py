"""Timing caches in the artifact store: each a version of its own, found by a ref from any node.

The store is an argument and not imported: an edit of the store leaves the code versions of engines alone.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from robot_assets.core.errors import RobotAssetsError, StoreError
from robot_assets.core.progress import report

if TYPE_CHECKING:
    from robot_assets.store import Store

SIZE_MAX_BYTES = 256 << 20
"""A larger cache is not read; usual ones have a few megabytes."""

_LATEST = "latest"


class StoredTimingCaches:
    """The timing caches of a project: see :class:`robot_assets.engines.tensorrt.timing_cache.TimingCaches`.

    Args:
        store: The store of the project.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def find(self, device: str, engine: str | None) -> bytes | None:
        """The cache that ``engine`` was built with on ``device``, or the latest of ``device``; None without one.

        The store compares its bytes with the hash that the ref points at before they are read.
        """
        try:
            digest = self._store.get_ref(_name(device, engine or _LATEST))
            if digest is None:
                return None
            path = self._store.open(digest)
            return path.read_bytes() if path.is_file() and path.stat().st_size <= SIZE_MAX_BYTES else None
        except (RobotAssetsError, OSError) as error:
            report("timing cache", 0, 1, f"not read, measuring afresh: {error}")
            return None

    def keep(self, device: str, engine: str, content: bytes) -> None:
        """Keep ``content`` as the cache of ``engine`` and as the latest of ``device``; never fails a build."""
        try:
            with tempfile.TemporaryDirectory() as scratch:
                path = Path(scratch, "timing.cache")
                path.write_bytes(content)
                digest = self._store.add(path).digest
            for owner in (engine, _LATEST):
                self._store.set_ref(_name(device, owner), digest)
        except (StoreError, OSError) as error:
            report("timing cache", 0, 1, f"not kept, the next build measures afresh: {error}")


def _name(device: str, owner: str) -> str:
    return f"timing-caches/{device}/{owner}"
