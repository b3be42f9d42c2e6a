"""A cache of bounded size: what was used least recently makes room, if it can be had again.

Three things stay, whatever the limit: what a process needs (``holding``), what the remote does not have just now, in
the same size, and what is on its way in. A removal that is cut off at any instant leaves each object there or not
there; an artifact that was laid out is taken down before the first of its objects goes.
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
from robot_assets.store.pins import USES, gate, is_held, last_uses
from robot_assets.store.remote import Remote
from robot_assets.store.usage import (
    BATCHES,
    COPIES_SUFFIX,
    CORRUPT,
    EVICTED,
    LAYING_OUT,
    OPENED,
    PROMISES,
    Stored,
    beside_bytes,
    contents,
    on_disk,
    promised_bytes,
    stored,
    uses,
)

_SPARE = 10
"""Once room is made, a tenth of the limit is: else every fetch into a full cache would look through all of it."""

_said: set[Path] = set()
_logger = logging.getLogger(__name__)


@contextmanager
def promised(cache: Cache, remote: Remote | None, coming_bytes: int) -> Iterator[Callable[[int], None]]:
    """Make room for what the block brings, and count it as there until it is.

    Yields:
        To be called with the bytes that have become objects.
    """
    if cache.limit_bytes is None or remote is None or not coming_bytes:
        yield lambda arrived_bytes: None
        return
    handle, path = _promise(cache, remote, coming_bytes)
    left_bytes = coming_bytes

    def arrived(arrived_bytes: int) -> None:
        nonlocal left_bytes
        left_bytes = max(0, left_bytes - arrived_bytes)
        _write_number(handle, left_bytes)

    try:
        make_room(cache, remote)
        yield arrived
    finally:
        Path(path).unlink(missing_ok=True)
        os.close(handle)


def make_room(cache: Cache, remote: Remote, coming_bytes: int = 0) -> None:
    """Remove objects until the cache is within its limit, and its disk has room for what is promised.

    What cannot be removed is left there, and said: a limit that is too small fails nothing.

    Args:
        cache: Where.
        remote: Whence what goes can be had again.
        coming_bytes: What nobody has promised yet.
    """
    if cache.limit_bytes is None or not cache.root.exists():
        return
    if _excess(cache, stored(cache), coming_bytes).bytes <= 0:
        return
    with _alone(cache):
        objects = stored(cache)  # another process may have made room while we waited
        excess = _excess(cache, objects, coming_bytes)
        if excess.bytes <= 0:
            return
        eviction = _Eviction(cache, remote, objects)
        obstacle = "the rest is needed by processes here, or not on the remote yet"
        try:
            eviction.run(excess.bytes + cache.limit_bytes // _SPARE)
        except StoreError as error:
            obstacle = f"the remote cannot be asked what it has: {error.found}"
        except OSError as error:
            obstacle = f"the next could not be: {error}"
    if eviction.freed_bytes < excess.bytes:
        _say(cache, excess, eviction.freed_bytes, obstacle)


@dataclass(frozen=True)
class _Excess:
    """How far a cache is beyond its limit, or beyond its disk, once all that is promised is there."""

    kept_bytes: int
    promised_bytes: int
    room_bytes: int

    @property
    def bytes(self) -> int:
        return self.kept_bytes + self.promised_bytes - self.room_bytes


def _excess(cache: Cache, objects: dict[str, Stored], coming_bytes: int) -> _Excess:
    kept = sum(item.disk_bytes for item in objects.values()) + beside_bytes(cache)
    promised = promised_bytes(cache) + coming_bytes
    disk = os.statvfs(cache.root)
    return _Excess(kept, promised, min(cache.limit_bytes or 0, kept + disk.f_bavail * disk.f_frsize))


@dataclass
class _Eviction:
    """One round of making room. Others may fetch and open meanwhile; nobody else evicts."""

    cache: Cache
    remote: Remote
    objects: dict[str, Stored]
    freed_bytes: int = 0
    _contents: dict[str, frozenset[str] | None] = field(default_factory=dict)

    def run(self, goal_bytes: int) -> None:
        """Free so many bytes, or as many as may go. Raises StoreError when the remote is away."""
        with suppress(OSError):  # it is there since the first object came
            (self.cache.root / BATCHES).mkdir(exist_ok=True)
        self._clear_leftovers()
        queue = self._oldest_first()
        asked_bytes = goal_bytes
        while queue and self.freed_bytes < goal_bytes:
            some, queue = _cut(queue, asked_bytes - self.freed_bytes)
            known = self.remote.sizes([item.oid for item in some])
            self._remove([item for item in some if known.get(item.oid) == item.size_bytes])
            asked_bytes *= 4  # where little may go, rather ask for more at once than many times

    def _oldest_first(self) -> list[Stored]:
        """What nobody needs, by the last use of the artifacts that it belongs to."""
        used = {oid: item.written_ns for oid, item in self.objects.items()}
        needed: set[str] = set()
        for digest, used_ns in uses(self.cache, self.objects).items():
            members = self._contents_of(digest) or ()
            if is_held(self.cache, digest):
                needed.update(members)
            for oid in members:
                if oid in used:
                    used[oid] = max(used[oid], used_ns)
        free = [item for oid, item in self.objects.items() if oid not in needed]
        return sorted(free, key=lambda item: (used[item.oid], item.oid))

    def _remove(self, some: Sequence[Stored]) -> None:
        with gate(self.cache, alone=True):
            artifacts = {*self._contents, *last_uses(self.cache)}
            held = {digest for digest in artifacts if is_held(self.cache, digest)}
            needed = set[str]().union(*(self._contents_of(digest) or () for digest in held))
            doomed = {item.oid: item for item in some if item.oid not in needed}
            for digest in artifacts - held:
                members = self._contents_of(digest)
                if members is None or not doomed.keys().isdisjoint(members):
                    self.freed_bytes += _take_down(self.cache, digest)
            for oid in doomed:
                with suppress(FileNotFoundError):
                    os.rename(self.cache.path(oid), _aside(self.cache, oid))
            for digest in doomed.keys() & (artifacts - held):
                Path(self.cache.root, USES, digest).unlink(missing_ok=True)
        # A disk takes its time to free blocks; others may open again meanwhile.
        self._clear_evicted()

    def _clear_evicted(self) -> None:
        for name in (OPENED, BATCHES):  # in this order: what was laid out is links to the objects
            folder = self.cache.root / name
            for path in folder.iterdir() if folder.is_dir() else ():
                if path.name.startswith(EVICTED):
                    self.freed_bytes += _freed_by(path) if name == BATCHES else 0
                    _remove_tree(path)

    def _contents_of(self, digest: str) -> frozenset[str] | None:
        if self._contents.get(digest) is None:
            self._contents[digest] = contents(self.cache, digest)
        return self._contents[digest]

    def _clear_leftovers(self) -> None:
        """Remove damaged objects, and what killed processes have left half laid out or half taken down."""
        corrupt = self.cache.root / CORRUPT
        for path in corrupt.iterdir() if corrupt.is_dir() else ():
            self.freed_bytes += path.stat().st_size
            path.unlink()
        self._clear_evicted()
        opened = self.cache.root / OPENED
        with gate(self.cache, alone=True):
            for path in opened.iterdir() if opened.is_dir() else ():
                if _is_abandoned(self.cache, path.name):
                    _remove_tree(path)


def _is_abandoned(cache: Cache, name: str) -> bool:
    return name.startswith(LAYING_OUT) and not is_held(cache, name.removeprefix(LAYING_OUT).partition("-")[0])


def _aside(cache: Cache, oid: str) -> Path:
    """Where an object is moved to be removed."""
    return cache.root / BATCHES / f"{EVICTED}{oid}"


def _take_down(cache: Cache, digest: str) -> int:
    """Move an artifact that was laid out aside; return the bytes that it took beside its objects."""
    folder = cache.root / OPENED
    (folder / f"{digest}.facts").unlink(missing_ok=True)  # first: without them, what is left there counts for nothing
    copies = folder / f"{digest}{COPIES_SUFFIX}"
    freed = int(copies.read_bytes() or b"0") if copies.exists() else 0
    if (folder / digest).exists():
        os.rename(folder / digest, folder / f"{EVICTED}{digest}")
    copies.unlink(missing_ok=True)
    (folder / f"{digest}.lock").unlink(missing_ok=True)
    return freed


def _freed_by(path: Path) -> int:
    """What the disk gets back with a file: nothing while it has another name."""
    facts = path.stat()
    return on_disk(facts.st_size) if facts.st_nlink == 1 else 0


def _remove_tree(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _cut(queue: Sequence[Stored], wanted_bytes: int) -> tuple[list[Stored], list[Stored]]:
    """The first objects that come to ``wanted_bytes``, and the others."""
    total_bytes = 0
    for number, item in enumerate(queue, start=1):
        total_bytes += item.disk_bytes
        if total_bytes >= wanted_bytes:
            return list(queue[:number]), list(queue[number:])
    return list(queue), []


def _promise(cache: Cache, remote: Remote, coming_bytes: int) -> tuple[int, str]:
    """Leave word of what comes in a file with a lock, which goes with the process, however it ends."""
    folder = cache.root / PROMISES
    try:
        return _locked_file(folder, coming_bytes)
    except OSError:  # a full disk takes not even the promise
        make_room(cache, remote, coming_bytes)
        return _locked_file(folder, coming_bytes)


def _locked_file(folder: Path, number: int) -> tuple[int, str]:
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        handle, path = tempfile.mkstemp(dir=folder)
        fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:  # another process may have taken it for a void one before the lock was ours
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
    """Write over the one before, which a full disk takes too."""
    os.pwrite(handle, b"%020d" % number, 0)


@contextmanager
def _alone(cache: Cache) -> Iterator[None]:
    handle = os.open(cache.root / "evicting.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _say(cache: Cache, excess: _Excess, freed_bytes: int, obstacle: str) -> None:
    """Tell once in a process: the work goes on, and will meet the same at every step."""
    if cache.root in _said:
        return
    _said.add(cache.root)
    _logger.warning(
        "the cache %s takes %.1f MiB and its limit is %.1f MiB; %.1f MiB were removed and %s. "
        "The work goes on. A larger limit is execution.cache.size in params.yaml, or ROBOT_ASSETS_CACHE_LIMIT.",
        cache.root,
        (excess.kept_bytes + excess.promised_bytes) / 2**20,
        excess.room_bytes / 2**20,
        freed_bytes / 2**20,
        obstacle,
    )
