"""Errors of the operating system and of SQLite, in found, needed and fix.

Every command imports this module, and only one that fails what it needs. About folders that may not be read,
``os.path`` answers False where ``Path`` raises.
"""

from __future__ import annotations

import errno
import os
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path

from robot_assets.core.errors import RobotAssetsError


class TranslatedError(RobotAssetsError):
    """An exception of a library or of the operating system."""


_Parts = tuple[str, str, str]
"""Found, needed and fix."""


def system_error(error: BaseException) -> RobotAssetsError | None:
    """An ``OSError`` in three parts, with the path or the disk; None for other exceptions."""
    if not isinstance(error, OSError):
        return None
    import socket

    if isinstance(error, socket.gaierror):
        return _error(_unresolved(error))
    if error.errno is None and not isinstance(error, ConnectionError | TimeoutError):
        return None  # of a library that derives its exceptions from OSError
    path = _path(error)
    if error.errno == errno.ENOENT and not path and _is_cwd_deleted():
        return _error(_deleted_cwd())
    if error.errno == errno.ENOENT and not path and "temporary directory" in str(error):
        return _error(_no_temporary_folder())
    if error.errno in _FULL:
        return _error(_full(path))
    parts = _BY_ERRNO.get(error.errno or 0, _other(error))
    return _error(parts(path))


def sqlite_error(error: BaseException, folder: Path | None = None) -> RobotAssetsError | None:
    """An exception of ``sqlite3`` in three parts; None for other exceptions.

    Args:
        error: The exception.
        folder: Where the database files are, when that is known.
    """
    import sqlite3

    if not isinstance(error, sqlite3.Error):
        return None
    text, place = str(error), f" in {folder}" if folder else ""
    for words, (found, needed, fix) in _SQLITE.items():
        if any(word in text for word in words):
            where = shlex.quote(str(folder)) if folder else "FOLDER"
            return TranslatedError(f"{found}{place} ({text})", needed=needed, fix=fix.replace("FOLDER", where))
    return TranslatedError(
        f"SQLite failed{place}: {text}",
        needed="database files that SQLite can read and write",
        fix=f"ls -la {shlex.quote(str(folder)) if folder else '.'}   # owner, rights and free space of the files",
    )


_SQLITE: Mapping[tuple[str, ...], _Parts] = {
    ("readonly database", "read-only database"): (
        "a database file is read-only",
        "database files and their folder that can be written",
        "chmod -R u+w FOLDER   # or work in a copy of the project that can be written",
    ),
    ("unable to open database",): (
        "a database file cannot be opened",
        "a folder that exists and can be written",
        "ls -la FOLDER   # owner and rights; or too few open files are allowed: ulimit -n 4096",
    ),
    ("database is locked", "table is locked"): (
        "another process has locked a database file",
        "one writer at a time, and a file system that supports locks (NFS often does not)",
        "fuser -v FOLDER/*   # shows the process; wait for it to end, then run the command again",
    ),
    ("malformed", "not a database", "file is encrypted", "no such table", "no such column", "unsupported file"): (
        "a database file is damaged or of another kind",
        "intact SQLite files",
        "mv FOLDER FOLDER.damaged   # or restore it from a backup; the history in it is lost, the store is kept",
    ),
    ("disk is full",): (
        "no space left for a database file",
        "free space on its disk",
        "df -h FOLDER   # then free some space and run the command again",
    ),
    ("disk I/O error",): (
        "a database file cannot be read or written",
        "a disk with free space and without errors",
        "df -h FOLDER   # a full disk is the most frequent cause; then see dmesg",
    ),
}
"""Words in a message of SQLite -> the three parts."""

_FULL = {errno.ENOSPC, errno.EDQUOT}


def _path(error: OSError) -> str:
    """The path of the error, the second one where the first exists; empty when the system gave none."""
    names = [
        os.fsdecode(one) for one in (error.filename, error.filename2) if isinstance(one, str | bytes | os.PathLike)
    ]
    return names[-1] if len(names) > 1 and os.path.lexists(names[0]) else next(iter(names), "")


def _full(path: str) -> _Parts:
    disk = mount_of(Path(path)) if path else _full_disk()
    where = f"on {disk}" if disk else "on a disk that is written to"
    shown = f", writing {path}" if path else ""
    return (
        f"no space left {where}{shown}",
        "free space and quota for what is written",
        f"df -h {shlex.quote(disk or '.')}   # then free some space and run the command again",
    )


def mount_of(path: Path) -> str:
    """The mount point of a path, or of its nearest parent that exists."""
    place = Path(os.path.abspath(path))
    while not os.path.ismount(place) and place != place.parent:
        place = place.parent
    return str(place)


def _full_disk() -> str:
    """The mount point with no free space among those that commands write to; empty when each has some."""
    import tempfile

    for folder in (os.curdir, tempfile.gettempdir(), os.path.expanduser("~")):
        try:
            free = os.statvfs(folder).f_bavail
        except OSError:
            continue
        if not free:
            return mount_of(Path(folder))
    return ""


def _is_cwd_deleted() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False


