"""Atomic publication: a final name has either the old bytes or the new ones, at every instant.

Writes to a staging path, fsyncs, renames. A killed process leaves a hidden ``.NAME.*.part`` beside the final name,
which the next publication of that name removes.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_SUFFIX = ".part"
_FSYNCS_MAX = 64
"""For more files, one sync of the file system is faster than an fsync per file (50 s for 20,000)."""


@contextmanager
def publishing_directory(final: Path) -> Iterator[Path]:
    """Yield an empty staging directory that becomes ``final`` when the block ends without an error.

    An existing ``final`` is replaced. On an error the staging directory is removed and ``final`` is left unchanged.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(final)
    staging = Path(tempfile.mkdtemp(prefix=f".{final.name}.", suffix=_SUFFIX, dir=final.parent))
    staging.chmod(0o755)
    try:
        yield staging
        _fsync_tree(staging)
        _swap(staging, final)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


@contextmanager
def publishing_file(final: Path) -> Iterator[Path]:
    """Yield the path of a staging file that becomes ``final`` when the block ends without an error."""
    final.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(final)
    handle, name = tempfile.mkstemp(prefix=f".{final.name}.", suffix=_SUFFIX, dir=final.parent)
    os.close(handle)
    staging = Path(name)
    staging.chmod(0o644)
    try:
        yield staging
        _fsync(staging)
        os.replace(staging, final)
        _fsync(final.parent)
    except BaseException:
        staging.unlink(missing_ok=True)
        raise


def _swap(staging: Path, final: Path) -> None:
    """Move ``staging`` to ``final``; an existing directory is exchanged with it in one system call."""
    if not final.exists():
        os.rename(staging, final)
    else:
        _exchange(staging, final)
        shutil.rmtree(staging, ignore_errors=True)
    _fsync(final.parent)


def _exchange(one: Path, other: Path) -> None:
    """Exchange two paths atomically: rename(2) cannot replace a non-empty directory, renameat2(2) can exchange it."""
    libc = ctypes.CDLL(None, use_errno=True)
    here = -100  # AT_FDCWD
    rename_exchange = 2
    if libc.renameat2(here, os.fsencode(one), here, os.fsencode(other), rename_exchange) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(one), None, str(other))


def _remove_leftovers(final: Path) -> None:
    """Remove the staging paths of killed publications of the same name.

    Two concurrent publications of one name would remove each other's: callers ensure one writer per name.
    """
    for leftover in final.parent.glob(f".{final.name}.*{_SUFFIX}"):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def make_durable(paths: Sequence[str | Path]) -> None:
    """Make files and folders of one file system durable, by the faster method for their number.

    Raises:
        OSError: Writing to the disk failed.
    """
    if len(paths) > _FSYNCS_MAX:
        _sync_filesystem(paths[0])
        return
    for path in paths:
        _fsync(path)


def _sync_filesystem(path: str | Path) -> None:
    """Sync all files with one call, which also waits for the writes of other processes."""
    handle = os.open(path, os.O_RDONLY)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.syncfs(handle) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(path))
    finally:
        os.close(handle)


def _fsync_tree(root: Path) -> None:
    paths = (path for path in itertools.chain([root], root.rglob("*")) if not path.is_symlink())
    make_durable(list(itertools.islice(paths, _FSYNCS_MAX + 1)))


def _fsync(path: str | Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
