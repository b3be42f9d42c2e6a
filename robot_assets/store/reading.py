"""Reads and verifies objects of the cache; a damaged one is quarantined and fetched again."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from robot_assets.core.errors import ObjectCorrupt, ObjectMissing, StoreError
from robot_assets.store.cache import Cache
from robot_assets.store.copying import copy_hashed
from robot_assets.store.remote import Remote
from robot_assets.store.transfer import fetch
from robot_assets.store.tree import Tree, parse_tree

_ATTEMPTS = 5


def read_tree(cache: Cache, remote: Remote | None, digest: str) -> Tree:
    """Return the directory listing ``digest``, from the cache or else from the remote.

    Raises:
        ObjectMissing: Neither has it.
        ObjectCorrupt: It is damaged and no intact copy exists.
        StoreError: It is not a listing, or an unsafe one.
    """
    for _ in range(2):
        with open_object(cache, remote, digest) as stream:
            payload = stream.read()
            inode = os.fstat(stream.fileno()).st_ino
        if hashlib.md5(payload, usedforsecurity=False).hexdigest() + ".dir" == digest:
            return parse_tree(payload, digest)
        replace_damaged(cache, remote, digest, inode)
    raise _corrupt(cache, digest, Path(cache.path(digest)))


def ensure(cache: Cache, remote: Remote | None, oids: Iterable[str]) -> None:
    """Fetch those of ``oids`` that the cache lacks.

    Raises:
        ObjectMissing: The remote lacks one too, or there is no remote.
    """
    missing = cache.missing(oids)
    if not missing:
        return
    if remote is None:
        raise ObjectMissing(
            f"the store lacks {len(missing)} of the requested objects, the first is {missing[0]}",
            needed=f"the object at {cache.path(missing[0])}; there is no remote to fetch it from",
            fix="rebuild the artifact, or copy the object from a store that has it",
        )
    fetch(cache, remote, missing)


def open_object(cache: Cache, remote: Remote | None, oid: str) -> IO[bytes]:
    """Open an object of the cache; if it is missing or was just evicted, it is fetched.

    Raises:
        ObjectMissing: The remote lacks it too, or there is no remote.
    """
    for _ in range(_ATTEMPTS):
        try:
            return open(cache.path(oid), "rb", buffering=0)
        except FileNotFoundError:
            ensure(cache, remote, [oid])
    raise StoreError(
        f"the object {oid} was fetched {_ATTEMPTS} times and removed each time before it could be read",
        needed=f"no other program that removes files in {cache.root}",
        fix=f"find the program that removes files below {cache.root}, then run the same command again",
    )


def copy_out(cache: Cache, remote: Remote | None, oid: str, destination: str) -> None:
    """Copy an object to the existing file ``destination`` and verify the copy.

    Raises:
        ObjectCorrupt: It is damaged and no intact copy exists.
    """
    for _ in range(2):
        with open_object(cache, remote, oid) as stream:
            arrived = copy_hashed(stream.fileno(), destination)
            inode = os.fstat(stream.fileno()).st_ino
        if arrived == oid:
            return
        replace_damaged(cache, remote, oid, inode)
    raise _corrupt(cache, oid, Path(cache.path(oid)))


def replace_damaged(cache: Cache, remote: Remote | None, oid: str, inode: int) -> None:
    """Quarantine a damaged object and fetch it again.

    Raises:
        ObjectCorrupt: No intact copy can be fetched.
    """
    quarantined = cache.quarantine(oid, inode)
    if cache.has(oid):
        return  # another process has replaced it
    if remote is None:
        raise _corrupt(cache, oid, quarantined)
    try:
        fetch(cache, remote, [oid])
    except ObjectMissing:
        raise _corrupt(cache, oid, quarantined) from None


def _corrupt(cache: Cache, oid: str, path: Path) -> ObjectCorrupt:
    return ObjectCorrupt(
        f"the bytes of object {oid} in {cache.root} do not match their hash (now at {path})",
        needed=f"an object with md5 {oid.removesuffix('.dir')}, in the cache or on a remote",
        fix="add the artifact again from its source or rebuild it, then retry; and check the disk",
    )
