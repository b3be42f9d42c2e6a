"""Reading objects of the cache, verified: a damaged one is set aside and fetched again."""

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

_TRIES = 5


def read_tree(cache: Cache, remote: Remote | None, digest: str) -> Tree:
    """Return the directory listing ``digest``, from the cache or else from the remote.

    Raises:
        ObjectMissing: Neither has it.
        ObjectCorrupt: It is damaged and there is no good one.
        StoreError: It is no listing, or an unsafe one.
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
    """Fetch what the cache lacks.

    Raises:
        ObjectMissing: The remote lacks it too, or there is none.
    """
    missing = cache.missing(oids)
    if not missing:
        return
    if remote is None:
        raise ObjectMissing(
            f"the store lacks {len(missing)} of the objects asked for, the first is {missing[0]}",
            needed=f"the object at {cache.path(missing[0])}; there is no remote to fetch it from",
            fix="make the artifact again, or copy the object from a store that has it",
        )
    fetch(cache, remote, missing)


def open_object(cache: Cache, remote: Remote | None, oid: str) -> IO[bytes]:
    """Open an object of the cache; one that is not there, or has just made room for others, is fetched.

    Raises:
        ObjectMissing: The remote lacks it too, or there is none.
    """
    for _ in range(_TRIES):
        try:
            return open(cache.path(oid), "rb", buffering=0)
        except FileNotFoundError:
            ensure(cache, remote, [oid])
    raise StoreError(
        f"the object {oid} was fetched {_TRIES} times and each time removed before it could be read",
        needed=f"nobody who removes what lies in {cache.root}",
        fix=f"find out what else removes files below {cache.root}, then run the same command again",
    )


def copy_out(cache: Cache, remote: Remote | None, oid: str, destination: str) -> None:
    """Copy an object to the existing file ``destination`` and make sure that what arrived is what it says.

    Raises:
        ObjectCorrupt: It is damaged and there is no good one.
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
    """Set a damaged object aside and fetch it again.

    Raises:
        ObjectCorrupt: There is no good one to fetch.
    """
    aside = cache.set_aside(oid, inode)
    if cache.has(oid):
        return  # another process has put a good one there
    if remote is None:
        raise _corrupt(cache, oid, aside)
    try:
        fetch(cache, remote, [oid])
    except ObjectMissing:
        raise _corrupt(cache, oid, aside) from None


def _corrupt(cache: Cache, oid: str, aside: Path) -> ObjectCorrupt:
    return ObjectCorrupt(
        f"the bytes of object {oid} in {cache.root} are not what their hash says (now at {aside})",
        needed=f"an object whose md5 is {oid.removesuffix('.dir')}, there or on a remote",
        fix="add the artifact again from its source or make it again, then retry; and check the disk",
    )
