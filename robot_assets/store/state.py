"""Caches the hashes of an artifact's files, so that an unchanged file is not read again.

One small file per artifact path. An entry is valid while size, mtime, ctime, inode and path are unchanged. It is
written only for a file at rest, whose timestamps are more than two seconds older than the reading: a younger file could
be written again in the same clock tick without a change of its timestamps (git calls such entries racily clean). A
damaged state file is ignored.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from robot_assets.store.scan import Scanned

_REST_NS = 2_000_000_000
"""Coarsest timestamp of a file system in use (FAT), and ample for the clock ticks of the others."""
_WORTH_FILES = 500
_WORTH_BYTES = 4 << 20
_KEPT = 256
_VERSION = b"2"

Known = dict[str, str]
"""relpath -> md5 of the files that have not changed since they were hashed."""


def load_state(folder: Path, artifact: Path, files: Iterable[Scanned]) -> Known:
    """Return the md5 of those ``files`` of ``artifact`` that have not changed since they were hashed."""
    rows = _read(folder / f"{file_name_for(artifact)}.state")
    if not rows:
        return {}
    return {file.relpath: row[1] for file in files if (row := rows.get(file.relpath)) and row[0] == _facts(file)}


def save_state(folder: Path, artifact: Path, files: Sequence[Scanned], known: Mapping[str, str], read_ns: int) -> None:
    """Save the hashes of ``files``.

    Args:
        folder: Folder of the state files.
        artifact: Path of the artifact.
        files: Its files, with facts that were the same before and after reading.
        known: relpath -> md5.
        read_ns: Wall clock before the first file was read, in nanoseconds since 1970.
    """
    if not is_worth_caching(files):
        return
    rested = [file for file in files if is_at_rest(file, read_ns)]
    cells = [cell for file in rested for cell in (file.relpath, _facts(file), known[file.relpath])]
    body = "\0".join(cells).encode("utf-8")
    with replacing_file(folder / f"{file_name_for(artifact)}.state") as stream:
        stream.write(_checksum(body) + body)


def is_worth_caching(files: Sequence[Scanned]) -> bool:
    """Whether reading the files again would take longer than caching their hashes."""
    return len(files) >= _WORTH_FILES or sum(file.size_bytes for file in files) >= _WORTH_BYTES


def is_at_rest(file: Scanned, read_ns: int) -> bool:
    """Whether a change since ``read_ns`` would alter the timestamps of the file."""
    return max(file.mtime_ns, file.ctime_ns) + _REST_NS < read_ns


def file_name_for(artifact: Path) -> str:
    """Name of the cache file about the artifact at that path."""
    return hashlib.sha256(os.fsencode(os.path.realpath(artifact))).hexdigest()


def _facts(file: Scanned) -> str:
    return f"{file.size_bytes} {file.mtime_ns} {file.ctime_ns} {file.inode}"


def _checksum(body: bytes) -> bytes:
    return hashlib.md5(_VERSION + body, usedforsecurity=False).digest()


def _read(path: Path) -> dict[str, tuple[str, str]]:
    """Return relpath -> (facts, md5); empty when the file is missing, damaged or of another version."""
    try:
        content = path.read_bytes()
    except OSError:
        return {}
    checksum, body = content[:16], content[16:]
    if not body or checksum != _checksum(body):
        return {}
    cells = body.decode("utf-8").split("\0")
    return dict(zip(cells[::3], zip(cells[1::3], cells[2::3], strict=True), strict=True))


@contextmanager
def replacing_file(path: Path) -> Iterator[IO[bytes]]:
    """Yield a new file that replaces the one at ``path`` atomically. Not synced: validate the content when reading."""
    import tempfile  # imported late: a no-op add does not write

    path.parent.mkdir(parents=True, exist_ok=True)
    handle, staging = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
        os.replace(staging, path)
    except BaseException:
        os.unlink(staging)
        raise
    _drop_oldest(path.parent)


def _drop_oldest(folder: Path) -> None:
    """Bound the number of state files: artifact paths disappear without notice."""
    states = list(folder.iterdir())
    if len(states) > 2 * _KEPT:
        ages = sorted((state.stat().st_mtime_ns, state) for state in states)
        for _, state in ages[:-_KEPT]:
            state.unlink(missing_ok=True)
