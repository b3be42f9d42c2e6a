"""The lock of a repository: one writer at a time.

A folder of this machine is locked by the kernel, which releases the lock when the process ends, however it ends.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from robot_assets.fleet.errors import FleetError
from robot_assets.fleet.files import Files
from robot_assets.fleet.layout import LOCKS

WAIT_S = 120.0
_POLL_S = 0.05


class Lock:
    """A lock that is held."""

    def check(self) -> None:
        """Raise FleetError when another process has taken the lock over."""


@contextmanager
def repository_lock(files: Files, wait_s: float = WAIT_S) -> Iterator[Lock]:
    """Hold the lock of a repository.

    Raises:
        FleetError: Another process holds it for longer than ``wait_s``.
    """
    if files.folder is not None:
        with _folder_lock(files, files.folder, wait_s) as lock:
            yield lock
        return
    yield Lock()


@contextmanager
def _folder_lock(files: Files, folder: Path, wait_s: float) -> Iterator[Lock]:
    handle = _opened(files, folder / LOCKS)
    try:
        give_up_at = time.monotonic() + wait_s
        while not _is_locked(handle):
            if time.monotonic() > give_up_at:
                raise _held(files, wait_s, "")
            time.sleep(_POLL_S)
        yield Lock()
    finally:
        os.close(handle)


def _opened(files: Files, folder: Path) -> int:
    with files.explained("writing"):
        folder.mkdir(parents=True, exist_ok=True)
        return os.open(folder / "local", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)


def _is_locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _held(files: Files, wait_s: float, by: str) -> FleetError:
    return FleetError(
        f"another process has been writing {files.name} for {wait_s:.0f} s{by}",
        needed="one writer at a time",
        fix="run the command again when that process has ended",
    )