def _deleted_cwd() -> _Parts:
    return (
        "the working directory has been deleted",
        "a working directory that exists",
        f"cd {shlex.quote(os.path.expanduser('~'))}   # or to the project",
    )


def _no_temporary_folder() -> _Parts:
    return (
        f"no folder for temporary files: neither {os.environ.get('TMPDIR', '$TMPDIR')} nor /tmp can be written",
        "a folder that exists and can be written",
        "export TMPDIR=/var/tmp   # or another folder; then run the command again",
    )


def _too_large(path: str) -> _Parts:
    return (
        f"{path or 'a file'} is larger than the limit of this shell or of the file system",
        "a limit of file sizes that is larger",
        "ulimit -f unlimited   # then run the command again",
    )


def _missing(path: str) -> _Parts:
    parent = _existing_parent(path)
    return (f"{path or 'a file'} does not exist", "a path that exists", f"ls -la {shlex.quote(parent)}")


def _existing_parent(path: str) -> str:
    place = Path(path or os.curdir)
    while not os.path.isdir(place) and place != place.parent:
        place = place.parent
    return str(place)


def _not_a_folder(path: str) -> _Parts:
    file = Path(path)
    while not os.path.isfile(file) and file != file.parent:
        file = file.parent
    return (
        f"{file if os.path.isfile(file) else path} is a file" + (f", in the path {path}" if str(file) != path else ""),
        "a folder",
        f"ls -la {shlex.quote(_existing_parent(path))}   # name a folder, or move the file away",
    )


def _a_folder(path: str) -> _Parts:
    return (f"{path} is a folder", "a file", f"ls -la {shlex.quote(path)}   # name a file")


def _denied(path: str) -> _Parts:
    place = path if os.path.lexists(path) else _existing_parent(path)
    return (
        f"permission denied: {path or 'a file'}",
        "a path that this user may read and write",
        f"ls -ld {shlex.quote(place)}   # then change its owner or rights, or name another path",
    )


def _read_only(path: str) -> _Parts:
    disk = mount_of(Path(path or os.curdir))
    return (
        f"{disk} is a read-only file system" + (f", writing {path}" if path else ""),
        "a folder that can be written",
        f"mount -o remount,rw {shlex.quote(disk)}   # or work in a copy of the project that can be written",
    )


def _exists(path: str) -> _Parts:
    if os.path.isfile(path):  # in the place of a folder that was to be created
        return (f"{path} is a file", "a folder, or a path that is free", f"ls -la {shlex.quote(path)}")
    return (f"{path} exists already", "a path that is free", f"ls -la {shlex.quote(path)}   # name another path")


def _too_many_files(path: str) -> _Parts:
    return (
        "too many open files" + (f", opening {path}" if path else ""),
        "a higher limit of open files",
        "ulimit -n 4096   # then run the command again",
    )


def _name_too_long(path: str) -> _Parts:
    shown = path if len(path) <= 100 else f"{path[:100]}..."
    return (f"the name {shown!r} is too long", "names of at most 255 bytes", "use a shorter name or folder")


def _loop(path: str) -> _Parts:
    return (
        f"{path} is a symbolic link that leads back to itself",
        "a link that leads to a file or folder",
        f"ls -la {shlex.quote(_existing_parent(path))}   # then remove the link",
    )


def _port_in_use(path: str) -> _Parts:
    return ("the port is in use", "a free port", "ss -ltnp   # shows who uses it; or choose another --port")


def _no_memory(path: str) -> _Parts:
    return ("the memory of this machine is exhausted", "more free memory", "free -h   # then end other processes")


def _other(error: OSError) -> Callable[[str], _Parts]:
    text = error.strerror or str(error) or type(error).__name__

    def parts(path: str) -> _Parts:
        if isinstance(error, ConnectionError | TimeoutError):
            return (f"the connection failed: {text}", "a network connection to the service", "run the command again")
        place = f": {path}" if path else ""
        fix = f"ls -ld {shlex.quote(path)}" if path else "dmesg | tail"
        return (
            f"the operating system refused{place} ({text})",
            "a file system that works",
            f"{fix}   # then run it again",
        )

    return parts


def _unresolved(error: OSError) -> _Parts:
    return (
        f"a host name cannot be resolved: {error.strerror or error}",
        "a network connection, and a name that DNS knows",
        "getent hosts NAME   # with the host of store.url",
    )


_BY_ERRNO: Mapping[int, Callable[[str], _Parts]] = {
    errno.ENOENT: _missing,
    errno.ENOTDIR: _not_a_folder,
    errno.EISDIR: _a_folder,
    errno.EACCES: _denied,
    errno.EPERM: _denied,
    errno.EROFS: _read_only,
    errno.EEXIST: _exists,
    errno.ENOTEMPTY: _exists,
    errno.EMFILE: _too_many_files,
    errno.ENFILE: _too_many_files,
    errno.ENAMETOOLONG: _name_too_long,
    errno.ELOOP: _loop,
    errno.EADDRINUSE: _port_in_use,
    errno.ENOMEM: _no_memory,
    errno.EFBIG: _too_large,
}


def _error(parts: _Parts) -> TranslatedError:
    found, needed, fix = parts
    return TranslatedError(found, needed=needed, fix=fix)
