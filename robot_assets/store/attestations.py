"""Signed statements about artifacts, kept beside the objects.

``attestations/DIGEST/NAME.dsse.json`` in the cache and on the remote. They are not part of the artifact: they contain
times, and an artifact that is rebuilt with the same bytes must keep its digest. DVC reads ``files/md5`` only, in a
cache as on a remote.
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

ATTESTATIONS = "attestations"
SUFFIX = ".dsse.json"
_NAME = re.compile(r"[a-z0-9_-]{1,100}")


def attest(cache: Cache, remote: Remote | None, digest: str, name: str, content: bytes) -> None:
    """Store ``content`` as the attestation ``name`` of the artifact ``digest``, replacing an earlier one.

    Raises:
        StoreError: The digest or the name is malformed, or cache or remote cannot be written.
    """
    relative = f"{checked_digest(digest)}/{_checked_name(name)}"
    final = _folder(cache, digest) / f"{name}{SUFFIX}"
    with explaining_os_errors("writing an attestation", cache.root), folder_lock(final.parent):
        if not final.is_file() or final.read_bytes() != content:
            with publishing_file(final) as staging:
                staging.write_bytes(content)
    if remote is not None:
        _AttestationRemote(remote.url).upload(str(final), relative)


def attestations(cache: Cache, remote: Remote | None, digest: str) -> dict[str, bytes]:
    """The attestations of the artifact ``digest``, by name. The remote's version of a name replaces the cache's.

    Raises:
        StoreError: The digest is malformed, or cache or remote cannot be read.
    """
    folder = _folder(cache, checked_digest(digest))
    with explaining_os_errors("reading attestations", cache.root):
        paths = [path for path in folder.glob(f"*{SUFFIX}") if _is_name(path.name)] if folder.is_dir() else []
        found = {path.name.removesuffix(SUFFIX): path.read_bytes() for path in paths}
    if remote is not None:
        found |= _AttestationRemote(remote.url).read_all(digest)
    return dict(sorted(found.items()))


class _AttestationRemote(Remote):
    """The attestations of a remote, transferred as objects are."""

    def _path(self, oid: str) -> str:
        return f"{self._root}/{ATTESTATIONS}/{oid}{SUFFIX}"

    def read_all(self, digest: str) -> dict[str, bytes]:
        """The attestations of ``digest``, by name."""
        with self._explaining_errors("listing"):
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
            f"{name!r} is not a valid name of an attestation",
            needed="lower-case letters, digits, hyphens and underscores, at most 100",
            fix="choose a name such as provenance-1",
        )
    return name
