"""Every operation of this process that changes a folder: traced, and interrupted by a kill or by an error of the disk.

Wraps the calls of ``os`` and the files of ``open``; writes of a file are counted as they reach the system, behind its
buffer.
``test_crash_matrix`` compares the trace with that of strace, so that nothing passes beside the wrapper.
"""

from __future__ import annotations

import builtins
import fcntl
import io
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robot_assets.agent import download
from robot_assets.core import publishing

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
NAMES = frozenset({"create", "mkdir", "symlink", "link", "unlink", "rmdir", "rename", "exchange"})


@dataclass(frozen=True)
class Op:
    """One operation.

    Attributes:
        kind: Of :data:`NAMES`, or write, truncate, allocate, fsync, sync, attributes.
        path: What it changes, absolute.
        other: Second path of a rename, a link or an exchange; target of a symlink.
        inode: Of the file that is created, written or synced.
        offset: Where it writes; the new size of a truncation.
        data: What it writes.
    """

    kind: str
    path: str
    other: str = ""
    inode: int = 0
    offset: int = 0
    data: bytes = b""

    def __str__(self) -> str:
        return f"{self.kind} {self.path}" + (f" -> {self.other}" if self.other else "")


Interrupt = Callable[[int, Op], str | None]
"""Called before each operation with its number: raises OSError, kills, or returns ``half`` for half of a write."""


