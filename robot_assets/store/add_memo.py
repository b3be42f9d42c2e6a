"""What an add came to. While neither the files nor the cache have changed since, there is nothing to do.

A receipt is a digest and a seal over it, over the facts of every file and over those of every folder of objects.
A changed file shows in its facts, a lost object in its folder's. One hash is compared instead of one row for each
file and one name for each object; whatever differs, a damaged receipt included, sends the add the long way.
"""

from __future__ import annotations

import hashlib
import marshal
import os
from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path

from robot_assets.store.cache import Cache
from robot_assets.store.scan import Scanned
from robot_assets.store.state import is_at_rest, is_worth_remembering, name_for, replacing

_VERSION = "1"
_MARSHAL_VERSION = 2
"""The last one in which equal values are equal bytes: later ones tell whether an object is shared."""
_facts = attrgetter("relpath", "size_bytes", "mtime_ns", "ctime_ns", "inode")


def redeem(cache: Cache, artifact: Path, files: Sequence[Scanned]) -> str | None:
    """Return the digest of ``files`` if the cache is known to have every object of it; reads none of them."""
    try:
        digest, seal = _receipt(cache, artifact).read_text("ascii").split()
        is_valid = seal == _seal(cache, digest, files, cache.folders())
    except (OSError, ValueError):
        return None
    return digest if is_valid else None


def leave_receipt(
    cache: Cache, artifact: Path, files: Sequence[Scanned], digest: str, oids: Sequence[str], read_ns: int
) -> None:
    """Leave a receipt, provided that every later change is sure to show; else an empty one, which is none.

    Args:
        cache: Where the artifact was added.
        artifact: Path of the artifact.
        files: Its files, with the facts that held before and after they were read.
        digest: What they came to.
        oids: The objects of it.
        read_ns: Wall clock before the first file was read, in nanoseconds since 1970.
    """
    if not is_worth_remembering(files) or not all(is_at_rest(file, read_ns) for file in files):
        return
    with replacing(_receipt(cache, artifact)) as stream:
        now_ns = os.fstat(stream.fileno()).st_ctime_ns  # by the clock of the file system, which ticks
        folders = cache.folders()
        are_at_rest = all(ctime_ns < now_ns for _, _, ctime_ns in folders)
        # looked for last: what is lost from here on changes its folder, and in a later tick
        if are_at_rest and not cache.missing(oids):
            stream.write(f"{digest} {_seal(cache, digest, files, folders)}".encode("ascii"))


def _receipt(cache: Cache, artifact: Path) -> Path:
    return cache.root / "receipts" / name_for(artifact)


def _seal(cache: Cache, digest: str, files: Sequence[Scanned], folders: Sequence[tuple[str, int, int]]) -> str:
    """Hash of all that a receipt vouches for. Orders are those of the file system: they last as long as a folder."""
    top = os.stat(cache.path(digest))
    sealed = [_VERSION, digest, top.st_size, top.st_mtime_ns, folders, list(map(_facts, files))]
    return hashlib.sha256(marshal.dumps(sealed, _MARSHAL_VERSION)).hexdigest()
