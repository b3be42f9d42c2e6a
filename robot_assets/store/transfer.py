"""Objects on their way between cache and remote. Only what is missing travels, and only what is whole."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from robot_assets.core import progress
from robot_assets.core.errors import ObjectCorrupt, ObjectMissing
from robot_assets.store.batch import Batch, batch_into
from robot_assets.store.cache import Cache
from robot_assets.store.copying import hash_file
from robot_assets.store.eviction import promised
from robot_assets.store.os_errors import explained
from robot_assets.store.remote import THREADS, Remote
from robot_assets.store.usage import on_disk

_BATCH = 512
"""Objects per batch of a fetch: what a killed fetch has to fetch again, at most."""
_PIECE = 8 << 20
"""Bytes per request, as many as boto3 takes: what a connection that breaks has to bring again. All threads together
hold 128 MiB in memory; s3fs would hold ten pieces of 50 MiB for each object, and bring all of them again."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def fetch(cache: Cache, remote: Remote, oids: Sequence[str]) -> None:
    """Bring objects from the remote into the cache; none enters whose bytes are not its hash.

    Raises:
        ObjectMissing: The remote lacks one.
        ObjectCorrupt: One is damaged on the remote.
        StoreError: The remote cannot be reached, or the disk is full.
    """
    sizes = remote.sizes(oids)
    for oid in oids:
        if oid not in sizes:
            raise _missing(cache, remote, oid)
    with explained("making room", cache.root), promised(cache, remote, _disk_bytes(sizes)) as arrived:
        for at in range(0, len(oids), _BATCH):
            portion = {oid: sizes[oid] for oid in oids[at : at + _BATCH]}
            with batch_into(cache) as batch:
                _receive_all(cache, remote, batch, portion, at, len(oids))
            arrived(_disk_bytes(portion))


def send(cache: Cache, remote: Remote, oids: Sequence[str]) -> int:
    """Bring objects to the remote where it lacks them or has them cut short; return how many travelled.

    Raises:
        ObjectMissing: Neither has one.
        ObjectCorrupt: One is damaged in the cache: it does not travel.
        StoreError: The remote cannot be reached or written to.
    """
    present = remote.sizes(oids)
    missing = [oid for oid in oids if _is_needed(cache, remote, oid, present.get(oid))]
    for done, _ in enumerate(_together(partial(_send_one, cache, remote), missing), start=1):
        progress.report("pushing", done, len(missing))
    return len(missing)


def _is_needed(cache: Cache, remote: Remote, oid: str, size_there: int | None) -> bool:
    """Whether the remote has to get an object. One that it has may have made room in the cache."""
    try:
        return size_there != os.path.getsize(cache.path(oid))
    except FileNotFoundError:
        if size_there is None:
            raise _missing(cache, remote, oid) from None
        return False


@dataclass
class _Arrival:
    """An object of which pieces arrive, in any order.

    Attributes:
        oid: Its hash.
        temporary: The file that they are written to.
        pieces: How many are still to come.
    """

    oid: str
    temporary: str
    pieces: int
    lock: threading.Lock = field(default_factory=threading.Lock)

    def is_whole(self) -> bool:
        """Count one piece more; say whether it was the last."""
        with self.lock:
            self.pieces -= 1
            return self.pieces == 0


def _receive_all(
    cache: Cache, remote: Remote, batch: Batch, sizes: Mapping[str, int], already: int, total: int
) -> None:
    def receive(piece: tuple[_Arrival, int, int]) -> bool:
        arrival, start, end = piece
        _receive(cache, remote, arrival, start, end, sizes[arrival.oid])
        is_whole = arrival.is_whole()
        if is_whole:
            _enter(cache, remote, batch, arrival)
        return is_whole

    done = already
    for is_whole in _together(receive, list(_pieces(remote, batch, sizes))):
        done += is_whole
        progress.report("fetching", done, total)


def _pieces(remote: Remote, batch: Batch, sizes: Mapping[str, int]) -> Iterator[tuple[_Arrival, int, int]]:
    """What to ask for, in the order of the objects: the first are whole while the last have not begun."""
    for oid, size_bytes in sizes.items():
        starts = range(0, max(1, size_bytes), _PIECE if remote.has_ranges else max(1, size_bytes))
        arrival = _Arrival(oid, batch.temporary(), len(starts))
        for start in starts:
            yield arrival, start, min(start + starts.step, size_bytes)


def _receive(cache: Cache, remote: Remote, arrival: _Arrival, start: int, end: int, size_bytes: int) -> None:
    try:
        if (start, end) == (0, size_bytes):  # s3fs goes on by itself where such a short one broke off
            remote.download(arrival.oid, arrival.temporary)
        else:
            _write(arrival.temporary, start, remote.read(arrival.oid, start, end))
    except FileNotFoundError:  # it was there a moment ago
        raise _missing(cache, remote, arrival.oid) from None


def _write(path: str, start: int, payload: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        rest = memoryview(payload)
        while rest:
            written = os.pwrite(handle, rest, start)
            start, rest = start + written, rest[written:]
    finally:
        os.close(handle)


def _enter(cache: Cache, remote: Remote, batch: Batch, arrival: _Arrival) -> None:
    oid = arrival.oid
    with explained("reading back", cache.root):
        arrived = hash_file(arrival.temporary)
    if arrived != oid.removesuffix(".dir"):
        raise ObjectCorrupt(
            f"the bytes at {remote.where(oid)} are not what their hash says: they hash to {arrived}",
            needed=f"an object whose md5 is {oid.removesuffix('.dir')}",
            fix="remove that object from the remote and push it again from a machine that has a good one",
        )
    batch.adopt(oid, arrival.temporary)


def _missing(cache: Cache, remote: Remote, oid: str) -> ObjectMissing:
    return ObjectMissing(
        f"neither {cache.root} nor {remote.name} has the object {oid}",
        needed=f"the object at {cache.path(oid)} or {remote.where(oid)}",
        fix="push it from a machine that has it, or make the artifact again",
    )


def _send_one(cache: Cache, remote: Remote, oid: str) -> None:
    path = cache.path(oid)
    with explained("reading", cache.root):
        found = hash_file(path)
    if found != oid.removesuffix(".dir"):
        raise ObjectCorrupt(
            f"the bytes at {path} are not what their hash says (they hash to {found}); not pushed",
            needed=f"an object whose md5 is {oid.removesuffix('.dir')}",
            fix=f"remove {path}, add the artifact again from its source, then push again",
        )
    remote.upload(path, oid)


def _disk_bytes(sizes: Mapping[str, int]) -> int:
    return sum(map(on_disk, sizes.values()))


def _together(move: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """Move objects on several threads; the first failure stops those that have not begun."""
    with ThreadPoolExecutor(THREADS) as pool:
        try:
            yield from pool.map(move, items)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
