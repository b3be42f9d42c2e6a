"""Hashes the files of an artifact that are not known yet, and adds to the cache the objects that it lacks."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from robot_assets.core.errors import StoreError
from robot_assets.store.add_memo import remember_digest
from robot_assets.store.batch import Batch, batch_into
from robot_assets.store.cache import Cache
from robot_assets.store.copying import CHUNK, copy_hashed, hash_handle
from robot_assets.store.os_errors import explaining_os_errors
from robot_assets.store.parallel import map_in_groups
from robot_assets.store.receiving import Written, unchanged
from robot_assets.store.scan import Scanned
from robot_assets.store.state import load_state, save_state
from robot_assets.store.tree import Tree, tree_of

if TYPE_CHECKING:
    from robot_assets.store.remote import Remote

_BATCH_FILES = 20_000
_BATCH_BYTES = 4 << 30

Reader = Callable[[Scanned, int], str]
"""Called with a file and its open handle; processes its bytes and returns their md5."""


def store_files(
    cache: Cache,
    path: Path,
    files: Sequence[Scanned],
    remote: Remote | None = None,
    written: Mapping[str, Written] = MappingProxyType({}),
) -> str:
    """Add to the cache the objects of the artifact at ``path`` that it lacks; return the digest.

    Objects are added in batches: a killed run keeps the batches that it finished.

    Raises:
        StoreError: A file changed while it was read, or the disk is full or broken.
    """
    known = load_state(cache.root / "state", path, files) | unchanged(files, written)
    absent = set(cache.missing(known.values()))
    hashes = {relpath: md5 for relpath, md5 in known.items() if md5 not in absent} if absent else known
    unread = [file for file in files if file.relpath not in hashes]
    read_ns = time.time_ns()
    with _space_for(cache, remote, unread):
        for portion in _portions(unread):
            with batch_into(cache) as batch:
                hashes |= _read_all(portion, _storing_reader(cache, batch), "adding")
    tree = _tree(files, hashes)
    if tree is not None and not cache.has(tree.digest, len(tree.payload)):
        with batch_into(cache) as batch:
            batch.write(tree.digest, tree.payload)
    digest = hashes[""] if tree is None else tree.digest
    if unread:
        _save_hashes(cache, path, files, hashes, read_ns)
    with contextlib.suppress(OSError):
        remember_digest(cache, path, files, digest, [*hashes.values(), digest], read_ns)
    return digest


@contextlib.contextmanager
def _space_for(cache: Cache, remote: Remote | None, files: Sequence[Scanned]) -> Iterator[None]:
    """Reserve space for files that have not been read yet; the cache may have some of them."""
    if cache.limit_bytes is None or remote is None:
        yield
        return
    from robot_assets.store.eviction import space_reserved
    from robot_assets.store.usage import on_disk

    with (
        explaining_os_errors("reserving space", cache.root),
        space_reserved(cache, remote, sum(on_disk(file.size_bytes) for file in files)),
    ):
        yield


def hash_files(cache: Cache, path: Path, files: Sequence[Scanned]) -> str:
    """Return the digest of the artifact at ``path`` without storing it.

    Raises:
        StoreError: As for ``store_files``.
    """
    hashes = load_state(cache.root / "state", path, files)
    unread = [file for file in files if file.relpath not in hashes]
    read_ns = time.time_ns()
    if unread:
        with explaining_os_errors("reading", path):
            hashes |= _read_all(unread, _hashing_reader, "hashing")
        _save_hashes(cache, path, files, hashes, read_ns)
    tree = _tree(files, hashes)
    return hashes[""] if tree is None else tree.digest


def _save_hashes(cache: Cache, path: Path, files: Sequence[Scanned], hashes: Mapping[str, str], read_ns: int) -> None:
    """Save the hashes for the next add. They only save time: failing to write them is not an error."""
    with contextlib.suppress(OSError):
        save_state(cache.root / "state", path, files, hashes, read_ns)


def _tree(files: Sequence[Scanned], hashes: Mapping[str, str]) -> Tree | None:
    if len(files) == 1 and not files[0].relpath:
        return None
    return tree_of(hashes.items())


def _portions(files: Sequence[Scanned]) -> Iterator[list[Scanned]]:
    """Split the files into batches of bounded number and size."""
    portion: list[Scanned] = []
    size_bytes = 0
    for file in files:
        if portion and (len(portion) >= _BATCH_FILES or size_bytes + file.size_bytes > _BATCH_BYTES):
            yield portion
            portion, size_bytes = [], 0
        portion.append(file)
        size_bytes += file.size_bytes
    if portion:
        yield portion


def _read_all(files: Sequence[Scanned], reader: Reader, what: str) -> dict[str, str]:
    """Read files; return relpath -> md5."""

    def read(file: Scanned) -> tuple[str, str]:
        return file.relpath, _read_stable(file, reader)

    small = [file for file in files if file.size_bytes <= CHUNK]
    large = [file for file in files if file.size_bytes > CHUNK]
    return dict(map_in_groups(read, small, what) + map_in_groups(read, large, f"{what} large files", group=1))


def _read_stable(file: Scanned, reader: Reader) -> str:
    """Read a file; refuse one that changed between the scan and the end of the reading."""
    follow = 0 if not file.relpath else os.O_NOFOLLOW
    handle = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC | follow)
    try:
        md5 = reader(file, handle)
        after = os.fstat(handle)
    finally:
        os.close(handle)
    if (after.st_size, after.st_mtime_ns, after.st_ino) != (file.size_bytes, file.mtime_ns, file.inode):
        raise StoreError(
            f"{file.path} changed while it was read",
            needed="files that no other process writes to",
            fix="wait until the process that writes there has finished, then add again",
        )
    return md5


def _hashing_reader(file: Scanned, handle: int) -> str:
    return hash_handle(handle)


def _storing_reader(cache: Cache, batch: Batch) -> Reader:
    """Return a reader that stages the files it reads, unless the cache has them."""

    def store(file: Scanned, handle: int) -> str:
        if file.size_bytes > CHUNK:
            return _store_large(cache, batch, file, handle)
        payload = _read_to_end(handle, file.size_bytes)
        md5 = hashlib.md5(payload, usedforsecurity=False).hexdigest()
        if not cache.has(md5, len(payload)):
            batch.write(md5, payload)
        return md5

    return store


def _store_large(cache: Cache, batch: Batch, file: Scanned, handle: int) -> str:
    temporary = batch.temporary()
    md5 = copy_hashed(handle, temporary)
    if cache.has(md5, file.size_bytes):
        os.unlink(temporary)
    else:
        batch.adopt(md5, temporary)
    return md5


def _read_to_end(handle: int, size_bytes: int) -> bytes:
    """Read a file, in one call if it has the expected size."""
    payload = os.read(handle, size_bytes + 1)
    if len(payload) == size_bytes:
        return payload
    pieces = [payload]
    while piece := os.read(handle, CHUNK):
        pieces.append(piece)
    return b"".join(pieces)
