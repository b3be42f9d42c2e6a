"""Which artifacts of a cache are needed by whom, and when each was used last.

``uses/DIGEST`` in the cache is an empty file for each artifact. Who opens the artifact holds a shared lock on that
file, which goes with the process, however it ends; the file's mtime is the time of the last use. The access times of
the objects themselves would not do: hardly a file system keeps them to more than the day.

Who removes objects takes the ``gate`` alone, and who begins to need something passes through it: nobody begins between
a look at the locks and the removal.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from robot_assets.store.cache import Cache

USES = "uses"
_GATE = "uses.gate"


@dataclass
class _Held:
    """A lock of this process.

    Attributes:
        handle: The open file that has the lock. Closing it lets go, once no forked process has it either.
        scopes: How many blocks need it.
    """

    handle: int
    scopes: int = 0


_lock = threading.Lock()
_held: dict[str, _Held] = {}
_of_process: set[str] = set()
_here = threading.local()


def hold(cache: Cache, digest: str) -> None:
    """Need an artifact: until the innermost ``letting_go`` block of this thread ends, else until this process ends.

    Raises:
        OSError: The cache cannot be written to.
    """
    path = f"{cache.root}/{USES}/{digest}"
    scope = _scope()
    with _lock:
        held = _held.get(path)
        if held is not None and not os.fstat(held.handle).st_nlink:  # somebody has removed the whole cache since
            os.close(held.handle)
            held.handle = _locked(cache, path)
        if held is None:
            held = _held[path] = _Held(_locked(cache, path))
        if path not in scope:
            scope.add(path)
            held.scopes += 1
        os.utime(held.handle)


@contextmanager
def letting_go() -> Iterator[None]:
    """Let go, at the end of the block, of what was needed in it alone. The paths that it opened are void then."""
    outer, inner = _scope(), set[str]()
    _here.scope = inner
    try:
        yield
    finally:
        _here.scope = outer
        with _lock:
            for path in inner:
                held = _held[path]
                held.scopes -= 1
                if not held.scopes:
                    os.close(_held.pop(path).handle)


@contextmanager
def gate(cache: Cache, *, alone: bool) -> Iterator[None]:
    """Keep others from removing objects; with ``alone``, from beginning to need some as well."""
    handle = os.open(f"{cache.root}/{_GATE}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield
    finally:
        os.close(handle)


def last_uses(cache: Cache) -> dict[str, int]:
    """When each artifact was used last, in nanoseconds since 1970. Also of those that are gone."""
    try:
        with os.scandir(f"{cache.root}/{USES}") as listing:
            return {entry.name: entry.stat().st_mtime_ns for entry in listing}
    except FileNotFoundError:
        return {}


def is_held(cache: Cache, digest: str) -> bool:
    """Whether a process needs an artifact. The answer holds for as long as the gate is ours alone."""
    try:
        handle = os.open(f"{cache.root}/{USES}/{digest}", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _scope() -> set[str]:
    scope: set[str] = getattr(_here, "scope", _of_process)
    return scope


def _locked(cache: Cache, path: str) -> int:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with gate(cache, alone=False):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        fcntl.flock(handle, fcntl.LOCK_SH)
    return handle
