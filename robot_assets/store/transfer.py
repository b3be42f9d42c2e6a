"""Transfers objects between cache and remote: only missing ones, verified before they are published."""

from __future__ import annotations

import os
import shlex
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
from robot_assets.store.eviction import space_reserved
from robot_assets.store.os_errors import explaining_os_errors
from robot_assets.store.remote import THREADS, Remote
from robot_assets.store.usage import on_disk

_BATCH = 512
"""Objects per batch of a fetch: a killed fetch repeats at most this many."""
_PART_BYTES = 8 << 20
"""Bytes per request, boto3's default: a broken connection repeats at most this many. All threads together keep 128 MiB
in memory; s3fs would keep ten parts of 50 MiB for each object, and repeat all of them."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def fetch(cache: Cache, remote: Remote, oids: Sequence[str]) -> None:
    """Download objects from the remote into the cache; each is verified before it is added.

    Raises:
        ObjectMissing: The remote lacks one.
        ObjectCorrupt: One is damaged on the remote.
        StoreError: The remote cannot be reached, or the disk is full.
    """
    sizes = remote.sizes(oids)
    for oid in oids:
        if oid not in sizes:
            raise _missing(cache, remote, oid)
    disk_bytes = _disk_bytes(sizes)
    with explaining_os_errors("reserving space", cache.root), space_reserved(cache, remote, disk_bytes) as arrived:
        for at in range(0, len(oids), _BATCH):
            portion = {oid: sizes[oid] for oid in oids[at : at + _BATCH]}
            with batch_into(cache) as batch:
                _download_all(cache, remote, batch, portion, at, len(oids))
            arrived(_disk_bytes(portion))


def send(cache: Cache, remote: Remote, oids: Sequence[str]) -> int:
    """Upload objects that the remote lacks or has truncated; return how many.

    Raises:
        ObjectMissing: Neither cache nor remote has one.
        ObjectCorrupt: One is damaged in the cache; it is not uploaded.
        StoreError: The remote cannot be reached or written to.
    """
    present = remote.sizes(oids)
    missing = [oid for oid in oids if _is_needed(cache, remote, oid, present.get(oid))]
    for done, _ in enumerate(_map_threaded(partial(_upload, cache, remote), missing), start=1):
        progress.report("pushing", done, len(missing))
    return len(missing)


def _is_needed(cache: Cache, remote: Remote, oid: str, size_there: int | None) -> bool:
    """Whether an object has to be uploaded. One that the remote has may have been evicted from the cache."""
    try:
        return size_there != os.path.getsize(cache.path(oid))
    except FileNotFoundError:
        if size_there is None:
            raise _missing(cache, remote, oid) from None
        return False


@dataclass
class _Download:
    """An object whose parts arrive in any order.

    Attributes:
        oid: Its hash.
        temporary: The file that the parts are written to.
        parts_left: Number of parts that have not arrived.
    """

    oid: str
    temporary: str
    parts_left: int
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count_part(self) -> bool:
        """Count a part that has arrived; return whether it was the last."""
        with self.lock:
            self.parts_left -= 1
            return self.parts_left == 0


def _download_all(
    cache: Cache, remote: Remote, batch: Batch, sizes: Mapping[str, int], already: int, total: int
) -> None:
    def download(part: tuple[_Download, int, int]) -> bool:
        target, start, end = part
        _download_part(cache, remote, target, start, end, sizes[target.oid])
        is_complete = target.count_part()
        if is_complete:
            _verify_and_stage(cache, remote, batch, target)
        return is_complete

    done = already
    for is_complete in _map_threaded(download, list(_parts(remote, batch, sizes))):
        done += is_complete
        progress.report("fetching", done, total)


def _parts(remote: Remote, batch: Batch, sizes: Mapping[str, int]) -> Iterator[tuple[_Download, int, int]]:
    """The parts to request, ordered by object: the first objects are complete before the last ones start."""
    for oid, size_bytes in sizes.items():
        starts = range(0, max(1, size_bytes), _PART_BYTES if remote.has_ranges else max(1, size_bytes))
        target = _Download(oid, batch.temporary(), len(starts))
        for start in starts:
            yield target, start, min(start + starts.step, size_bytes)


def _download_part(cache: Cache, remote: Remote, target: _Download, start: int, end: int, size_bytes: int) -> None:
    try:
        if (start, end) == (0, size_bytes):  # s3fs itself resumes an interrupted download this short
            remote.download(target.oid, target.temporary)
        else:
            _write(target.temporary, start, remote.read(target.oid, start, end))
    except FileNotFoundError:  # removed since the sizes were listed
        raise _missing(cache, remote, target.oid) from None


def _write(path: str, start: int, payload: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        rest = memoryview(payload)
        while rest:
            written = os.pwrite(handle, rest, start)
            start, rest = start + written, rest[written:]
    finally:
        os.close(handle)


def _verify_and_stage(cache: Cache, remote: Remote, batch: Batch, target: _Download) -> None:
    oid = target.oid
    with explaining_os_errors("reading back", cache.root):
        found = hash_file(target.temporary)
    if found != oid.removesuffix(".dir"):
        raise ObjectCorrupt(
            f"the bytes at {remote.where(oid)} do not match their hash: their md5 is {found}",
            needed=f"an object with md5 {oid.removesuffix('.dir')}",
            fix=f"{_removal(remote.where(oid))}   # then push it again from a machine with an intact copy",
        )
    batch.adopt(oid, target.temporary)


def _missing(cache: Cache, remote: Remote, oid: str) -> ObjectMissing:
    return ObjectMissing(
        f"neither {cache.root} nor {remote.name} has the object {oid}",
        needed=f"the object at {cache.path(oid)} or {remote.where(oid)}",
        fix="push it from a machine that has it, or rebuild the artifact",
    )


def _upload(cache: Cache, remote: Remote, oid: str) -> None:
    path = cache.path(oid)
    with explaining_os_errors("reading", cache.root):
        found = hash_file(path)
    if found != oid.removesuffix(".dir"):
        raise ObjectCorrupt(
            f"the bytes at {path} do not match their hash (their md5 is {found}); not pushed",
            needed=f"an object with md5 {oid.removesuffix('.dir')}",
            fix=f"rm -f {shlex.quote(path)}   # then add the artifact again from its source, and push again",
        )
    remote.upload(path, oid)


def _removal(where: str) -> str:
    """The command that removes an object of a remote."""
    if where.startswith(("s3://", "s3a://")):
        return f"aws s3 rm {shlex.quote(where)}"
    return f"rm -f {shlex.quote(where.removeprefix('file://'))}" if "://" not in where else f"remove {where}"


def _disk_bytes(sizes: Mapping[str, int]) -> int:
    return sum(map(on_disk, sizes.values()))


def _map_threaded(work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """Yield ``work`` of each item, in order, on several threads; the first failure cancels those not started."""
    with ThreadPoolExecutor(THREADS) as pool:
        try:
            yield from pool.map(work, items)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
