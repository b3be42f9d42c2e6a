"""Pins protect artifacts in use from eviction, and record when each artifact was last used.

``uses/DIGEST`` in the cache is an empty file per artifact. A process that opens the artifact holds a shared lock on
that file until it ends, however it ends; the file's mtime is the time of last use. The access times of the objects
would not serve: most file systems update them at most once a day.

A process that removes objects holds ``eviction_lock`` exclusively, and one that adds a pin holds it shared: no pin is
added between the check of the pins and the removal.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from robot_assets.store.cache import Cache
from robot_assets.store.locking import file_lock

USES = "uses"
_EVICTION_LOCK = "uses.gate"


@dataclass
class _Pin:
    """A pin of this process.

    Attributes:
        handle: The open file that has the lock. Closing it releases the lock, once no forked process has it either.
        scopes: Number of scopes that need the pin.
    """

    handle: int
    scopes: int = 0


_lock = threading.Lock()
_pins: dict[str, _Pin] = {}
_process_scope: set[str] = set()
_thread = threading.local()


def pin(cache: Cache, digest: str) -> None:
    """Pin an artifact until the innermost ``released`` block of this thread ends, else until the process ends.

    Raises:
        OSError: The cache cannot be written to.
    """
    path = f"{cache.root}/{USES}/{digest}"
    scope = _scope()
    with _lock:
        held = _pins.get(path)
        if held is not None and not os.fstat(held.handle).st_nlink:  # the whole cache was removed meanwhile
            os.close(held.handle)
            held.handle = _locked(cache, path)
        if held is None:
            held = _pins[path] = _Pin(_locked(cache, path))
        if path not in scope:
            scope.add(path)
            held.scopes += 1
        os.utime(held.handle)


@contextmanager
def released() -> Iterator[None]:
    """Release, when the block ends, the pins that it alone added. Paths that it opened are invalid from then on."""
    outer, inner = _scope(), set[str]()
    _thread.scope = inner
    try:
        yield
    finally:
        _thread.scope = outer
        with _lock:
            for path in inner:
                held = _pins[path]
                held.scopes -= 1
                if not held.scopes:
                    os.close(_pins.pop(path).handle)


def eviction_lock(cache: Cache, *, shared: bool = False) -> AbstractContextManager[None]:
    """Exclude other processes that remove objects; unless ``shared``, also those that add pins."""
    return file_lock(f"{cache.root}/{_EVICTION_LOCK}", shared=shared)


def last_uses(cache: Cache) -> dict[str, int]:
    """Time of last use of each artifact, evicted ones included, in nanoseconds since 1970."""
    try:
        with os.scandir(f"{cache.root}/{USES}") as listing:
            return {entry.name: entry.stat().st_mtime_ns for entry in listing}
    except FileNotFoundError:
        return {}


def is_pinned(cache: Cache, digest: str) -> bool:
    """Whether a process has pinned an artifact. Reliable only while ``eviction_lock`` is held exclusively."""
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
    scope: set[str] = getattr(_thread, "scope", _process_scope)
    return scope


def _locked(cache: Cache, path: str) -> int:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with eviction_lock(cache, shared=True):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        fcntl.flock(handle, fcntl.LOCK_SH)
    return handle
