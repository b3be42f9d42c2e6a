"""What the files of an artifact hashed to when they were last read: an unchanged file is not read again.

One small file per artifact path. An entry holds only as long as size, mtime, ctime, inode and path are what
they were, and it is written only when the file had been at rest before it was read: a file whose timestamps
lie within two seconds of the reading could be written again in the same clock tick without showing it (what
git calls racily clean). A damaged state file is the same as none.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from robot_assets.store.scan import Scanned

_REST_NS = 2_000_000_000
"""Coarsest timestamp of a file system in use (FAT), and ample for the clock ticks of the others."""
_WORTH_FILES = 500
_WORTH_BYTES = 4 << 20
_KEPT = 256
_VERSION = 1

Known = dict[str, str]
"""relpath -> md5 of the files that did not change since they were hashed."""


def load_state(folder: Path, artifact: Path, files: Iterable[Scanned]) -> Known:
    """Return the md5 of those ``files`` of the artifact at ``artifact`` that are as they were when hashed."""
    rows = _read(_state_file(folder, artifact))
    known = {}
    for file in files:
        row = rows.get(file.relpath)
        if row is not None and row[1:] == [file.size_bytes, file.mtime_ns, file.ctime_ns, file.inode]:
            known[file.relpath] = row[0]
    return known


def save_state(
    folder: Path, artifact: Path, files: Iterable[Scanned], known: Mapping[str, str], read_ns: int
) -> None:
    """Remember what ``files`` hashed to.

    Args:
        folder: Where state files lie.
        artifact: Path of the artifact.
        files: Its files, with the facts that held before and after they were read.
        known: relpath -> md5.
        read_ns: Wall clock before the first of them was read, in nanoseconds since 1970.
    """
    listed = list(files)
    if len(listed) < _WORTH_FILES and sum(file.size_bytes for file in listed) < _WORTH_BYTES:
        return
    rows = {
        file.relpath: [known[file.relpath], file.size_bytes, file.mtime_ns, file.ctime_ns, file.inode]
        for file in listed
        if max(file.mtime_ns, file.ctime_ns) + _REST_NS < read_ns
    }
    body = json.dumps({"version": _VERSION, "rows": rows}, separators=(",", ":")).encode("ascii")
    _write(
        _state_file(folder, artifact),
        hashlib.md5(body, usedforsecurity=False).hexdigest().encode() + b"\n" + body,
    )


def _state_file(folder: Path, artifact: Path) -> Path:
    name = hashlib.sha256(os.fsencode(os.path.realpath(artifact))).hexdigest()
    return folder / f"{name}.json"


def _read(path: Path) -> dict[str, list[Any]]:
    try:
        checksum, _, body = path.read_bytes().partition(b"\n")
    except OSError:
        return {}
    if hashlib.md5(body, usedforsecurity=False).hexdigest().encode() != checksum:
        return {}
    document = json.loads(body)
    rows: dict[str, list[Any]] = document["rows"] if document["version"] == _VERSION else {}
    return rows


def _write(path: Path, payload: bytes) -> None:
    """Replace the state file in one step. Not synced: its checksum tells whether it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, staging = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(payload)
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
