"""The lock of a repository: one writer at a time.

A folder of this machine is locked by the kernel, which releases the lock when the process ends, however it ends.
Elsewhere the lock is a series of numbered files, ``locks/00000012.json``, each of which exactly one process can create.
The highest number is the lock: free when its file states that it was released, and taken over, with the next number,
when it has not been renewed for ``LEASE_S``. So no clocks are compared, and a process that has lost the lock cannot
release it: its number is not the highest any more.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from robot_assets.fleet.errors import FleetError
from robot_assets.fleet.files import Files, Listed
from robot_assets.fleet.layout import LOCKS

WAIT_S = 600.0
"""The steps of all groups of a fleet may publish one after the other, a few seconds each in a bucket."""
LEASE_S = 60.0
_POLL_S = 0.5
_FOLDER_POLL_S = 0.05


class Lock:
    """A lock that is held."""

    def check(self) -> None:
        """Raise FleetError when another process has taken the lock over; else renew it where that is due."""


@contextmanager
def repository_lock(files: Files, wait_s: float = WAIT_S, lease_s: float = LEASE_S) -> Iterator[Lock]:
    """Hold the lock of a repository.

    Args:
        files: The repository.
        wait_s: How long to wait for another process.
        lease_s: Time without a renewal after which a process counts as dead.

    Raises:
        FleetError: Another process holds it for longer than ``wait_s``, or the repository cannot be written.
    """
    if files.folder is not None:
        with _folder_lock(files, files.folder, wait_s):
            yield Lock()
        return
    lease = _acquired(files, wait_s, lease_s)
    try:
        yield lease
    finally:
        lease.release()


@contextmanager
def _folder_lock(files: Files, folder: Path, wait_s: float) -> Iterator[None]:
    handle = _opened(files, folder / LOCKS)
    try:
        give_up_at = time.monotonic() + wait_s
        while not _is_locked(handle):
            if time.monotonic() > give_up_at:
                raise _held(files, wait_s, "")
            time.sleep(_FOLDER_POLL_S)
        yield
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


@dataclass
class _Lease(Lock):
    """A numbered file that this process has created.

    Attributes:
        files: The repository.
        number: Of the file.
        lease_s: Time without a renewal after which it may be taken over.
        owner: Of this lease and no other.
        renewed_at: When it was last written, on this process's monotonic clock.
    """

    files: Files
    number: int
    lease_s: float
    owner: str = field(default_factory=lambda: uuid.uuid4().hex)
    renewed_at: float = field(default_factory=time.monotonic)

    def check(self) -> None:
        """Raise FleetError when another process has taken the lock over; else renew it where that is due."""
        if not self.is_held:
            raise FleetError(
                f"another process has taken over the lock of {self.files.name}",
                needed=f"a process that is not suspended for {self.lease_s:.0f} s while it publishes",
                fix="run the command again; what was written so far is not published",
            )
        if time.monotonic() - self.renewed_at > self.lease_s / 3:
            self.renewed_at = time.monotonic()
            self.files.write(_path(self.number), self.content())

    @property
    def is_held(self) -> bool:
        """Whether this is the highest number, and its file the one that was written here."""
        highest = _highest(self.files)
        return highest is not None and _number(highest) == self.number and _owner(self.files, highest) == self.owner

    def content(self, is_released: bool = False) -> bytes:
        """The content of the file; the host is for people."""
        facts = {"owner": self.owner, "host": socket.gethostname(), "pid": os.getpid(), "released": is_released}
        return json.dumps(facts, sort_keys=True).encode()

    def release(self) -> None:
        """Give the lock back. Where that fails, it is taken over after ``lease_s``."""
        with suppress(FleetError):
            self.files.write(_path(self.number), self.content(is_released=True))


def _acquired(files: Files, wait_s: float, lease_s: float) -> _Lease:
    """A lease that is held; waits for that of another process."""
    give_up_at = time.monotonic() + wait_s
    seen, since = "", time.monotonic()
    while True:
        highest = _highest(files)
        if highest is not None and seen != (state := f"{highest.path} {highest.tag}"):
            seen, since = state, time.monotonic()
        if highest is None or _facts(files, highest).get("released") or time.monotonic() - since > lease_s:
            lease = _created(files, _number(highest) + 1 if highest else 1, lease_s)
            if lease is not None:
                return lease
        elif time.monotonic() > give_up_at:
            raise _held(files, wait_s, f": {_facts(files, highest).get('host', 'unknown host')}")
        time.sleep(_POLL_S * random.uniform(0.5, 1.5))


def _created(files: Files, number: int, lease_s: float) -> _Lease | None:
    """The lease with a number; None where another process was quicker.

    A process that was slow may create a number that was removed long ago: it is not the highest then.
    """
    lease = _Lease(files, number, lease_s)
    if not files.write_new(_path(number), lease.content()):
        return None
    if not lease.is_held:
        if _owner_of(files, number) == lease.owner:
            files.remove(_path(number))
        return None
    for one in _numbered(files):
        if _number(one) < number:
            files.remove(one.path)
    return lease


def _path(number: int) -> str:
    return f"{LOCKS}/{number:08}.json"


def _number(listed: Listed) -> int:
    return int(PurePosixPath(listed.path).stem)


def _numbered(files: Files) -> list[Listed]:
    return [one for one in files.listing(LOCKS) if PurePosixPath(one.path).stem.isdecimal()]


def _highest(files: Files) -> Listed | None:
    return max(_numbered(files), key=_number, default=None)


def _owner(files: Files, listed: Listed) -> object:
    return _facts(files, listed).get("owner")


def _owner_of(files: Files, number: int) -> object:
    return next((_owner(files, one) for one in _numbered(files) if _number(one) == number), None)


def _facts(files: Files, listed: Listed) -> dict[str, object]:
    """The content of a numbered file; of one that is gone or damaged nothing."""
    with suppress(FileNotFoundError, ValueError):
        found = json.loads(files.read(listed.path))
        return found if isinstance(found, dict) else {}
    return {}


def _held(files: Files, wait_s: float, by: str) -> FleetError:
    return FleetError(
        f"another process has been writing {files.name} for {wait_s:.0f} s{by}",
        needed="one writer at a time",
        fix="run the command again when that process has ended",
    )
