"""Downloads a release: each file streamed, hashed while it arrives, resumed by range, durable before it has its name.

What is read is named by a verified ``bundle.json`` alone. Files that another release on the robot has are linked.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from robot_assets.agent.sets import sha256_of
from robot_assets.agent.state import replace_file
from robot_assets.agent.transport import Transport, Unreachable, too_long
from robot_assets.core.publishing import make_durable
from robot_assets.fleet.errors import AgentError
from robot_assets.fleet.layout import blob
from robot_assets.release.bundle import BUNDLE_FILE, Bundle, BundledFile

if TYPE_CHECKING:
    from hashlib import _Hash

_PART = ".part"
_CHUNK = 1 << 20
_KEEP_SIZE = 1
"""FALLOC_FL_KEEP_SIZE of fallocate(2): the size of a partial file stays the number of bytes that have arrived."""
_CANNOT_RESERVE = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})


class NoRoom(AgentError):
    """The disk has too little free space for a release."""


class Damaged(AgentError):
    """A file of the repository has other bytes than its release says."""


@dataclass
class Throttle:
    """Limits the rate of a download.

    Attributes:
        most_bytes_s: Limit; None: none.
    """

    most_bytes_s: float | None
    _due: float = 0.0

    def slow_down(self, count: int) -> None:
        """Sleep as long as ``count`` more bytes need."""
        if self.most_bytes_s is None:
            return
        now = time.monotonic()
        self._due = max(self._due, now) + count / self.most_bytes_s
        time.sleep(self._due - now)


@dataclass
class Download:
    """The download of one release. It goes on where it stopped, in this process or in another one.

    Attributes:
        bundle: The release.
        content: The verified bytes of its ``bundle.json``.
        folder: Where it is downloaded to.
        throttle: Limit of the rate.
    """

    bundle: Bundle
    content: bytes
    folder: Path
    throttle: Throttle
    _complete: set[str] = field(default_factory=set)
    _digests: dict[str, tuple[int, _Hash]] = field(default_factory=dict)

    def reserve(self, reusable: Mapping[str, Path], reserve_bytes: int) -> None:
        """Check that the release fits on the disk, and allocate its space: nothing else can take it then.

        Raises:
            NoRoom: It does not fit, or only within the space that has to stay free.
            OSError: The disk refuses.
        """
        _remove_links(self.folder)
        missing = [file for file in self.bundle.files if not self._is_complete(file) and file.sha256 not in reusable]
        needed = sum(max(0, file.size - _allocated(self._part(file))) for file in missing)
        free = shutil.disk_usage(_existing(self.folder)).free
        if needed + (reserve_bytes if needed else 0) > free:
            raise _no_room(self.folder, needed, reserve_bytes, free)
        self._begin()
        for file in missing:
            _allocate(self._part(file), file.size)

    def run(self, transport: Transport, reusable: Mapping[str, Path], is_over: Callable[[], bool]) -> bool:
        """Download what is missing; whether the release is complete.

        Args:
            transport: Where the repository is.
            reusable: Files on this robot, by sha256.
            is_over: Whether to stop here and go on at the next call.

        Raises:
            Damaged: A file has other bytes than the release says, also when it is read from its start.
            AgentError: The repository cannot be read.
            OSError: The disk refuses.
        """
        self._begin()
        for file in self.bundle.files:
            if self._is_complete(file) or self._link(file, reusable):
                continue
            if not self._receive(file, transport, is_over):
                return False
        self._tidy_up()
        return True

    def _begin(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if _content_of(self.folder / BUNDLE_FILE) != self.content:
            replace_file(self.folder / BUNDLE_FILE, self.content)

    def _part(self, file: BundledFile) -> Path:
        """The partial file, in a folder of its own: its name is not that of a file of the release."""
        return self.folder / _PART / file.sha256

    def _is_complete(self, file: BundledFile) -> bool:
        """Whether the file is here; hashed once in each process, since it may be one of a damaged release."""
        path = self.folder / file.path
        if file.path not in self._complete and _size(path) == file.size:
            if sha256_of(path) == file.sha256:
                self._complete.add(file.path)
            else:
                path.unlink()
        return file.path in self._complete

    def _link(self, file: BundledFile, reusable: Mapping[str, Path]) -> bool:
        """Whether another release has the file, and it is linked or copied to here."""
        source = reusable.get(file.sha256)
        if source is None or _size(source) != file.size or sha256_of(source) != file.sha256:
            return False
        part = self._part(file)
        part.parent.mkdir(exist_ok=True)
        part.unlink(missing_ok=True)
        try:
            os.link(source, part)
        except OSError:
            shutil.copyfile(source, part)
            make_durable([part])
        self._name(file)
        return True

    def _receive(self, file: BundledFile, transport: Transport, is_over: Callable[[], bool]) -> bool:
        """Read a file to its end; whether it is complete. Wrong bytes are read once more, from the start."""
        for is_fresh in (_size(self._part(file)) <= 0, True):
            if not self._append(file, transport, is_over):
                return False
            _, digest = self._digests.pop(file.sha256)
            if digest.hexdigest() == file.sha256:
                self._name(file)
                return True
            self._part(file).unlink()
            if is_fresh:
                break
        raise _damaged(transport, file)

    def _append(self, file: BundledFile, transport: Transport, is_over: Callable[[], bool]) -> bool:
        """Read the rest of a file; whether it has its size now."""
        part = self._part(file)
        part.parent.mkdir(exist_ok=True)
        count, digest = self._resumed(file)
        with part.open("ab", buffering=0) as stream:
            try:
                for chunk in transport.read_from(blob(file.sha256), count) if count < file.size else ():
                    if count + len(chunk) > file.size:
                        raise too_long(transport, blob(file.sha256), file.size)
                    _write(stream.fileno(), chunk)
                    digest.update(chunk)
                    count += len(chunk)
                    self.throttle.slow_down(len(chunk))
                    if count < file.size and is_over():
                        return False
            finally:
                self._digests[file.sha256] = (count, digest)
            os.fsync(stream.fileno())
        if count < file.size:
            raise _short(transport, file, count)
        return True

    def _resumed(self, file: BundledFile) -> tuple[int, _Hash]:
        """How many bytes are here, and their hash: that of this process, else they are read."""
        part = self._part(file)
        size = _size(part)
        known = self._digests.get(file.sha256)
        if known and known[0] == size:
            return known
        if size > file.size:
            part.unlink()
            size = 0
        digest = hashlib.sha256()
        if size > 0:
            with part.open("rb") as stream:
                while chunk := stream.read(_CHUNK):
                    digest.update(chunk)
        return max(size, 0), digest

    def _name(self, file: BundledFile) -> None:
        """Give a durable file its name."""
        path = self.folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        part = self._part(file)
        others = [one for one in self.bundle.files if one.sha256 == file.sha256 and one.path != file.path]
        if any(not self._is_complete(one) for one in others):
            shutil.copyfile(part, path)  # two paths with the same bytes
            make_durable([path])
        else:
            os.replace(part, path)
        self._complete.add(file.path)

    def _tidy_up(self) -> None:
        """Remove what does not belong to the release, and make its names durable."""
        shutil.rmtree(self.folder / _PART, ignore_errors=True)
        known = {self.folder / file.path for file in self.bundle.files} | {self.folder / BUNDLE_FILE}
        for path in sorted(self.folder.rglob("*"), reverse=True):
            if path.is_dir() and not path.is_symlink():
                if not any(path.iterdir()):
                    path.rmdir()
            elif path not in known:
                path.unlink()
        folders = [path for path in self.folder.rglob("*") if path.is_dir()]
        make_durable([*folders, self.folder, self.folder.parent])


def _remove_links(folder: Path) -> None:
    """Remove symbolic links from a download, which has none of its own: they could lead out of it."""
    for path in (folder, *folder.rglob("*")):
        if path.is_symlink():
            path.unlink()


def _write(handle: int, chunk: bytes) -> None:
    """Write all of a chunk: one write may take less, on a disk that is nearly full."""
    view = memoryview(chunk)
    while view:
        view = view[os.write(handle, view) :]


def _allocate(path: Path, size: int) -> None:
    """Reserve the space of a file where the file system can."""
    path.parent.mkdir(exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if size and libc.fallocate(handle, _KEEP_SIZE, ctypes.c_int64(0), ctypes.c_int64(size)) != 0:
            code = ctypes.get_errno()
            if code not in _CANNOT_RESERVE:
                raise OSError(code, os.strerror(code), str(path))
    finally:
        os.close(handle)


def _allocated(path: Path) -> int:
    """Bytes of the disk that a file has, also those that it does not use yet."""
    try:
        return path.stat().st_blocks * 512
    except FileNotFoundError:
        return 0


def _size(path: Path) -> int:
    """Size of a file; -1: there is none."""
    try:
        return path.stat(follow_symlinks=False).st_size
    except (FileNotFoundError, NotADirectoryError):
        return -1


def _content_of(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _existing(path: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    while not path.is_dir():
        path = path.parent
    return path


def _no_room(folder: Path, needed: int, reserve: int, free: int) -> NoRoom:
    mib = 1 << 20
    place = _existing(folder)
    return NoRoom(
        f"the release needs {-(-needed // mib)} MiB on the disk of {place}, of which {reserve // mib} MiB have to stay "
        f"free; {free // mib} MiB are free",
        needed="free space for the present release and the next one",
        fix=f"df -h {place}   # then free some space; the agent goes on by itself",
    )


def _short(transport: Transport, file: BundledFile, count: int) -> Unreachable:
    return Unreachable(
        f"{transport.name}/{blob(file.sha256)} ended after {count} of {file.size} bytes",
        needed="the whole file; it is resumed where it ended",
        fix="robot-assets agent once",
    )


def _damaged(transport: Transport, file: BundledFile) -> Damaged:
    return Damaged(
        f"{transport.name}/{blob(file.sha256)} ({file.path}) has other bytes than its release says",
        needed=f"the file with sha256 {file.sha256}",
        fix="publish the release again, where releases are published; or a server sends something else in its place",
    )
