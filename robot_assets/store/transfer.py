"""Objects on their way between cache and remote. Only what is missing travels, and only what is whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from robot_assets import progress
from robot_assets.errors import ObjectCorrupt, ObjectMissing
from robot_assets.store.batch import Batch, batch_into
from robot_assets.store.cache import Cache
from robot_assets.store.copying import hash_file
from robot_assets.store.failures import explained
from robot_assets.store.remote import THREADS, Remote

_BATCH = 512
"""Objects per batch of a fetch: what a killed fetch has to fetch again, at most."""


def fetch(cache: Cache, remote: Remote, oids: Sequence[str]) -> None:
    """Bring objects from the remote into the cache; none enters whose bytes are not its hash.

    Raises:
        ObjectMissing: The remote lacks one.
        ObjectCorrupt: One is damaged on the remote.
        StoreError: The remote cannot be reached, or the disk is full.
    """
    for at in range(0, len(oids), _BATCH):
        portion = oids[at : at + _BATCH]
        with batch_into(cache) as batch:
            arrivals = _together(partial(_receive, cache, remote, batch), portion)
            for done, _ in enumerate(arrivals, start=1):
                progress.report("fetching", at + done, len(oids))


def send(cache: Cache, remote: Remote, oids: Sequence[str]) -> int:
    """Bring objects to the remote where it lacks them or has them cut short; return how many travelled.

    Raises:
        ObjectCorrupt: One is damaged in the cache: it does not travel.
        StoreError: The remote cannot be reached or written to.
    """
    present = remote.sizes(oids)
    missing = [oid for oid in oids if present.get(oid) != os.path.getsize(cache.path(oid))]
    for done, _ in enumerate(_together(partial(_send_one, cache, remote), missing), start=1):
        progress.report("pushing", done, len(missing))
    return len(missing)


def _receive(cache: Cache, remote: Remote, batch: Batch, oid: str) -> None:
    temporary = batch.temporary()
    try:
        remote.download(oid, temporary)
    except FileNotFoundError:
        raise ObjectMissing(
            f"neither {cache.root} nor {remote.name} has the object {oid}",
            needed=f"the object at {cache.path(oid)} or {remote.where(oid)}",
            fix="push it from a machine that has it, or make the artifact again",
        ) from None
    with explained("reading back", cache.root):
        arrived = hash_file(temporary)
    if arrived != oid.removesuffix(".dir"):
        raise ObjectCorrupt(
            f"the bytes at {remote.where(oid)} are not what their hash says: they hash to {arrived}",
            needed=f"an object whose md5 is {oid.removesuffix('.dir')}",
            fix="remove that object from the remote and push it again from a machine that has a good one",
        )
    batch.adopt(oid, temporary)


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


def _together(move: Callable[[str], None], oids: Sequence[str]) -> Iterator[None]:
    """Move objects on several threads; the first failure stops those that have not begun."""
    with ThreadPoolExecutor(THREADS) as pool:
        try:
            yield from pool.map(move, oids)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
