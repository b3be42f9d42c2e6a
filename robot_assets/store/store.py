"""The store: a local cache, an optional remote, and the operations on them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from robot_assets.core.errors import StoreError
from robot_assets.core.paths import has_shell_syntax
from robot_assets.store import adding
from robot_assets.store.artifact import Artifact, checked_digest, is_directory
from robot_assets.store.cache import Cache
from robot_assets.store.os_errors import masked

if TYPE_CHECKING:
    from robot_assets.store.receiving import Receiver, Written
    from robot_assets.store.remote import Remote

# Most operations import their modules when called: a command needs one or two of them, and a no-op add takes less time
# than importing them all.

_NOT_PERSISTENT = {"memory", "http", "https", "data"}
"""Protocols that do not persist data or cannot be written."""
_TAKEN = (".git", ".dvc", ".dagster", "data/raw", "data/datasets")
"""Folders of a project that have other files."""
_NEEDED = "a path inside the project, an absolute path, or a URL such as s3://bucket/prefix"


@dataclass(frozen=True)
class Store:
    """Content-addressed artifacts, byte for byte a DVC remote.

    Attributes:
        cache: Local directory of the objects.
        remote_url: An fsspec URL or an absolute path that machines share; None for no remote.
        limit_bytes: Size limit of the cache for objects that the remote has too; None for no limit.
    """

    cache: Path
    remote_url: str | None = None
    limit_bytes: int | None = None

    def __repr__(self) -> str:
        return f"Store(cache={str(self.cache)!r}, remote_url={masked(self.remote_url or '') or None!r})"

    def add(self, path: Path, written: Mapping[str, Written] | None = None) -> Artifact:
        """Store the file or directory at ``path``, on the remote too if there is one.

        Args:
            path: The file or directory.
            written: Files whose bytes a ``receiving`` block has received, by relpath; they are not read again.

        Raises:
            StoreError: It has an entry that an artifact cannot contain, or cache or remote cannot be written.
        """
        remote = self._remote
        artifact = adding.add(self._cache, path, remote, written)
        if remote is not None:
            from robot_assets.store.eviction import evict_to_limit

            self.push(artifact.digest)
            evict_to_limit(self._cache, remote)
        return artifact

    def receiving(self) -> AbstractContextManager[Receiver]:
        """Receive the bytes of files while they are written, before ``add``. Raises StoreError when the block ends."""
        from robot_assets.store.receiving import receiving

        # a limited cache makes room for an artifact when it is added, as a whole
        return receiving(self._cache, is_storing=self.remote_url is None or self.limit_bytes is None)

    def digest_of(self, path: Path) -> Artifact:
        """Return the artifact at ``path`` without storing it. Raises StoreError as ``add``."""
        return adding.digest_of(self._cache, path)

    def has(self, digest: str) -> bool:
        """Whether cache and remote together have every object of ``digest``. Does not read their bytes.

        Raises:
            StoreError: ``digest`` is malformed, or the remote cannot be reached.
        """
        checked_digest(digest)
        if not self._cache.has(digest):
            # enough to ask for the listing: it is pushed after its files
            return self._remote is not None and digest in self._remote.sizes([digest])
        missing = self._cache.missing(self._objects(digest))
        return not missing or (self._remote is not None and len(self._remote.sizes(missing)) == len(missing))

    def get(self, digest: str, destination: Path) -> None:
        """Write the artifact to ``destination``, verified and atomically, as writable files.

        Raises:
            ObjectMissing: Neither cache nor remote has one of its objects.
            ObjectCorrupt: An object is damaged and no intact copy exists.
            StoreError: Cache, remote or destination cannot be used.
        """
        from robot_assets.store import checkout

        checkout.get(self._cache, self._remote, checked_digest(digest), destination)

    def open(self, digest: str) -> Path:
        """Return a read-only path with the artifact's bytes. The first call verifies them, later calls are fast.

        Raises:
            ObjectMissing: Neither cache nor remote has one of its objects.
            ObjectCorrupt: An object is damaged and no intact copy exists.
            StoreError: Cache or remote cannot be used.
        """
        from robot_assets.store import checkout

        return checkout.open_artifact(self._cache, self._remote, checked_digest(digest))

    def folders_beginning_with(self, digits: str) -> list[str]:
        """Data versions of folders in the cache that begin with ``digits``, at least two."""
        return self._cache.folders_beginning_with(digits)

    def push(self, digest: str) -> int:
        """Upload the objects of ``digest`` that the remote lacks; return how many.

        The listing is uploaded last: a remote that has a listing has its files. An interrupted push resumes where it
        stopped.

        Raises:
            ObjectMissing: The cache lacks one of its objects.
            ObjectCorrupt: An object in the cache is damaged.
            StoreError: There is no remote, or it cannot be used.
        """
        from robot_assets.store import transfer
        from robot_assets.store.pins import released

        remote = self._needed_remote("push")
        with released():
            self.pin(digest)
            objects = self._objects(digest)
            files = [oid for oid in objects if not is_directory(oid)]
            listing = [oid for oid in objects if is_directory(oid)]
            return transfer.send(self._cache, remote, files) + transfer.send(self._cache, remote, listing)

    def pin(self, digest: str) -> None:
        """Pin ``digest`` against eviction until the enclosing ``pins.released`` block or the process ends.

        A store without a remote evicts nothing and needs no pins.

        Raises:
            StoreError: ``digest`` is malformed, or the cache cannot be written.
        """
        from robot_assets.store.os_errors import explaining_os_errors
        from robot_assets.store.pins import pin

        checked_digest(digest)
        if self.remote_url is not None:
            with explaining_os_errors("pinning an artifact", self.cache):
                pin(self._cache, digest)

    def pull(self, digest: str) -> int:
        """Download the objects of ``digest`` that the cache lacks and pin them; return how many.

        Raises:
            ObjectMissing: The remote lacks one of its objects.
            ObjectCorrupt: An object on the remote is damaged; it is not added to the cache.
            StoreError: There is no remote, or it cannot be used.
        """
        from robot_assets.store import reading

        remote = self._needed_remote("pull")
        self.pin(digest)
        arrived = len(self._cache.missing([checked_digest(digest)]))
        reading.ensure(self._cache, remote, [digest])
        missing = self._cache.missing(self._objects(digest))
        reading.ensure(self._cache, remote, missing)
        return arrived + len(missing)

    def attest(self, digest: str, name: str, content: bytes) -> None:
        """Store a signed statement about ``digest`` as ``name``, on the remote too if there is one.

        Raises:
            StoreError: The digest or the name is malformed, or cache or remote cannot be written.
        """
        from robot_assets.store.attestations import attest

        attest(self._cache, self._remote, digest, name, content)

    def attestations(self, digest: str) -> dict[str, bytes]:
        """The signed statements about ``digest``, by name. Raises StoreError when cache or remote cannot be read."""
        from robot_assets.store.attestations import attestations

        return attestations(self._cache, self._remote, digest)

    def set_ref(self, name: str, digest: str) -> None:
        """Point the ref ``name`` at ``digest``, on the remote too if there is one.

        Raises:
            StoreError: The digest or the name is malformed, or cache or remote cannot be written.
        """
        from robot_assets.store.refs import set_ref

        set_ref(self._cache, self._remote, name, digest)

    def get_ref(self, name: str) -> str | None:
        """The digest that the ref ``name`` points at, or None. Raises StoreError when it cannot be read."""
        from robot_assets.store.refs import get_ref

        return get_ref(self._cache, self._remote, name)

    def _objects(self, digest: str) -> Iterable[str]:
        """The objects of ``digest``: of a directory those in its listing, and the listing."""
        if not is_directory(digest):
            return [digest]
        from robot_assets.store import reading

        return [*reading.read_tree(self._cache, self._remote, digest).digests, digest]

    @property
    def _cache(self) -> Cache:
        return Cache(self.cache, self.limit_bytes)

    @property
    def _remote(self) -> Remote | None:
        if self.remote_url is None:
            return None
        from robot_assets.store.remote import Remote

        return Remote(self.remote_url)

    def _needed_remote(self, verb: str) -> Remote:
        if self._remote is None:
            raise StoreError(
                f"the store at {self.cache} has no remote to {verb} {'to' if verb == 'push' else 'from'}",
                needed="a store.url that other machines can reach, such as s3://bucket/prefix",
                fix="set store.url in params.yaml",
            )
        return self._remote


def open_store(url: str, project: Path, cache: Path | None = None, limit_bytes: int | None = None) -> Store:
    """Open the store at ``store.url`` of params.yaml.

    Args:
        url: A relative path is the store itself, inside the project. Any other (``s3://bucket/prefix``,
            ``/mnt/share``) is a remote.
        project: Folder of the project.
        cache: Cache for the objects of a remote; default: ``.robot_assets/cache`` in the project.
        limit_bytes: Size limit of that cache; default: none.

    Raises:
        StoreError: The URL is empty, malformed, not persistent, a path outside the project or one with other files.
    """
    if refused := _fault(url, project):
        found, needed, *fix = refused
        raise StoreError(
            f"store.url is {masked(url)!r}, {found}", needed=needed, fix=f"set store.url in params.yaml{''.join(fix)}"
        )
    if "://" in url or Path(url).is_absolute():
        return Store(cache or project / ".robot_assets" / "cache", url, limit_bytes)
    return Store(project / url)


def _fault(url: str, project: Path) -> tuple[str, ...] | None:
    """What is wrong with ``store.url``, what is needed, and, where it is known, to what to set it."""
    protocol, is_url, rest = url.partition("://")
    if has_shell_syntax(url):
        return "which only a shell expands", "the path itself: no folder is called ~ or $VARIABLE"
    if (is_url and protocol.lower() in _NOT_PERSISTENT) or not url.strip():
        return "which cannot store artifacts", _NEEDED
    if not url.isprintable():
        return "which has control characters", _NEEDED
    if is_url:
        is_complete = bool(rest.strip("/"))
        return None if is_complete else ("which has no bucket or path", f"a complete URL, such as {protocol}://bucket")
    if not Path(url).is_absolute() and ".." in Path(url).parts:
        needed = "a path inside the project, or an absolute one for a shared directory"
        return "a path outside the project", needed, f" to {(project / url).resolve()}"
    if "\\" in url or ":" in url.partition("/")[0]:
        return "which looks like a Windows path or an incomplete URL", _NEEDED
    path = Path(os.path.normpath(project / url))
    if path in (Path("/"), project) or any(path.is_relative_to(project / name) for name in _TAKEN):
        return "a folder of other files", "a folder of its own, such as .robot_assets/store or /mnt/share/store"
    return None
