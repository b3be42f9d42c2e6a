"""Remotes: a directory, or any URL that fsspec opens. Same layout as the cache; objects are complete or absent."""

from __future__ import annotations

import os
import re
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from robot_assets.core.errors import RobotAssetsError, StoreError
from robot_assets.store.cache import OBJECTS, READ_ONLY, object_name
from robot_assets.store.local_files import LocalFiles
from robot_assets.store.os_errors import masked
from robot_assets.store.remote_errors import remote_error

THREADS = 16
_LISTED_FROM = 200
"""From this number of objects on, listing folders is faster than checking each object."""
_ATOMIC_PUT = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss"}
"""Protocols where an object becomes visible only when its last byte has arrived."""
_RETRY_DELAYS_S = (0.2, 1.0, 4.0, 16.0, 30.0)
"""Delay before each retry of an interrupted read. botocore itself retries connecting and refusals by a busy server, but
not a response body that stops."""
_SMALLEST_PART = 256 << 10
_NOT_RETRIED = (FileNotFoundError, PermissionError, IsADirectoryError, NotImplementedError, ValueError, TypeError)


@dataclass(frozen=True)
class Remote:
    """Objects at a URL.

    Attributes:
        url: An fsspec URL or a local path. May contain credentials: print ``name`` instead.
    """

    url: str

    @property
    def name(self) -> str:
        """The URL without credentials."""
        return masked(self.url)

    def __repr__(self) -> str:
        return f"Remote({self.name!r})"

    def where(self, oid: str) -> str:
        """URL of the object, whether it exists or not, without credentials."""
        return f"{self.name.rstrip('/')}/{object_name(oid)}"

    def sizes(self, oids: Sequence[str]) -> dict[str, int]:
        """Return the sizes in bytes of those of ``oids`` that the remote has.

        Raises:
            StoreError: The remote cannot be reached.
        """
        with self._explaining_errors("listing"), ThreadPoolExecutor(THREADS) as pool:
            if len(oids) < _LISTED_FROM:
                sizes = dict(zip(oids, pool.map(self._size, oids), strict=True))
                return {oid: size for oid, size in sizes.items() if size is not None}
            listed: dict[str, int] = {}
            for part in pool.map(self._list, sorted({oid[:2] for oid in oids})):
                listed.update(part)
            return {oid: listed[oid] for oid in oids if oid in listed}

    def download(self, oid: str, destination: str) -> None:
        """Write the object's bytes to the existing local file ``destination``; the caller verifies them.

        Raises:
            FileNotFoundError: The remote lacks the object.
            StoreError: The remote cannot be reached.
        """
        with self._explaining_errors("reading", destination):
            self._fs.get_file(self._path(oid), destination)

    @property
    def has_ranges(self) -> bool:
        """Whether to read objects in parts: over a network, where connections break."""
        return self._protocol != "file"

    def read(self, oid: str, start: int, end: int) -> bytes:
        """Return bytes ``start`` to before ``end`` of an object; the caller verifies the whole object.

        A request interrupted by a broken connection is retried a few times, in two halves each time, so that a half
        that has arrived is not transferred again.

        Raises:
            FileNotFoundError: The remote lacks the object.
            StoreError: The remote cannot be reached, or not for long enough.
        """
        with self._explaining_errors("reading"):
            return self._read(self._path(oid), start, end, _RETRY_DELAYS_S)

    def _read(self, path: str, start: int, end: int, delays_s: Sequence[float]) -> bytes:
        try:
            payload = bytes(self._fs_without_retries.cat_file(path, start=start, end=end))
            if len(payload) != end - start:
                raise ConnectionError(f"{len(payload)} of {end - start} bytes arrived, starting at byte {start}")
            return payload
        except _NOT_RETRIED:
            raise
        except Exception:  # each fsspec protocol raises the exceptions of its own library
            if not delays_s:
                raise
        time.sleep(delays_s[0])
        middle = start + max((end - start) // 2, min(_SMALLEST_PART, end - start))
        halves = [(start, middle), (middle, end)] if middle < end else [(start, end)]
        return b"".join(self._read(path, *half, delays_s[1:]) for half in halves)

    def upload(self, source: str, oid: str) -> None:
        """Upload a local file, known to hash to ``oid``; it becomes visible when it is complete.

        Raises:
            StoreError: The remote cannot be reached or written to.
        """
        with self._explaining_errors("writing"):
            if self._protocol in _ATOMIC_PUT:
                self._fs.put_file(source, self._path(oid))
            else:
                self._put_and_move(source, self._path(oid))

    def _put_and_move(self, source: str, final: str) -> None:
        """Put the file under a temporary name, then move it: for protocols whose puts show half-written files."""
        staging = f"{self._root}/incoming/{uuid.uuid4().hex}"
        for folder in (staging, final):
            self._fs.makedirs(folder.rpartition("/")[0], exist_ok=True)
        try:
            self._fs.put_file(source, staging)
            if self._protocol == "file":
                _make_durable(staging)
                os.replace(staging, final)
            else:
                self._fs.mv(staging, final)
        except BaseException:
            if self._fs.exists(staging):
                self._fs.rm_file(staging)
            raise

    def _size(self, oid: str) -> int | None:
        try:
            return int(self._fs.info(self._path(oid))["size"])
        except FileNotFoundError:
            return None
        except PermissionError:
            self._list(oid[:2])  # S3 gives the reason in the body of an answer, which that to a HEAD request has not
            raise

    def _list(self, prefix: str) -> dict[str, int]:
        folder = f"{self._root}/{OBJECTS}/{prefix}"
        try:
            found = self._fs.ls(folder, detail=True)
        except FileNotFoundError:
            return {}
        return {prefix + item["name"].rpartition("/")[2]: int(item["size"]) for item in found}

    def _path(self, oid: str) -> str:
        return f"{self._root}/{object_name(oid)}"

    @property
    def _fs(self) -> Any:
        return self._opened[0]

    @property
    def _root(self) -> str:
        return self._opened[1].rstrip("/")

    @property
    def _protocol(self) -> str:
        protocol = self._fs.protocol
        return str(protocol if isinstance(protocol, str) else protocol[0])

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        """The file system and the path in it."""
        with self._explaining_errors("opening"):
            return file_system(self.url)

    @cached_property
    def _fs_without_retries(self) -> Any:
        """A file system that does not retry: s3fs repeats the same request five times, ``read`` repeats halves."""
        fs, _ = file_system(self.url)
        if hasattr(fs, "retries"):
            fs.retries = 1
        return fs

    @contextmanager
    def _explaining_errors(self, doing: str, local: str = "") -> Iterator[None]:
        """Turn any exception in the block into a ``StoreError`` without credentials; ``local`` is written to."""
        try:
            yield
        except RobotAssetsError:
            raise
        except FileNotFoundError as error:
            if doing == "reading":
                raise
            raise remote_error(doing, self.url, error) from None
        except Exception as error:  # each fsspec protocol raises the exceptions of its own library
            raise remote_error(doing, self.url, error, local) from None


def file_system(url: str, **options: Any) -> tuple[Any, str]:
    """The file system of a URL and the path in it. Listings are not cached: other machines write to it too.

    Args:
        url: A path or an fsspec URL.
        options: For the file system of a URL, such as time limits.

    Raises:
        StoreError: The library of its protocol is not installed.
    """
    protocol, is_url, path = url.partition("://")
    if not is_url:
        return LocalFiles(), url
    if protocol == "file":
        return LocalFiles(), path
    try:
        from fsspec.core import url_to_fs

        fs, root = url_to_fs(url, use_listings_cache=False, skip_instance_cache=True, **options)
    except ImportError as error:  # of fsspec, or of the library of the protocol, which fsspec names
        raise StoreError(
            f"opening {masked(url)} failed: {error}",
            needed=f"fsspec and its library for {protocol}://",
            fix="pip install 'robot-assets[s3]'" if protocol in ("s3", "s3a") else f"pip install {_library(error)}",
        ) from None
    except ValueError as error:  # of fsspec, for a protocol that it does not know, and for a malformed URL
        is_unknown = str(error).startswith("Protocol not known")
        reason = f"there is no such protocol as {protocol}://" if is_unknown else masked(str(error), url)
        raise StoreError(
            f"opening {masked(url)} failed: {reason}",
            needed="a path, or a URL such as s3://bucket/prefix, gs://bucket/prefix or ssh://host/folder",
            fix="set store.url in params.yaml",
        ) from None
    return fs, str(root)


def _library(error: ImportError) -> str:
    """The library that fsspec names, such as gcsfs."""
    named = re.search(r"[Ii]nstall [\"'`]?([\w-]+)|requires [\"'`]?([\w-]+)", str(error))
    return (named[1] or named[2]) if named else error.name or "fsspec"


def _make_durable(path: str) -> None:
    os.chmod(path, READ_ONLY)
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
