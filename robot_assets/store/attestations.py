"""Signed statements about artifacts, beside the objects and not among them.

``attestations/DIGEST/NAME.dsse.json`` in the cache and on the remote. They are no part of the artifact on purpose:
they tell of times, and an artifact that is made again with the same bytes keeps its digest. DVC looks at
``files/md5`` alone, in a remote as in a cache, and is not disturbed.
"""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from robot_assets.core.errors import StoreError
from robot_assets.core.publishing import publishing_file
from robot_assets.store.artifact import checked_digest
from robot_assets.store.cache import Cache
from robot_assets.store.os_errors import explained
from robot_assets.store.remote import Remote

ATTESTATIONS = "attestations"
SUFFIX = ".dsse.json"
_NAME = re.compile(r"[a-z0-9_-]{1,100}")


def attest(cache: Cache, remote: Remote | None, digest: str, name: str, content: bytes) -> None:
    """Keep ``content`` as what ``name`` says about the artifact ``digest``; what it said before is replaced.

    Raises:
        StoreError: The digest or the name is not one, or cache or remote cannot take it.
    """
    relative = f"{checked_digest(digest)}/{_checked_name(name)}"
    final = _folder(cache, digest) / f"{name}{SUFFIX}"
    with explained("writing an attestation", cache.root), one_writer(final.parent):
        if not final.is_file() or final.read_bytes() != content:
            with publishing_file(final) as staging:
                staging.write_bytes(content)
    if remote is not None:
        _Shelf(remote.url).upload(str(final), relative)


def attestations(cache: Cache, remote: Remote | None, digest: str) -> dict[str, bytes]:
    """All that was said about the artifact ``digest``, by name. Of two of one name the remote's holds.

    Raises:
        StoreError: The digest is not one, or cache or remote cannot be read.
    """
    folder = _folder(cache, checked_digest(digest))
    with explained("reading attestations", cache.root):
        paths = [path for path in folder.glob(f"*{SUFFIX}") if _is_name(path.name)] if folder.is_dir() else []
        found = {path.name.removesuffix(SUFFIX): path.read_bytes() for path in paths}
    if remote is not None:
        found |= _Shelf(remote.url).read_all(digest)
    return dict(sorted(found.items()))


class _Shelf(Remote):
    """The attestations of a remote: it moves them as it moves objects, to another place."""

    def _path(self, oid: str) -> str:
        return f"{self._root}/{ATTESTATIONS}/{oid}{SUFFIX}"

    def read_all(self, digest: str) -> dict[str, bytes]:
        """Content by name of what is about ``digest``."""
        with self._explained("asking"):
            try:
                listed = self._fs.ls(f"{self._root}/{ATTESTATIONS}/{digest}", detail=False)
            except FileNotFoundError:
                return {}
        files = [str(path).rpartition("/")[2] for path in listed]
        names = [file.removesuffix(SUFFIX) for file in files if _is_name(file)]
        with tempfile.TemporaryDirectory() as arrivals:
            for name in names:
                self.download(f"{digest}/{name}", f"{arrivals}/{name}")
            return {name: Path(arrivals, name).read_bytes() for name in names}


def _folder(cache: Cache, digest: str) -> Path:
    return cache.root / ATTESTATIONS / digest


def _is_name(file: str) -> bool:
    return file.endswith(SUFFIX) and _NAME.fullmatch(file.removesuffix(SUFFIX)) is not None


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise StoreError(
            f"{name!r} is no name of an attestation",
            needed="lower-case letters, digits, hyphens and underscores, at most 100",
            fix="give it such a name",
        )
    return name


@contextmanager
def one_writer(folder: Path) -> Iterator[None]:
    """Hold a folder: a lock that goes with the process, however it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
