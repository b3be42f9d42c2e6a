"""What the files of an artifact hashed to when they were last read: an unchanged file is not read again.

One small file per artifact path. An entry holds only as long as size, mtime, ctime, inode and path are what
they were, and it is written only when the file had been at rest before it was read: a file whose timestamps
lie within two seconds of the reading could be written again in the same clock tick without showing it (what
git calls racily clean). A damaged state file is the same as none.
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
"""relpath -> md5 of the files that did not change since they were hashed."""


def load_state(folder: Path, artifact: Path, files: Iterable[Scanned]) -> Known:
    """Return the md5 of those ``files`` of the artifact at ``artifact`` that are as they were when hashed."""
    rows = _read(folder / f"{name_for(artifact)}.state")
    if not rows:
        return {}
    return {file.relpath: row[1] for file in files if (row := rows.get(file.relpath)) and row[0] == _facts(file)}


def save_state(folder: Path, artifact: Path, files: Sequence[Scanned], known: Mapping[str, str], read_ns: int) -> None:
    """Remember what ``files`` hashed to.

    Args:
        folder: Where state files lie.
        artifact: Path of the artifact.
        files: Its files, with the facts that held before and after they were read.
        known: relpath -> md5.
        read_ns: Wall clock before the first of them was read, in nanoseconds since 1970.
    """
    if not is_worth_remembering(files):
        return
    rested = [file for file in files if is_at_rest(file, read_ns)]
    cells = [cell for file in rested for cell in (file.relpath, _facts(file), known[file.relpath])]
    body = "\0".join(cells).encode("utf-8")
    with replacing(folder / f"{name_for(artifact)}.state") as stream:
        stream.write(_checksum(body) + body)


def is_worth_remembering(files: Sequence[Scanned]) -> bool:
    """Whether reading the files again would take longer than remembering them."""
    return len(files) >= _WORTH_FILES or sum(file.size_bytes for file in files) >= _WORTH_BYTES


def is_at_rest(file: Scanned, read_ns: int) -> bool:
    """Whether a change since ``read_ns`` would show in the timestamps of the file."""
    return max(file.mtime_ns, file.ctime_ns) + _REST_NS < read_ns


def name_for(artifact: Path) -> str:
    """Name of a file with what is known of the artifact at that path."""
    return hashlib.sha256(os.fsencode(os.path.realpath(artifact))).hexdigest()


def _facts(file: Scanned) -> str:
    return f"{file.size_bytes} {file.mtime_ns} {file.ctime_ns} {file.inode}"


def _checksum(body: bytes) -> bytes:
    return hashlib.md5(_VERSION + body, usedforsecurity=False).digest()


def _read(path: Path) -> dict[str, tuple[str, str]]:
    """Return relpath -> (facts, md5); nothing when the file is missing, damaged or of another version."""
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
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Yield a new file that takes the place of the one at ``path`` in one step. Not synced: check what you read."""
    import tempfile  # not above: whoever finds that nothing has changed does not write, and is in a hurry

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
    """Keep the number of state files bounded: paths come and go, and nobody tells us of those that went."""
    states = list(folder.iterdir())
    if len(states) > 2 * _KEPT:
        ages = sorted((state.stat().st_mtime_ns, state) for state in states)
        for _, state in ages[:-_KEPT]:
            state.unlink(missing_ok=True)
