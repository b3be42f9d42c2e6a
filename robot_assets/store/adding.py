"""Adds files and directories to the cache, or computes their digest only."""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from robot_assets.store.add_memo import recall_digest
from robot_assets.store.artifact import Artifact, is_directory
from robot_assets.store.cache import Cache
from robot_assets.store.scan import Scanned, scan

if TYPE_CHECKING:
    from robot_assets.store.receiving import Written
    from robot_assets.store.remote import Remote


def add(
    cache: Cache, path: Path, remote: Remote | None = None, written: Mapping[str, Written] | None = None
) -> Artifact:
    """Store the file or directory at ``path``; return its version.

    Args:
        cache: The cache to add to.
        path: The file or directory.
        remote: The remote that evicted objects can be fetched from again; None disables eviction.
        written: Files whose hashes their writer knows, by relpath; they are read again only if they have changed.

    Raises:
        StoreError: The path has an entry that an artifact cannot contain, a file changed while it was read, or the
            disk is full or broken.
    """
    files = scan(path)
    digest = recall_digest(cache, path, files)
    if digest is None:  # imported late: `storing` loads much that a no-op add does not need
        from robot_assets.store.storing import store_files

        digest = store_files(cache, path, files, remote, written or {})
    return _artifact(files, digest)


def digest_of(cache: Cache, path: Path) -> Artifact:
    """Return the version of what is at ``path`` without storing it.

    Raises:
        StoreError: As for ``add``.
    """
    files = scan(path)
    digest = recall_digest(cache, path, files)
    if digest is None:
        from robot_assets.store.storing import hash_files

        digest = hash_files(cache, path, files)
    return _artifact(files, digest)


def _artifact(files: Sequence[Scanned], digest: str) -> Artifact:
    size_bytes = sum(file.size_bytes for file in files)
    is_executable = not is_directory(digest) and bool(files[0].mode & stat.S_IXUSR)
    return Artifact(digest=digest, size_bytes=size_bytes, files=len(files), is_executable=is_executable)
