"""Names that stand for versions and may come to stand for others, beside the objects and not among them.

``names/NAME`` in the cache and on the remote holds a digest. For what is handed on from one process to the next without
being an asset, such as a device's timing cache. DVC looks at ``files/md5`` alone and is not disturbed.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from robot_assets.core.errors import StoreError
from robot_assets.core.publishing import publishing_file
from robot_assets.store.artifact import checked_digest
from robot_assets.store.attestations import one_writer
from robot_assets.store.cache import Cache
from robot_assets.store.os_errors import explained
from robot_assets.store.remote import Remote

NAMES = "names"
_NAME = re.compile(r"[a-z0-9_-]{1,100}(/[a-z0-9_-]{1,100}){0,3}")


def bind(cache: Cache, remote: Remote | None, name: str, digest: str) -> None:
    """Let ``name`` stand for ``digest``; of two that do so at once one wins.

    Raises:
        StoreError: The digest or the name is not one, or cache or remote cannot take it.
    """
    final = cache.root / NAMES / _checked(name)
    with explained("writing a name", cache.root), one_writer(final.parent), publishing_file(final) as staging:
        staging.write_text(checked_digest(digest))
    if remote is not None:
        _Names(remote.url).upload(str(final), name)


def bound(cache: Cache, remote: Remote | None, name: str) -> str | None:
    """The digest that ``name`` stands for; None when for none. What the remote says holds.

    Raises:
        StoreError: The name is not one, what it holds is no digest, or cache or remote cannot be read.
    """
    _checked(name)
    if remote is not None:
        with tempfile.NamedTemporaryFile() as arrival:
            try:
                _Names(remote.url).download(name, arrival.name)
                return checked_digest(Path(arrival.name).read_text())
            except FileNotFoundError:
                return None
    with explained("reading a name", cache.root):
        try:
            return checked_digest((cache.root / NAMES / name).read_text())
        except FileNotFoundError:
            return None


class _Names(Remote):
    """The names of a remote: it moves them as it moves objects, to another place."""

    def _path(self, oid: str) -> str:
        return f"{self._root}/{NAMES}/{oid}"


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise StoreError(
            f"{name!r} is no name of a version",
            needed="up to four parts of lower-case letters, digits, hyphens and underscores, with / between",
            fix="give it such a name",
        )
    return name