class Trace:
    """The operations below ``root`` while :meth:`tracing`."""

    def __init__(self, root: Path, interrupt: Interrupt | None = None) -> None:
        self.root = os.path.realpath(root)
        self.ops: list[Op] = []
        self.interrupt = interrupt
        self._opening = False

    @contextmanager
    def tracing(self) -> Iterator[Trace]:
        """Wrap the calls until the block ends."""
        patches = [*self._names(), *self._contents(), *self._files()]
        before = [(place, name, getattr(place, name)) for place, name, _ in patches]
        for place, name, wrapper in patches:
            setattr(place, name, wrapper)
        try:
            yield self
        finally:
            for place, name, original in before:
                setattr(place, name, original)

    def step(self, op: Op) -> str | None:
        """Count an operation that is about to happen."""
        number = len(self.ops)
        how = self.interrupt(number, op) if self.interrupt else None
        self.ops.append(op)
        return how

    def inside(self, path: str) -> bool:
        return path == self.root or path.startswith(self.root + "/")

    def _names(self) -> list[tuple[Any, str, Any]]:
        real = {
            name: getattr(os, name) for name in ("rename", "replace", "link", "symlink", "unlink", "mkdir", "rmdir")
        }

        def one(kind: str, call: Any) -> Any:
            def wrapper(path: Any, *args: Any, dir_fd: int | None = None, **kwargs: Any) -> Any:
                name = _resolved(path, dir_fd)
                if not self.inside(name):
                    return call(path, *args, dir_fd=dir_fd, **kwargs)
                return self._changed(Op(kind, name), lambda: call(path, *args, dir_fd=dir_fd, **kwargs))

            return wrapper

        def two(kind: str, call: Any) -> Any:
            def wrapper(source: Any, target: Any, *args: Any, **kwargs: Any) -> Any:
                one, other = _resolved(source, kwargs.get("src_dir_fd")), _resolved(target, kwargs.get("dst_dir_fd"))
                if not (self.inside(one) or self.inside(other)):
                    return call(source, target, *args, **kwargs)
                return self._changed(Op(kind, one, other), lambda: call(source, target, *args, **kwargs))

            return wrapper

        def symlink(source: Any, target: Any, *args: Any, **kwargs: Any) -> Any:
            name = _resolved(target, kwargs.get("dir_fd"))
            if not self.inside(name):
                return real["symlink"](source, target, *args, **kwargs)
            op = Op("symlink", name, os.fsdecode(source))
            return self._changed(op, lambda: real["symlink"](source, target, *args, **kwargs))

        exchange = publishing._exchange
        return [
            (os, "rename", two("rename", real["rename"])),
            (os, "replace", two("rename", real["replace"])),
            (os, "link", two("link", real["link"])),
            (os, "symlink", symlink),
            (os, "unlink", one("unlink", real["unlink"])),
            (os, "remove", one("unlink", real["unlink"])),
            (os, "mkdir", one("mkdir", real["mkdir"])),
            (os, "rmdir", one("rmdir", real["rmdir"])),
            (publishing, "_exchange", two("exchange", exchange)),
        ]

    def _changed(self, op: Op, call: Callable[[], Any]) -> Any:
        """Run a call that succeeds or changes nothing: one that fails by itself is no operation."""
        self.step(op)
        try:
            return call()
        except OSError:
            self.ops.pop()
            raise

    def _contents(self) -> list[tuple[Any, str, Any]]:  # noqa: C901  # a wrapper for each call
        real = {
            name: getattr(os, name)
            for name in ("write", "pwrite", "fsync", "fdatasync", "sync", "ftruncate", "posix_fallocate", "sendfile")
        }

        def sync(name: str) -> Any:
            def wrapper(fd: Any) -> None:
                number = fd if isinstance(fd, int) else fd.fileno()
                path = _path_of(number)
                if self.inside(path):
                    self.step(Op("fsync", path, inode=os.fstat(number).st_ino))
                else:
                    real[name](fd)

            return wrapper

        def write(fd: int, data: Any) -> int:
            return self.write(fd, data, lambda part: real["write"](fd, part))

        def pwrite(fd: int, data: Any, offset: int) -> int:
            return self.write(fd, data, lambda part: real["pwrite"](fd, part, offset), offset)

        def truncate(fd: int, size: int) -> None:
            path = _path_of(fd)
            if self.inside(path):
                self.step(Op("truncate", path, inode=os.fstat(fd).st_ino, offset=size))
            real["ftruncate"](fd, size)

        def allocate(fd: int, offset: int, length: int) -> None:
            path = _path_of(fd)
            if self.inside(path):
                self.step(Op("allocate", path, inode=os.fstat(fd).st_ino, offset=offset + length))
            real["posix_fallocate"](fd, offset, length)

        def sendfile(out: int, source: int, offset: int | None, count: int, *args: Any) -> int:
            if not self.inside(_path_of(out)):
                return int(real["sendfile"](out, source, offset, count, *args))
            start = os.lseek(source, 0, os.SEEK_CUR) if offset is None else offset
            data = os.pread(source, min(count, 1 << 20), start)
            if offset is None:
                os.lseek(source, len(data), os.SEEK_CUR)
            return write(out, data) if data else 0

        def everything() -> None:
            self.step(Op("sync", self.root))

        reserve = download._allocate

        def reserved(path: Path, size: int) -> None:
            self.step(Op("allocate", str(path)))
            reserve(path, size)

        filesystem = publishing._sync_filesystem

        def sync_filesystem(path: Any) -> None:
            if self.inside(_resolved(path)):
                self.step(Op("sync", self.root))
            else:
                filesystem(path)

        return [
            (os, "write", write),
            (os, "pwrite", pwrite),
            (os, "fsync", sync("fsync")),
            (os, "fdatasync", sync("fdatasync")),
            (os, "sync", everything),
            (os, "ftruncate", truncate),
            (os, "posix_fallocate", allocate),
            (os, "sendfile", sendfile),
            (publishing, "_sync_filesystem", sync_filesystem),
            (download, "_allocate", reserved),
        ]

    def write(self, fd: int, data: Any, call: Callable[[Any], int], at: int | None = None) -> int:
        """Write through ``call``; half of it where the interruption says so."""
        path = _path_of(fd)
        if not self.inside(path):
            return call(data)
        about = os.fstat(fd)
        if at is None:
            at = about.st_size if _appends(fd) else os.lseek(fd, 0, os.SEEK_CUR)
        content = bytes(data)
        if self.step(Op("write", path, inode=about.st_ino, offset=at, data=content)) == "half":
            call(content[: len(content) // 2])
            kill()
        return call(data)

    def _files(self) -> list[tuple[Any, str, Any]]:
        real_open, real_os_open = io.open, os.open
        trace = self

        class Raw(io.FileIO):
            def write(self, data: Any) -> int:
                return trace.write(self.fileno(), data, super().write)

            def truncate(self, size: int | None = None) -> int:
                size = self.tell() if size is None else size
                path = _path_of(self.fileno())
                if trace.inside(path):
                    inode = os.fstat(self.fileno()).st_ino
                    trace.step(Op("truncate", path, inode=inode, offset=size))
                return super().truncate(size)

        def os_open(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
            name = _resolved(path, dir_fd)
            if not flags & os.O_NOFOLLOW:
                name = os.path.realpath(name)
            if not (flags & WRITING and self.inside(name)):
                return real_os_open(path, flags, mode, dir_fd=dir_fd)
            return self._opened(name, flags, lambda: real_os_open(path, flags, mode, dir_fd=dir_fd))

        def open_(
            file: Any,
            mode: str = "r",
            buffering: int = -1,
            encoding: str | None = None,
            errors: str | None = None,
            newline: str | None = None,
            closefd: bool = True,
            opener: Any = None,
        ) -> Any:
            if not set(mode) & set("wax+"):
                return real_open(file, mode, buffering, encoding, errors, newline, closefd, opener)
            plain = mode.replace("b", "").replace("t", "")
            own = None if isinstance(file, int) else (opener or (lambda path, flags: os_open(path, flags, 0o666)))
            raw = Raw(file, plain, closefd, own)
            if buffering == 0:
                return raw
            buffer = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
            return buffer if "b" in mode else io.TextIOWrapper(buffer, encoding, errors, newline, buffering == 1)

        return [(os, "open", os_open), (io, "open", open_), (builtins, "open", open_)]

    def _opened(self, name: str, flags: int, call: Callable[[], int]) -> int:
        existed = os.path.lexists(name)
        if existed and not (flags & os.O_TRUNC and os.path.getsize(name)):
            return call()
        number = len(self.ops)
        self.step(Op("truncate" if existed else "create", name))
        try:
            handle = call()
        except OSError:
            self.ops.pop()
            raise
        self.ops[number] = Op("truncate" if existed else "create", name, inode=os.fstat(handle).st_ino)
        return handle


def kill() -> None:
    """End this process as a loss of power does: at once, with nothing flushed."""
    os.kill(os.getpid(), signal.SIGKILL)


def killed_at(number: int, half: bool = False) -> Interrupt:
    """Kill this process before the operation ``number``; ``half``: of a write, after half of its bytes."""

    def interrupt(index: int, op: Op) -> str | None:
        if index == number:
            if half and op.kind == "write" and len(op.data) > 1:
                return "half"
            kill()
        return None

    return interrupt


def failing_at(number: int, code: int, *, forever: bool = True) -> Interrupt:
    """Raise an error of the disk at the operation ``number``, and at every later one that would need room or the disk.

    A full disk and a quota let files be removed and synced; a read-only or broken disk refuses everything.
    """

    def interrupt(index: int, op: Op) -> None:
        if index != number and not (forever and index > number):
            return
        if code in NEED_ROOM and op.kind not in {"create", "mkdir", "symlink", "link", "write", "allocate", "rename"}:
            return
        raise OSError(code, os.strerror(code), op.path)

    return interrupt


NEED_ROOM = frozenset({28, 122})  # ENOSPC, EDQUOT


def _resolved(path: Any, dir_fd: int | None = None) -> str:
    """Absolute path whose last part is kept as it is, for the operations that do not follow a link."""
    text = os.fsdecode(path)
    if not os.path.isabs(text):
        text = os.path.join(os.getcwd() if dir_fd is None else _path_of(dir_fd), text)
    folder, name = os.path.split(text.rstrip("/"))
    return os.path.join(os.path.realpath(folder), name)


def _path_of(fd: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return ""


def _appends(fd: int) -> bool:
    return bool(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND)
