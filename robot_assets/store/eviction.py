"""Evicts the least recently used objects from a cache of bounded size, if the remote has them.

Three kinds of objects stay, whatever the limit: those of pinned artifacts (``pins``), those that the remote does not
have right now in the same size, and those being added. An eviction killed at any instant leaves each object present or
absent; the checkout of an artifact is removed before the first of its objects.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from robot_assets.core.errors import StoreError
from robot_assets.store.cache import Cache
from robot_assets.store.locking import file_lock
from robot_assets.store.pins import USES, eviction_lock, is_pinned, last_uses
from robot_assets.store.remote import Remote
from robot_assets.store.usage import (
    BATCHES,
    CHECKOUTS,
    COPIES_SUFFIX,
    CORRUPT,
    EVICTED_PREFIX,
    RESERVATIONS,
    STAGING_PREFIX,
    StoredObject,
    effective_last_uses,
    members_of,
    on_disk,
    overhead_bytes,
    reserved_bytes,
    stored_objects,
)

_SPARE = 10
"""An eviction frees one tenth of the limit more than needed: else every fetch into a full cache would scan it."""

_warned: set[Path] = set()
_logger = logging.getLogger(__name__)


@contextmanager
def space_reserved(cache: Cache, remote: Remote | None, coming_bytes: int) -> Iterator[Callable[[int], None]]:
    """Free and reserve disk space for the objects that the block adds.

    Yields:
        A function to call with the number of bytes that have become objects; it reduces the reservation.
    """
    if cache.limit_bytes is None or remote is None or not coming_bytes:
        yield lambda arrived_bytes: None
        return
    handle, path = _reserve(cache, remote, coming_bytes)
    left_bytes = coming_bytes

    def arrived(arrived_bytes: int) -> None:
        nonlocal left_bytes
        left_bytes = max(0, left_bytes - arrived_bytes)
        _write_number(handle, left_bytes)

    try:
        evict_to_limit(cache, remote)
        yield arrived
    finally:
        Path(path).unlink(missing_ok=True)
        os.close(handle)


def evict_to_limit(cache: Cache, remote: Remote, coming_bytes: int = 0) -> None:
    """Remove objects until the cache, reservations included, fits its limit and its disk.

    Objects that cannot be removed stay, with a warning: a limit that is too small does not fail the work.

    Args:
        cache: The cache to evict from.
        remote: The remote that evicted objects can be fetched from again.
        coming_bytes: Bytes about to be added that are not reserved yet.
    """
    if cache.limit_bytes is None or not cache.root.exists():
        return
    if _excess(cache, stored_objects(cache), coming_bytes).bytes <= 0:
        return
    with file_lock(cache.root / "evicting.lock"):
        objects = stored_objects(cache)  # another process may have evicted some while we waited
        excess = _excess(cache, objects, coming_bytes)
        if excess.bytes <= 0:
            return
        eviction = _Eviction(cache, remote, objects)
        obstacle = "the rest is in use by processes on this machine, or not on the remote yet"
        try:
            eviction.run(excess.bytes + cache.limit_bytes // _SPARE)
        except StoreError as error:
            obstacle = f"the remote cannot be asked what it has: {error.found}"
        except OSError as error:
            obstacle = f"removing the next one failed: {error}"
    if eviction.freed_bytes < excess.bytes:
        _warn_once(cache, excess, eviction.freed_bytes, obstacle)


@dataclass(frozen=True)
class _Excess:
    """By how much a cache with its reservations exceeds its limit, or its disk if that is smaller."""

    kept_bytes: int
    reserved_bytes: int
    limit_bytes: int

    @property
    def bytes(self) -> int:
        return self.kept_bytes + self.reserved_bytes - self.limit_bytes


def _excess(cache: Cache, objects: dict[str, StoredObject], coming_bytes: int) -> _Excess:
    kept = sum(item.disk_bytes for item in objects.values()) + overhead_bytes(cache)
    reserved = reserved_bytes(cache) + coming_bytes
    disk = os.statvfs(cache.root)
    return _Excess(kept, reserved, min(cache.limit_bytes or 0, kept + disk.f_bavail * disk.f_frsize))


@dataclass
class _Eviction:
    """One eviction. Other processes may fetch and open artifacts meanwhile; none evicts."""

    cache: Cache
    remote: Remote
    objects: dict[str, StoredObject]
    freed_bytes: int = 0
    _members: dict[str, frozenset[str] | None] = field(default_factory=dict)

    def run(self, goal_bytes: int) -> None:
        """Free ``goal_bytes``, or as many as possible. Raises StoreError when the remote cannot be reached."""
        with suppress(OSError):  # exists since the first object was added
            (self.cache.root / BATCHES).mkdir(exist_ok=True)
        self._clear_leftovers()
        queue = self._oldest_first()
        asked_bytes = goal_bytes
        while queue and self.freed_bytes < goal_bytes:
            some, queue = _split(queue, asked_bytes - self.freed_bytes)
            known = self.remote.sizes([item.oid for item in some])
            self._remove([item for item in some if known.get(item.oid) == item.size_bytes])
            asked_bytes *= 4  # where few may be removed, ask the remote about more at once, not more often

    def _oldest_first(self) -> list[StoredObject]:
        """The objects of no pinned artifact, ordered by the last use of any artifact they belong to."""
        used = {oid: item.written_ns for oid, item in self.objects.items()}
        pinned: set[str] = set()
        for digest, used_ns in effective_last_uses(self.cache, self.objects).items():
            members = self._members_of(digest) or ()
            if is_pinned(self.cache, digest):
                pinned.update(members)
            for oid in members:
                if oid in used:
                    used[oid] = max(used[oid], used_ns)
        free = [item for oid, item in self.objects.items() if oid not in pinned]
        return sorted(free, key=lambda item: (used[item.oid], item.oid))

    def _remove(self, some: Sequence[StoredObject]) -> None:
        with eviction_lock(self.cache):
            artifacts = {*self._members, *last_uses(self.cache)}
            pinned = {digest for digest in artifacts if is_pinned(self.cache, digest)}
            needed = set[str]().union(*(self._members_of(digest) or () for digest in pinned))
            evicted = {item.oid: item for item in some if item.oid not in needed}
            for digest in artifacts - pinned:
                members = self._members_of(digest)
                if members is None or not evicted.keys().isdisjoint(members):
                    self.freed_bytes += _evict_checkout(self.cache, digest)
            for oid in evicted:
                with suppress(FileNotFoundError):
                    os.rename(self.cache.path(oid), self.cache.root / BATCHES / f"{EVICTED_PREFIX}{oid}")
            for digest in evicted.keys() & (artifacts - pinned):
                Path(self.cache.root, USES, digest).unlink(missing_ok=True)
        # Outside the lock: freeing blocks takes a disk a while, and others may open artifacts meanwhile.
        self._clear_evicted()

    def _clear_evicted(self) -> None:
        for name in (CHECKOUTS, BATCHES):  # in this order: checkouts are links to the objects
            folder = self.cache.root / name
            for path in folder.iterdir() if folder.is_dir() else ():
                if path.name.startswith(EVICTED_PREFIX):
                    self.freed_bytes += _freed_by(path) if name == BATCHES else 0
                    _remove_tree(path)

    def _members_of(self, digest: str) -> frozenset[str] | None:
        if self._members.get(digest) is None:
            self._members[digest] = members_of(self.cache, digest)
        return self._members[digest]

    def _clear_leftovers(self) -> None:
        """Remove corrupt objects, and the partial checkouts and evictions of killed processes."""
        corrupt = self.cache.root / CORRUPT
        for path in corrupt.iterdir() if corrupt.is_dir() else ():
            self.freed_bytes += path.stat().st_size
            path.unlink()
        self._clear_evicted()
        checkouts = self.cache.root / CHECKOUTS
        with eviction_lock(self.cache):
            for path in checkouts.iterdir() if checkouts.is_dir() else ():
                if _is_abandoned(self.cache, path.name):
                    _remove_tree(path)


def _is_abandoned(cache: Cache, name: str) -> bool:
    is_staging = name.startswith(STAGING_PREFIX)
    return is_staging and not is_pinned(cache, name.removeprefix(STAGING_PREFIX).partition("-")[0])


def _evict_checkout(cache: Cache, digest: str) -> int:
    """Move the checkout of an artifact aside; return the bytes of its copies."""
    folder = cache.root / CHECKOUTS
    (folder / f"{digest}.facts").unlink(missing_ok=True)  # first: a checkout without them is incomplete
    copies = folder / f"{digest}{COPIES_SUFFIX}"
    freed = int(copies.read_bytes() or b"0") if copies.exists() else 0
    if (folder / digest).exists():
        os.rename(folder / digest, folder / f"{EVICTED_PREFIX}{digest}")
    copies.unlink(missing_ok=True)
    (folder / f"{digest}.lock").unlink(missing_ok=True)
    return freed


def _freed_by(path: Path) -> int:
    """Bytes of disk that removing a file frees: none while it has another link."""
    facts = path.stat()
    return on_disk(facts.st_size) if facts.st_nlink == 1 else 0


def _remove_tree(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _split(queue: Sequence[StoredObject], wanted_bytes: int) -> tuple[list[StoredObject], list[StoredObject]]:
    """The first objects that together take at least ``wanted_bytes``, and the remaining ones."""
    total_bytes = 0
    for number, item in enumerate(queue, start=1):
        total_bytes += item.disk_bytes
        if total_bytes >= wanted_bytes:
            return list(queue[:number]), list(queue[number:])
    return list(queue), []


def _reserve(cache: Cache, remote: Remote, coming_bytes: int) -> tuple[int, str]:
    """Reserve space by a locked file with the number of bytes; the lock ends with the process."""
    folder = cache.root / RESERVATIONS
    try:
        return _locked_file(folder, coming_bytes)
    except OSError:  # the disk is too full even for the reservation
        evict_to_limit(cache, remote, coming_bytes)
        return _locked_file(folder, coming_bytes)


def _locked_file(folder: Path, number: int) -> tuple[int, str]:
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        handle, path = tempfile.mkstemp(dir=folder)
        fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:  # before we had the lock, another process may have removed it as abandoned
            break
        os.close(handle)
    try:
        _write_number(handle, number)
    except OSError:
        os.unlink(path)
        os.close(handle)
        raise
    return handle, path


def _write_number(handle: int, number: int) -> None:
    """Overwrite the number in place, which works on a full disk too."""
    os.pwrite(handle, b"%020d" % number, 0)


def _warn_once(cache: Cache, excess: _Excess, freed_bytes: int, obstacle: str) -> None:
    """Warn once per process: the work goes on, and every step would repeat the warning."""
    if cache.root in _warned:
        return
    _warned.add(cache.root)
    _logger.warning(
        "the cache %s takes %.1f MiB and its limit is %.1f MiB; %.1f MiB were removed and %s. "
        "The work goes on. To raise the limit, set execution.cache.size in params.yaml, or ROBOT_ASSETS_CACHE_LIMIT.",
        cache.root,
        (excess.kept_bytes + excess.reserved_bytes) / 2**20,
        excess.limit_bytes / 2**20,
        freed_bytes / 2**20,
        obstacle,
    )
