"""Timing caches in the artifact store: each a version of its own, found by name from any node.

No engine's code reaches this module, nor the store: where measurements are kept changes no engine.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from robot_assets.core.errors import RobotAssetsError, StoreError
from robot_assets.core.progress import report
from robot_assets.store import Store

SIZE_MAX_BYTES = 256 << 20
"""A larger one is not read: timing caches have a few megabytes."""

_LATEST = "latest"


@dataclass(frozen=True)
class StoredTimingCaches:
    """The timing caches of a project: see :class:`robot_assets.engines.tensorrt.timing_cache.TimingCaches`."""

    store: Store

    def find(self, device: str, engine: str | None) -> bytes | None:
        """The cache that ``engine`` was built with on ``device``, or its latest; None when it cannot be had.

        The store compares its bytes with the hash that the name stands for before they are read.
        """
        try:
            digest = self.store.bound(_name(device, engine or _LATEST))
            if digest is None:
                return None
            path = self.store.open(digest)
            return path.read_bytes() if path.is_file() and path.stat().st_size <= SIZE_MAX_BYTES else None
        except (RobotAssetsError, OSError) as error:
            report("timing cache", 0, 1, f"not to be had, measuring afresh: {error}")
            return None

    def keep(self, device: str, engine: str, content: bytes) -> None:
        """Keep ``content`` as what ``engine`` was built with, and as the latest of ``device``; never fails a build."""
        try:
            with tempfile.TemporaryDirectory() as scratch:
                path = Path(scratch, "timing.cache")
                path.write_bytes(content)
                digest = self.store.add(path).digest
            for owner in (engine, _LATEST):
                self.store.bind(_name(device, owner), digest)
        except (StoreError, OSError) as error:
            report("timing cache", 0, 1, f"not kept, the next build measures afresh: {error}")


def _name(device: str, owner: str) -> str:
    return f"timing-caches/{device}/{owner}"
