"""Refs: mutable names of digests, kept beside the objects.

``names/NAME`` in the cache and on the remote holds a digest. For data that is passed from process to process without
being an asset, such as the timing cache of a device. DVC reads ``files/md5`` only, in a cache as on a remote.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from robot_assets.core.errors import StoreError
from robot_assets.core.publishing import publishing_file
from robot_assets.store.artifact import checked_digest
from robot_assets.store.cache import Cache
from robot_assets.store.locking import folder_lock
from robot_assets.store.os_errors import explaining_os_errors
from robot_assets.store.remote import Remote

REFS = "names"
_NAME = re.compile(r"[a-z0-9_-]{1,100}(/[a-z0-9_-]{1,100}){0,3}")


def set_ref(cache: Cache, remote: Remote | None, name: str, digest: str) -> None:
    """Point ``name`` at ``digest``; of two concurrent calls one wins.

    Raises:
        StoreError: The digest or the name is malformed, or cache or remote cannot be written.
    """
    final = cache.root / REFS / _checked(name)
    with (
        explaining_os_errors("writing a ref", cache.root),
        folder_lock(final.parent),
        publishing_file(final) as staging,
    ):
        staging.write_text(checked_digest(digest))
    if remote is not None:
        _RefRemote(remote.url).upload(str(final), name)


def get_ref(cache: Cache, remote: Remote | None, name: str) -> str | None:
    """The digest that ``name`` points at, or None. With a remote, its ref counts and the cache's is ignored.

    Raises:
        StoreError: The name or the stored digest is malformed, or cache or remote cannot be read.
    """
    _checked(name)
    if remote is not None:
        with tempfile.NamedTemporaryFile() as arrival:
            try:
                _RefRemote(remote.url).download(name, arrival.name)
                return checked_digest(Path(arrival.name).read_text())
            except FileNotFoundError:
                return None
    with explaining_os_errors("reading a ref", cache.root):
        try:
            return checked_digest((cache.root / REFS / name).read_text())
        except FileNotFoundError:
            return None


class _RefRemote(Remote):
    """The refs of a remote, transferred as objects are."""

    def _path(self, oid: str) -> str:
        return f"{self._root}/{REFS}/{oid}"


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise StoreError(
            f"{name!r} is not a valid name of a ref",
            needed="1 to 4 parts of lower-case letters, digits, hyphens and underscores, separated by /",
            fix="choose a name such as timing-caches/orin/latest",
        )
    return name
