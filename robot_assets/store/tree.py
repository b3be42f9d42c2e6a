"""Directory listings (``.dir`` objects), byte for byte as DVC writes them.

A JSON list of ``{"md5": ..., "relpath": ...}`` ordered by relpath (by code point), as
``json.dumps(..., sort_keys=True)`` would print it. ``dvc_data.hashfile.tree.Tree`` is the reference, and the
tests compare the bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from robot_assets.core.errors import StoreError
from robot_assets.store.artifact import DIRECTORY_SUFFIX, is_directory

_FIX = "do not use this version; add the directory again from its source"


@dataclass(frozen=True)
class Tree:
    """A directory listing.

    Attributes:
        entries: (relpath with ``/``, md5) of every file, ordered by relpath.
        payload: The bytes of the listing.
        digest: md5 of the payload, followed by ``.dir``.
    """

    entries: tuple[tuple[str, str], ...]
    payload: bytes
    digest: str

    @property
    def digests(self) -> tuple[str, ...]:
        """Distinct digests of the files, in order of first appearance."""
        return tuple(dict.fromkeys(md5 for _, md5 in self.entries))


def tree_of(entries: Iterable[tuple[str, str]]) -> Tree:
    """Build the listing of (relpath, md5) pairs, given in any order."""
    ordered = tuple(sorted(entries))
    quoted = json.encoder.encode_basestring_ascii
    lines = [f'{{"md5": "{md5}", "relpath": {quoted(relpath)}}}' for relpath, md5 in ordered]
    payload = ("[" + ", ".join(lines) + "]").encode("ascii")
    digest = hashlib.md5(payload, usedforsecurity=False).hexdigest() + DIRECTORY_SUFFIX
    return Tree(entries=ordered, payload=payload, digest=digest)


def parse_tree(payload: bytes, digest: str) -> Tree:
    """Parse a listing whose bytes are known to match ``digest``.

    Raises:
        StoreError: It is not a listing, is empty, has a path twice, or has a path outside the directory.
    """
    try:
        document = json.loads(payload)
    except ValueError as error:
        raise _refused(digest, f"is not JSON ({error})") from None
    if not isinstance(document, list) or not document:
        raise _refused(digest, "is not a list of files, or an empty one")
    entries = tuple(_entry(item, digest) for item in document)
    _check_names(entries, digest)
    return Tree(entries=entries, payload=payload, digest=digest)


def _entry(item: Any, digest: str) -> tuple[str, str]:
    if not isinstance(item, dict):
        raise _refused(digest, f"has the entry {item!r}")
    relpath, md5 = item.get("relpath"), item.get("md5")
    if not isinstance(relpath, str) or not isinstance(md5, str):
        raise _refused(digest, f"has the entry {item!r} without relpath or md5")
    if len(md5) != 32 or not set(md5) <= set("0123456789abcdef") or is_directory(md5):
        raise _refused(digest, f"gives {relpath!r} the md5 {md5!r}")
    if not _is_inside(relpath):
        raise _refused(digest, f"has the path {relpath!r}, which is not inside the directory")
    return relpath, md5


def _is_inside(relpath: str) -> bool:
    """Whether ``relpath`` is relative without ``..`` or empty parts, and UTF-8."""
    if "\0" in relpath or any(step in ("", ".", "..") for step in relpath.split("/")):
        return False
    try:
        relpath.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _check_names(entries: tuple[tuple[str, str], ...], digest: str) -> None:
    """Refuse a duplicate path, and a path that is both a file and a folder."""
    files = {relpath for relpath, _ in entries}
    if len(files) != len(entries):
        raise _refused(digest, "has a path twice")
    folders = {relpath.rpartition("/")[0] for relpath in files}
    for folder in list(folders):
        folders.update(folder[:at] for at, letter in enumerate(folder) if letter == "/")
    both = sorted(files & folders)
    if both:
        raise _refused(digest, f"has {both[0]!r} both as a file and as a folder")


def _refused(digest: str, what: str) -> StoreError:
    return StoreError(
        f"the directory listing {digest} {what}",
        needed="a DVC directory listing: a JSON list of {md5, relpath}, each path inside the directory",
        fix=_FIX,
    )
