"""Memoizes ``add``: the digest of an artifact whose files and objects have not changed since it was added.

A memo is a digest and a fingerprint of the facts (size, timestamps, inode) of every file and every object folder. A
changed file changes its own facts, a lost object those of its folder. Comparing one hash replaces comparing a row per
file and a name per object. On any difference, a damaged memo included, the files are added in full.
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
from robot_assets.store.state import file_name_for, is_at_rest, is_worth_caching, replacing_file

_VERSION = "1"
_MARSHAL_VERSION = 2
"""The last version in which equal values give equal bytes: later ones encode whether an object is shared."""
_facts = attrgetter("relpath", "size_bytes", "mtime_ns", "ctime_ns", "inode")


def recall_digest(cache: Cache, artifact: Path, files: Sequence[Scanned]) -> str | None:
    """Return the memoized digest of ``files``, or None. Reads neither the files nor the objects."""
    try:
        digest, fingerprint = _memo_path(cache, artifact).read_text("ascii").split()
        is_valid = fingerprint == _fingerprint(cache, digest, files, cache.folders())
    except (OSError, ValueError):
        return None
    return digest if is_valid else None


def remember_digest(
    cache: Cache, artifact: Path, files: Sequence[Scanned], digest: str, oids: Sequence[str], read_ns: int
) -> None:
    """Write a memo if every later change is certain to be detected; otherwise an empty one, which is invalid.

    Args:
        cache: The cache that the artifact was added to.
        artifact: Path of the artifact.
        files: Its files, with facts that were the same before and after reading.
        digest: The artifact's digest.
        oids: The artifact's objects.
        read_ns: Wall clock before the first file was read, in nanoseconds since 1970.
    """
    if not is_worth_caching(files) or not all(is_at_rest(file, read_ns) for file in files):
        return
    with replacing_file(_memo_path(cache, artifact)) as stream:
        now_ns = os.fstat(stream.fileno()).st_ctime_ns  # the file system's clock, which advances in ticks
        folders = cache.folders()
        are_at_rest = all(ctime_ns < now_ns for _, _, ctime_ns in folders)
        # Checked last: an object lost from here on changes its folder in a later tick.
        if are_at_rest and not cache.missing(oids):
            stream.write(f"{digest} {_fingerprint(cache, digest, files, folders)}".encode("ascii"))


def _memo_path(cache: Cache, artifact: Path) -> Path:
    return cache.root / "receipts" / file_name_for(artifact)


def _fingerprint(cache: Cache, digest: str, files: Sequence[Scanned], folders: Sequence[tuple[str, int, int]]) -> str:
    """Hash of everything a memo depends on. Unsorted: the file system's order is stable while a folder is unchanged."""
    top = os.stat(cache.path(digest))
    facts = [_VERSION, digest, top.st_size, top.st_mtime_ns, folders, list(map(_facts, files))]
    return hashlib.sha256(marshal.dumps(facts, _MARSHAL_VERSION)).hexdigest()
