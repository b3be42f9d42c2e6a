"""Files of a distribution repository: a folder, or any URL that fsspec opens. Paths are relative, with ``/``."""

from __future__ import annotations

import errno
import os
import shlex
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

from robot_assets.core.errors import RobotAssetsError
from robot_assets.core.publishing import make_durable
from robot_assets.fleet.errors import FleetError
from robot_assets.store.os_errors import masked
from robot_assets.store.remote import file_system
from robot_assets.store.remote_errors import remote_error

CHUNK_BYTES = 1 << 20
CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 20
ATTEMPTS = 2
"""Attempts of botocore, and of s3fs around it: a storage that hangs is an error after at most 80 seconds."""
_S3 = {"s3", "s3a"}
_ATOMIC_PUT = {*_S3, "gs", "gcs", "az", "abfs", "abfss", "oss"}
"""Protocols where a file becomes visible when its last byte has arrived."""
_PART = ".part"
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EMLINK}
"""Answers of a file system without hard links, such as FAT. Writers have a lock: nobody else creates the name."""


@dataclass(frozen=True)
class Listed:
    """One file in a listing.

    Attributes:
        path: Relative to the root.
        size: Bytes.
        modified_at: When the storage received it, by its own clock.
        tag: Changes with the content: an ETag, or size and time.
    """

    path: str
    size: int
    modified_at: datetime
    tag: str


