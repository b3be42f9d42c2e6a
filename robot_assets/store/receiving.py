"""Receives the bytes of an artifact's files while their writer writes them: adding the artifact reads none again."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from robot_assets.store.batch import Batch, batch_into
from robot_assets.store.cache import Cache
from robot_assets.store.scan import Scanned


class Written(NamedTuple):
    """A file as its writer left it: its facts, as ``Scanned`` has them, and the md5 of its bytes."""

    size_bytes: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    md5: str

    @classmethod
    def of(cls, status: os.stat_result, md5: str) -> Written:
        """The facts in ``status``, which was read after the last byte was written."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, md5)


class Receiver:
    """Takes the bytes of files, on several threads at once."""

    def __init__(self, cache: Cache, batch: Batch | None) -> None:
        self._cache = cache
        self._batch = batch

    def receive(self, payload: bytes) -> str:
        """Return the md5 of a file's bytes, and stage them as an object unless the cache has it."""
        md5 = hashlib.md5(payload, usedforsecurity=False).hexdigest()
        if self._batch is not None and not self._cache.has(md5, len(payload)):
            self._batch.write(md5, payload)
        return md5


@contextmanager
def receiving(cache: Cache, *, is_storing: bool) -> Iterator[Receiver]:
    """Yield a receiver; what it staged becomes objects of the cache when the block ends without an error.

    Args:
        cache: The cache to add to.
        is_storing: Whether bytes are staged; otherwise they are hashed only, and stored by the following ``add``.

    Raises:
        StoreError: The disk is full or broken.
    """
    if not is_storing:
        yield Receiver(cache, None)
        return
    with batch_into(cache) as batch:
        yield Receiver(cache, batch)


def unchanged(files: Sequence[Scanned], written: Mapping[str, Written]) -> dict[str, str]:
    """The relpath and md5 of those ``files`` that are as their writer left them."""
    found = ((file, written.get(file.relpath)) for file in files)
    return {file.relpath: left.md5 for file, left in found if left and left[:4] == file[2:6]}
