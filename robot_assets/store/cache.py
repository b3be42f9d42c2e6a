"""The local object cache, in DVC's layout, and the one way by which objects enter it.

Objects are written in batches: each to a temporary name in a batch folder, then one ``syncfs`` for all of
them, then one rename each. A process killed at any instant leaves either no object or a whole one under a
final name, and a batch folder that the next batch clears away. Two writers rename the same bytes.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from robot_assets.publish import make_durable
from robot_assets.store.failures import explained

OBJECTS = "files/md5"
READ_ONLY = 0o444
_LISTED_FROM = 2_000
_LISTED_AT_MOST = 8
"""Give up listing a cache that has grown to this many times what is wanted."""


def object_name(oid: str) -> str:
    """Path of an object below the root of a cache or remote, as DVC 3 lays it out."""
    return f"{OBJECTS}/{oid[:2]}/{oid[2:]}"


@dataclass(frozen=True)
class Cache:
    """A local directory with objects, and beside them what makes the store quick and safe.

    Attributes:
        root: ``files/md5`` holds the objects, ``batches`` what is on its way in, ``state`` known hashes,
            ``opened`` artifacts laid out for reading, ``corrupt`` objects that were found damaged.
    """

    root: Path

    def path(self, oid: str) -> str:
        """Where the object lies, or would lie."""
        return f"{self.root}/{OBJECTS}/{oid[:2]}/{oid[2:]}"

    def has(self, oid: str, size_bytes: int | None = None) -> bool:
        """Whether the object is there, and of that size when one is given. Does not read it."""
        try:
            found = os.stat(self.path(oid))
        except FileNotFoundError:
            return False
        return size_bytes is None or found.st_size == size_bytes

    def missing(self, oids: Iterable[str]) -> list[str]:
        """Those of ``oids`` that are not there."""
        wanted = list(oids)
        listed = self._listed(wanted)
        if listed is not None:
            return [oid for oid in wanted if oid not in listed]
        return [oid for oid in wanted if not os.path.exists(self.path(oid))]

    def _listed(self, wanted: list[str]) -> set[str] | None:
        """Every object of the cache, when listing its folders is quicker than asking for each object."""
        if len(wanted) < _LISTED_FROM:
            return None
        present: set[str] = set()
        for prefix in {oid[:2] for oid in wanted}:
            with contextlib.suppress(FileNotFoundError):
                present.update(prefix + name for name in os.listdir(f"{self.root}/{OBJECTS}/{prefix}"))
            if len(present) > _LISTED_AT_MOST * len(wanted):
                return None
        return present

    def set_aside(self, oid: str, inode: int) -> Path:
        """Move a damaged object out of the way, unless another writer has replaced it by now."""
        aside = self.root / "corrupt" / oid
        aside.parent.mkdir(parents=True, exist_ok=True)
        if os.path.exists(self.path(oid)) and os.stat(self.path(oid)).st_ino == inode:
            os.replace(self.path(oid), aside)
        return aside

    @contextmanager
    def batch(self) -> Iterator[Batch]:
        """Yield a batch; what was staged in it enters the cache when the block ends without an error."""
        folder = self.root / "batches"
        with explained("writing objects", self.root):
            folder.mkdir(parents=True, exist_ok=True)
            _clear_leftovers(folder)
            staging, lock = _locked_folder(folder)
            try:
                batch = Batch(self, str(staging))
                yield batch
                batch.publish()
            finally:
                shutil.rmtree(staging, ignore_errors=True)
                os.close(lock)


class Batch:
    """Objects on their way into the cache."""

    def __init__(self, cache: Cache, folder: str) -> None:
        self._cache = cache
        self._folder = folder
        self._staged: set[str] = set()

    def write(self, oid: str, payload: bytes) -> None:
        """Stage an object whose bytes are known to hash to ``oid``. Threads may call this at once."""
        if oid in self._staged:
            return
        try:
            handle = os.open(f"{self._folder}/{oid}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, READ_ONLY)
        except FileExistsError:
            return  # another thread of this batch is writing the same bytes
        try:
            if os.fstat(handle).st_mode & 0o777 != READ_ONLY:  # a strict umask
                os.fchmod(handle, READ_ONLY)
            rest = memoryview(payload)
            while rest:
                rest = rest[os.write(handle, rest) :]
        finally:
            os.close(handle)
        self._staged.add(oid)

    def temporary(self) -> str:
        """Return a new empty file in the batch folder, to be staged by ``adopt`` once its hash is known."""
        handle, path = tempfile.mkstemp(dir=self._folder, prefix="incoming-")
        os.close(handle)
        return path

    def adopt(self, oid: str, temporary: str) -> None:
        """Stage a temporary file whose bytes are known to hash to ``oid``."""
        os.chmod(temporary, READ_ONLY)
        os.replace(temporary, f"{self._folder}/{oid}")
        self._staged.add(oid)

    def publish(self) -> None:
        """Make what is staged durable, then give each object its final name."""
        if not self._staged:
            return
        make_durable([f"{self._folder}/{oid}" for oid in self._staged])
        objects = f"{self._cache.root}/{OBJECTS}"
        for prefix in sorted({oid[:2] for oid in self._staged}):
            os.makedirs(f"{objects}/{prefix}", exist_ok=True)
        for oid in sorted(self._staged):
            os.rename(f"{self._folder}/{oid}", self._cache.path(oid))
        self._staged.clear()


def _locked_folder(parent: Path) -> tuple[Path, int]:
    """Make a batch folder and lock it; the lock goes with the process, however it ends."""
    while True:
        folder = Path(tempfile.mkdtemp(dir=parent))
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(handle, fcntl.LOCK_EX)
        if folder.exists():  # another process may have taken it for a leftover before the lock was ours
            return folder, handle
        os.close(handle)


def _clear_leftovers(parent: Path) -> None:
    """Remove batch folders whose process is gone."""
    for folder in parent.iterdir():
        try:
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            continue  # its owner has just finished with it
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        except BlockingIOError:
            continue
        finally:
            os.close(handle)