class Files:
    """Files below a URL.

    Args:
        url: A folder, ``file://``, ``s3://``, or another fsspec URL. It may contain credentials: print ``name``.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        protocol, is_url, rest = url.partition("://")
        self.folder: Path | None = Path(rest if is_url else url) if not is_url or protocol == "file" else None
        """The folder, where it is one of this machine."""

    def __repr__(self) -> str:
        return f"Files({self.name!r})"

    @property
    def name(self) -> str:
        """The URL without credentials."""
        return masked(self.url)

    def where(self, path: str) -> str:
        """A file as a person finds it: its path or URL, without credentials."""
        return str(self.folder / path) if self.folder else f"{self.name.rstrip('/')}/{path}"

    @property
    def _storage(self) -> _Folder | _Bucket:
        return self._opened

    @cached_property
    def _opened(self) -> _Folder | _Bucket:
        if self.folder is not None:
            return _Folder(self.folder)
        with self.explained("opening"):
            return _Bucket(self.url)

    def read(self, path: str) -> bytes:
        """All bytes of a file. Raises FileNotFoundError or FleetError."""
        with self.explained("reading"):
            return self._storage.read(_inside(path))

    def read_from(self, path: str, start: int) -> Iterator[bytes]:
        """Bytes from ``start`` on, in chunks. Raises FileNotFoundError or FleetError."""
        with self.explained("reading"):
            yield from self._storage.read_from(_inside(path), start)

    def write(self, path: str, content: bytes) -> None:
        """Replace a file; readers see the old or the new bytes. Raises FleetError."""
        with self.explained("writing"):
            self._storage.write(_inside(path), content)

    def write_new(self, path: str, content: bytes) -> bool:
        """Write a file unless it exists; of two concurrent calls one returns True. Raises FleetError."""
        with self.explained("writing"):
            return self._storage.write_new(_inside(path), content)

    def upload(self, source: Path, path: str) -> None:
        """As ``write``, from a local file of any size. Raises FleetError."""
        with self.explained("writing"):
            self._storage.upload(source, _inside(path))

    def has(self, path: str) -> bool:
        """Whether there is such a file. Raises FleetError."""
        return self.size(path) is not None

    def size(self, path: str) -> int | None:
        """Bytes of a file; None: there is none. Raises FleetError."""
        with self.explained("looking into"):
            return self._storage.size(_inside(path))

    def listing(self, folder: str) -> list[Listed]:
        """The files in a folder and below it; none where there is no folder. Raises FleetError."""
        with self.explained("listing"):
            return sorted(self._storage.listing(_inside(folder)), key=lambda one: one.path)

    def remove(self, path: str) -> None:
        """Remove a file, if it is there. Raises FleetError."""
        with self.explained("removing from"):
            self._storage.remove(_inside(path))

    @contextmanager
    def explained(self, doing: str) -> Iterator[None]:
        """Turn any exception in the block, but FileNotFoundError of reading, into a FleetError without credentials."""
        try:
            yield
        except FileNotFoundError as error:
            if doing == "reading":
                raise
            raise _fleet_error(remote_error(doing, self.url, error)) from None
        except FleetError:
            raise
        except RobotAssetsError as error:
            raise _fleet_error(error) from None
        except Exception as error:  # each fsspec protocol raises the exceptions of its own library
            raise _fleet_error(remote_error(doing, self.url, error)) from None


def _fleet_error(error: RobotAssetsError) -> FleetError:
    """The error of a store as that of a repository: the setting is ``fleet.url``, and there is no cache."""
    fix = error.fix.replace(" (for the cache of a remote ROBOT_ASSETS_CACHE)", "").replace("store.url", "fleet.url")
    return FleetError(error.found, needed=error.needed.replace("store.url", "fleet.url"), fix=fix)


def _inside(path: str) -> str:
    """``path`` where it stays below the root: names of groups and hashes come from files that others wrote."""
    if path.startswith("/") or "\\" in path or "\0" in path or any(part in ("", ".", "..") for part in path.split("/")):
        raise FleetError(
            f"{path!r} leads out of the repository",
            needed="a relative path without . and ..",
            fix="restore the file that names it; robot-assets wrote it with relative paths",
        )
    return path


class _Folder:
    """A folder of this machine."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, path: str) -> bytes:
        with self._opened(path) as stream:
            return stream.read()

    def read_from(self, path: str, start: int) -> Iterator[bytes]:
        with self._opened(path) as stream:
            stream.seek(start)
            while chunk := stream.read(CHUNK_BYTES):
                yield chunk

    def _opened(self, path: str) -> BinaryIO:
        """Open a file. On a disk that comes from outside a name may be a pipe or a device, which have no end."""
        handle = os.open(self.root / path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        if stat.S_ISREG(os.fstat(handle).st_mode):
            return open(handle, "rb")
        os.close(handle)
        raise FleetError(
            f"{self.root / path} is not a file",
            needed="a file of the distribution repository",
            fix=f"ls -l {shlex.quote(str(self.root / path))}",
        )

    def write(self, path: str, content: bytes) -> None:
        with self._staged(path) as staging:
            staging.write_bytes(content)
            self._publish(staging, self.root / path)

    def write_new(self, path: str, content: bytes) -> bool:
        final = self.root / path
        with self._staged(path) as staging:
            staging.write_bytes(content)
            make_durable([staging])
            try:
                os.link(staging, final)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in _NO_LINKS or final.exists():
                    raise
                os.replace(staging, final)
            make_durable([final.parent])
        return True

    def upload(self, source: Path, path: str) -> None:
        with self._staged(path) as staging:
            shutil.copyfile(source, staging)
            self._publish(staging, self.root / path)

    def size(self, path: str) -> int | None:
        try:
            return (self.root / path).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return None

    def listing(self, folder: str) -> Iterator[Listed]:
        # Strings, since pathlib takes longer than the system for the reports of thousands of robots.
        for place, _, names in os.walk(self.root / folder, onerror=_unless_missing):
            below = "" if (inside := os.path.relpath(place, self.root)) == "." else f"{inside.replace(os.sep, '/')}/"
            for name in names:
                if not name.endswith(_PART):
                    with suppress(FileNotFoundError):  # removed since it was listed
                        yield _listed(os.stat(f"{place}/{name}"), f"{below}{name}")

    def remove(self, path: str) -> None:
        (self.root / path).unlink(missing_ok=True)

    @contextmanager
    def _staged(self, path: str) -> Iterator[Path]:
        """A new file beside the final one; removed at the end. Several processes may write one name."""
        final = self.root / path
        final.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{final.name}.", suffix=_PART, dir=final.parent)
        with suppress(PermissionError):  # a FAT file system, as of a USB stick, has no modes
            os.fchmod(handle, 0o644)
        os.close(handle)
        try:
            yield Path(name)
        finally:
            Path(name).unlink(missing_ok=True)

    def _publish(self, staging: Path, final: Path) -> None:
        make_durable([staging])
        os.replace(staging, final)
        make_durable([final.parent])


def _listed(facts: os.stat_result, path: str) -> Listed:
    modified_at = datetime.fromtimestamp(facts.st_mtime, UTC)
    return Listed(path, facts.st_size, modified_at, f"{facts.st_size}-{facts.st_mtime_ns}")


def _unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


class _Bucket:
    """Files at a URL of fsspec."""

    def __init__(self, url: str) -> None:
        self.fs, root = file_system(url, **_options(url.partition("://")[0]))
        self.root = root.rstrip("/")
        if hasattr(self.fs, "retries"):
            self.fs.retries = ATTEMPTS

    def read(self, path: str) -> bytes:
        return bytes(self.fs.cat_file(self._path(path)))

    def read_from(self, path: str, start: int) -> Iterator[bytes]:
        size_bytes = int(self.fs.info(self._path(path))["size"])
        for at in range(start, size_bytes, CHUNK_BYTES):
            yield bytes(self.fs.cat_file(self._path(path), start=at, end=min(at + CHUNK_BYTES, size_bytes)))

    def write(self, path: str, content: bytes) -> None:
        if self._is_atomic:
            self.fs.pipe_file(self._path(path), content)
            return
        with self._staged(path) as staging:
            self.fs.pipe_file(staging, content)
            self.fs.mv(staging, self._path(path))

    def write_new(self, path: str, content: bytes) -> bool:
        self._make_parent(path)
        try:
            self.fs.pipe_file(self._path(path), content, mode="create")
        except FileExistsError:
            return False
        return True

    def upload(self, source: Path, path: str) -> None:
        if self._is_atomic:
            self.fs.put_file(str(source), self._path(path))
            return
        with self._staged(path) as staging:
            self.fs.put_file(str(source), staging)
            self.fs.mv(staging, self._path(path))

    def size(self, path: str) -> int | None:
        try:
            return int(self.fs.info(self._path(path))["size"])
        except FileNotFoundError:
            return None
        except PermissionError:
            self.fs.ls(self._path(path).rpartition("/")[0])  # S3 gives no reason in the answer to a HEAD request
            raise

    def listing(self, folder: str) -> Iterator[Listed]:
        try:
            found = self.fs.find(self._path(folder), detail=True)
        except FileNotFoundError:
            return
        for name, facts in found.items():
            if not name.endswith(_PART):
                yield Listed(name[len(self.root) + 1 :], int(facts["size"]), _modified_at(facts), _tag(facts))

    def remove(self, path: str) -> None:
        with suppress(FileNotFoundError):
            self.fs.rm_file(self._path(path))

    @property
    def _is_atomic(self) -> bool:
        protocol = self.fs.protocol
        return (protocol if isinstance(protocol, str) else protocol[0]) in _ATOMIC_PUT

    def _path(self, path: str) -> str:
        return f"{self.root}/{path}"

    def _make_parent(self, path: str) -> None:
        if not self._is_atomic:
            self.fs.makedirs(self._path(path).rpartition("/")[0], exist_ok=True)

    @contextmanager
    def _staged(self, path: str) -> Iterator[str]:
        """A name beside the final one, for protocols whose puts show half-written files."""
        self._make_parent(path)
        staging = f"{self._path(path)}.{os.urandom(8).hex()}{_PART}"
        try:
            yield staging
        finally:
            if self.fs.exists(staging):
                self.fs.rm_file(staging)


def _options(protocol: str) -> dict[str, Any]:
    """Time limits: without them a storage that hangs would hold the lock of the repository for minutes."""
    if protocol not in _S3:
        return {}
    limits = {"connect_timeout": CONNECT_TIMEOUT_S, "read_timeout": READ_TIMEOUT_S}
    return {"config_kwargs": {**limits, "retries": {"total_max_attempts": ATTEMPTS}}}


def _modified_at(facts: dict[str, Any]) -> datetime:
    """When the storage received a file; each protocol has a name of its own for it."""
    names = ("LastModified", "last_modified", "mtime", "updated", "created")
    found = next((facts[name] for name in names if facts.get(name) is not None), None)
    if isinstance(found, int | float):
        return datetime.fromtimestamp(found, UTC)
    if isinstance(found, str):
        found = datetime.fromisoformat(found)
    if not isinstance(found, datetime):
        raise FleetError(
            "the storage does not state when it received a file",
            needed="a storage with times of modification, such as a folder or S3",
            fix="set fleet.url in params.yaml",
        )
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _tag(facts: dict[str, Any]) -> str:
    named = facts.get("ETag") or facts.get("etag")
    return str(named) if named else f"{facts['size']}-{_modified_at(facts).timestamp()}"
