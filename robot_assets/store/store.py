"""The store: one local cache, maybe one remote, and the verbs on them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from robot_assets.core.errors import StoreError
from robot_assets.store import adding
from robot_assets.store.artifact import Artifact, checked_digest, is_directory
from robot_assets.store.cache import Cache
from robot_assets.store.os_errors import masked

if TYPE_CHECKING:
    from robot_assets.store.remote import Remote

# The other verbs import what they need when they are called: most commands need one of them, and adding what has not
# changed takes less time than importing them all.

_FORGETFUL = {"memory", "http", "https", "data"}


@dataclass(frozen=True)
class Store:
    """Content-addressed artifacts, byte for byte a DVC remote.

    Attributes:
        cache: Local directory of the objects.
        remote_url: An fsspec URL or an absolute path that others read from and write to; None for none.
        limit_bytes: What the cache may hold, if the rest is on the remote; None for any amount.
    """

    cache: Path
    remote_url: str | None = None
    limit_bytes: int | None = None

    def __repr__(self) -> str:
        return f"Store(cache={str(self.cache)!r}, remote_url={masked(self.remote_url or '') or None!r})"

    def add(self, path: Path) -> Artifact:
        """Store the file or directory at ``path``, on the remote too where there is one.

        Raises:
            StoreError: It holds something that an artifact cannot, or cache or remote cannot take it.
        """
        remote = self._remote
        artifact = adding.add(self._cache, path, remote)
        if remote is not None:
            from robot_assets.store import eviction as room

            self.push(artifact.digest)
            room.make_room(self._cache, remote)
        return artifact

    def digest_of(self, path: Path) -> Artifact:
        """Return the version of what is at ``path`` without storing it. Raises StoreError as ``add``."""
        return adding.digest_of(self._cache, path)

    def has(self, digest: str) -> bool:
        """Whether cache and remote together have every object of ``digest``. Reads no file's bytes.

        Raises:
            StoreError: ``digest`` is not one, or the remote cannot be reached.
        """
        checked_digest(digest)
        if not self._cache.has(digest):
            # a listing arrives on a remote after the files in it
            return self._remote is not None and digest in self._remote.sizes([digest])
        missing = self._cache.missing(self._objects(digest))
        return not missing or (self._remote is not None and len(self._remote.sizes(missing)) == len(missing))

    def get(self, digest: str, destination: Path) -> None:
        """Write the artifact to ``destination``, verified and in one step; its files may be edited.

        Raises:
            ObjectMissing: Neither cache nor remote has an object of it.
            ObjectCorrupt: An object is damaged and there is no good one.
            StoreError: Cache, remote or destination cannot be used.
        """
        from robot_assets.store import checkout as opening

        opening.get(self._cache, self._remote, checked_digest(digest), destination)

    def open(self, digest: str) -> Path:
        """Return a read-only path with the artifact's bytes: verified the first time, quick after that.

        Raises:
            ObjectMissing: Neither cache nor remote has an object of it.
            ObjectCorrupt: An object is damaged and there is no good one.
            StoreError: Cache or remote cannot be used.
        """
        from robot_assets.store import checkout as opening

        return opening.open_artifact(self._cache, self._remote, checked_digest(digest))

    def push(self, digest: str) -> int:
        """Bring to the remote what it lacks of ``digest``; return how many objects travelled.

        Files go first and the listing last, so that who finds a listing finds all that it names. A push that
        was cut off goes on where it stopped.

        Raises:
            ObjectMissing: The cache lacks an object of it.
            ObjectCorrupt: An object in the cache is damaged.
            StoreError: There is no remote, or it cannot be used.
        """
        from robot_assets.store import transfer
        from robot_assets.store.pins import letting_go

        remote = self._needed_remote("push")
        with letting_go():
            self.keep(digest)
            objects = self._objects(digest)
            files = [oid for oid in objects if not is_directory(oid)]
            listing = [oid for oid in objects if is_directory(oid)]
            return transfer.send(self._cache, remote, files) + transfer.send(self._cache, remote, listing)

    def keep(self, digest: str) -> None:
        """Need what the cache has of ``digest`` until this process ends: it makes no room for others.

        Nothing goes from a store without a remote, and nothing has to be kept there.

        Raises:
            StoreError: ``digest`` is not one, or the cache cannot be written to.
        """
        from robot_assets.store.os_errors import explained
        from robot_assets.store.pins import hold

        checked_digest(digest)
        if self.remote_url is not None:
            with explained("noting a use", self.cache):
                hold(self._cache, digest)

    def pull(self, digest: str) -> int:
        """Bring from the remote what the cache lacks of ``digest`` and keep it; return how many objects travelled.

        Raises:
            ObjectMissing: The remote lacks an object of it.
            ObjectCorrupt: An object on the remote is damaged; it does not enter the cache.
            StoreError: There is no remote, or it cannot be used.
        """
        from robot_assets.store import reading

        remote = self._needed_remote("pull")
        self.keep(digest)
        arrived = len(self._cache.missing([checked_digest(digest)]))
        reading.ensure(self._cache, remote, [digest])
        missing = self._cache.missing(self._objects(digest))
        reading.ensure(self._cache, remote, missing)
        return arrived + len(missing)

    def attest(self, digest: str, name: str, content: bytes) -> None:
        """Keep a signed statement about ``digest`` as ``name``, on the remote too where there is one.

        Raises:
            StoreError: The digest or the name is not one, or cache or remote cannot take it.
        """
        from robot_assets.store.attestations import attest

        attest(self._cache, self._remote, digest, name, content)

    def attestations(self, digest: str) -> dict[str, bytes]:
        """Signed statements about ``digest``, by name. Raises StoreError when cache or remote cannot be read."""
        from robot_assets.store.attestations import attestations

        return attestations(self._cache, self._remote, digest)

    def bind(self, name: str, digest: str) -> None:
        """Let ``name`` stand for ``digest``, on the remote too where there is one; it may stand for another later.

        Raises:
            StoreError: The digest or the name is not one, or cache or remote cannot take it.
        """
        from robot_assets.store.refs import bind

        bind(self._cache, self._remote, name, digest)

    def bound(self, name: str) -> str | None:
        """The digest that ``name`` stands for, or None. Raises StoreError when cache or remote cannot be read."""
        from robot_assets.store.refs import bound

        return bound(self._cache, self._remote, name)

    def _objects(self, digest: str) -> Iterable[str]:
        """The object of ``digest`` and, for a directory, those that its listing names."""
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
                f"the store at {self.cache} has no remote to {verb} with",
                needed="a store.url that others can reach, such as s3://bucket/prefix",
                fix="set store.url in params.yaml",
            )
        return self._remote


def open_store(url: str, project: Path, cache: Path | None = None, limit_bytes: int | None = None) -> Store:
    """Open the store that ``store.url`` in params.yaml names.

    Args:
        url: A relative path is the store itself, inside the project. Any other (``s3://bucket/prefix``,
            ``/mnt/share``) is a remote.
        project: Folder of the project.
        cache: Where the objects of a remote are kept here; default: ``.robot_assets/cache`` in the project.
        limit_bytes: How large that cache may become; default: any size.

    Raises:
        StoreError: The URL is empty, leaves the project, or cannot keep anything.
    """
    protocol = url.partition("://")[0].lower() if "://" in url else ""
    if protocol in _FORGETFUL or not url.strip():
        raise StoreError(
            f"store.url is {masked(url)!r}, which cannot keep artifacts",
            needed="a path inside the project, an absolute path, or a URL such as s3://bucket/prefix",
            fix="set store.url in params.yaml",
        )
    if protocol or Path(url).is_absolute():
        return Store(cache or project / ".robot_assets" / "cache", url, limit_bytes)
    if ".." in Path(url).parts:
        raise StoreError(
            f"store.url is {url!r}, which leaves the project",
            needed="a path inside the project, or an absolute one for a shared directory",
            fix=f"set store.url in params.yaml, for example to {(project / url).resolve()}",
        )
    return Store(project / url)
