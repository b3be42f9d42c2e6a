"""Adds objects to the cache, and is the only module that does.

Objects are written in batches: each to a temporary name in a batch folder, then one ``syncfs`` for all of
them, then one rename each. A process killed at any instant leaves either no object or a complete one under a
final name, and a batch folder that the next batch removes. Two writers of one object rename the same bytes.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from robot_assets.core.publishing import make_durable
from robot_assets.store.cache import OBJECTS, READ_ONLY, Cache
from robot_assets.store.os_errors import explaining_os_errors


@contextmanager
def batch_into(cache: Cache) -> Iterator[Batch]:
    """Yield a batch; the objects staged in it are published when the block ends without an error."""
    folder = cache.root / "batches"
    with explaining_os_errors("writing objects", cache.root):
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            _hide_from_git(cache.root)
        _clear_leftovers(folder)
        staging, lock = _locked_folder(folder)
        try:
            batch = Batch(cache, str(staging))
            yield batch
            batch.publish()
        finally:
            shutil.rmtree(staging, ignore_errors=True)
            os.close(lock)


class Batch:
    """Objects that are staged in a batch folder until they are published together."""

    def __init__(self, cache: Cache, folder: str) -> None:
        self._cache = cache
        self._folder = folder
        self._staged: set[str] = set()

    def write(self, oid: str, payload: bytes) -> None:
        """Stage an object whose bytes are known to hash to ``oid``. Thread-safe."""
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
        """Create an empty file in the batch folder, to be staged by ``adopt`` once its hash is known."""
        handle, path = tempfile.mkstemp(dir=self._folder, prefix="incoming-")
        os.close(handle)
        return path

    def adopt(self, oid: str, temporary: str) -> None:
        """Stage a temporary file whose bytes are known to hash to ``oid``."""
        os.chmod(temporary, READ_ONLY)
        os.replace(temporary, f"{self._folder}/{oid}")
        self._staged.add(oid)

    def publish(self) -> None:
        """Make the staged objects durable, then rename each to its final name."""
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
    """Create and lock a batch folder; the lock ends with the process."""
    while True:
        folder = Path(tempfile.mkdtemp(dir=parent))
        # until we have the lock, another process may remove the folder as a leftover
        try:
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        fcntl.flock(handle, fcntl.LOCK_EX)
        if folder.exists():
            return folder, handle
        os.close(handle)


def _hide_from_git(root: Path) -> None:
    """A store may be anywhere in a project: ``git add .`` adds none of it."""
    with suppress(FileExistsError), (root / ".gitignore").open("x", encoding="utf-8") as file:
        file.write("# artifacts are versioned by their hashes, never by git\n*\n")


def _clear_leftovers(parent: Path) -> None:
    """Remove the batch folders of processes that have ended."""
    for folder in parent.iterdir():
        try:
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            continue  # its owner has just removed it
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        except BlockingIOError:
            continue
        finally:
            os.close(handle)
