"""Recorded data: images that a pointer in git names by hash, here or in another repository."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from robot_assets.core.errors import DataError, ObjectMissing, StoreError
from robot_assets.data.entry import LOCK, RecordedSource
from robot_assets.data.git_address import without_credentials

if TYPE_CHECKING:
    from robot_assets.data.repository import Repositories
    from robot_assets.store import Store


@dataclass(frozen=True)
class Recorded:
    """What a pointer says.

    Attributes:
        version: Hash of the data.
        where: The pointer, its repository and revision, as a person would say it.
        commit: Commit of the other repository that the pointer was read at; None for the working tree.
        size_bytes: Size of the data where the pointer says it.
        files: How many files where the pointer says it.
    """

    version: str
    where: str
    commit: str | None = None
    size_bytes: int | None = None
    files: int | None = None


def read_recorded(source: RecordedSource, root: Path, repositories: Repositories) -> Recorded:
    """Read the hash of recorded data where ``source`` says.

    Args:
        source: The entry of params.yaml.
        root: Folder of the project.
        repositories: Reads git repositories elsewhere.

    Raises:
        DataError: The pointer, its repository or its revision is missing.
        StoreError: It is no pointer of DVC 3.
    """
    if source.repository is None:
        return _parse(source, root / source.pointer)
    found = repositories.read(source.repository, _revision(source), source.pointer)
    with tempfile.TemporaryDirectory() as scratch:
        pointer = Path(scratch, PurePosixPath(source.pointer).name)
        pointer.write_bytes(found.content)
        try:
            return _parse(source, pointer, found.commit)
        except StoreError as error:
            place = f"{described(source)} ({found.commit[:8]})"
            raise StoreError(
                error.found.replace(str(pointer), place), needed=error.needed, fix="write it again there with dvc, push"
            ) from None


def check_available(source: RecordedSource, root: Path, version: str, store: Store) -> None:
    """Make sure that the data of a pointer can be had before anything is started because of it.

    Asks the store first. A folder beside the pointer is hashed only when the store has nothing, and what the store
    remembers of its files is not read again.

    Args:
        source: The entry of params.yaml.
        root: Folder of the project.
        version: What the pointer says.
        store: Where the data should be.

    Raises:
        DataError: Neither the store nor the folder beside the pointer has the data; the fix is a command.
    """
    if store.has(version):
        return
    folder = _folder(source, root)
    found = store.digest_of(folder).digest if folder and folder.is_dir() else None
    if found != version:
        raise _lost(source, root, version, store, found)


def open_recorded(source: RecordedSource, root: Path, version: str, store: Store) -> Path:
    """The recorded data at ``version``, read-only, from the store or from the folder beside the pointer.

    Raises:
        DataError: Neither has these bytes.
    """
    try:
        return store.open(version)
    except ObjectMissing:
        pass
    folder = _folder(source, root)
    found = store.add(folder).digest if folder and folder.is_dir() else None
    if found != version:
        raise _lost(source, root, version, store, found)
    return store.open(version)


def described(source: RecordedSource) -> str:
    """Where a pointer is read, as a person would say it, without credentials."""
    place = f"{source.output} in {source.pointer}" if source.output else source.pointer
    if source.repository is None:
        return place
    return f"{place} at {_revision(source)} of {without_credentials(source.repository, source.repository)}"


def _parse(source: RecordedSource, pointer: Path, commit: str | None = None) -> Recorded:
    from robot_assets.store import read_lock, read_pointer

    where = described(source)
    if not pointer.is_file():
        raise _no_pointer(source, pointer)
    if not source.is_lock:
        found = read_pointer(pointer)
        return Recorded(found.digest, where, commit, found.size_bytes, found.files)
    outputs = read_lock(pointer)
    if source.output not in outputs:
        raise DataError(
            f"{where}: no such output",
            needed=f"one of {', '.join(sorted(outputs)) or 'the outputs of a stage, and it has none'}",
            fix="correct output of the data set in params.yaml, or run dvc repro and commit dvc.lock",
        )
    return Recorded(outputs[source.output or ""], where, commit)


def _revision(source: RecordedSource) -> str:
    return source.revision or "HEAD"


def _folder(source: RecordedSource, root: Path) -> Path | None:
    """The folder beside the pointer; None when the pointer is not of this working tree."""
    return root / source.artifact if source.repository is None else None


def _no_pointer(source: RecordedSource, pointer: Path) -> DataError:
    if source.is_lock:
        return DataError(
            f"no {LOCK} at {pointer}",
            needed=f"the {LOCK} that names {source.output} by hash",
            fix=f"git checkout {source.pointer}   (or: dvc repro)",
        )
    return DataError(
        f"no pointer at {pointer}",
        needed="a .dvc pointer in git that names the recorded data by hash",
        fix=f"robot-assets data import yolo SOURCE --name {pointer.stem}   (or: git checkout {source.pointer})",
    )


def _lost(source: RecordedSource, root: Path, version: str, store: Store, found: str | None) -> DataError:
    """Data that cannot be had, and who can bring it: who committed the pointer, or a person here."""
    from robot_assets.store.os_errors import masked

    remote = masked(store.remote_url) if store.remote_url else str(store.cache)
    target = source.artifact if source.is_lock else source.pointer
    if source.repository is not None:
        return DataError(
            f"{described(source)} names {version}, and the store at {remote} does not have it",
            needed=f"the data in the store, which is a DVC remote: {remote}",
            fix=f"where the data was added: dvc push {target}, with the store as its remote",
        )
    folder = root / source.artifact
    state = f"{folder} is not there" if found is None else f"{folder} holds {found}"
    name = PurePosixPath(source.artifact).name
    fixes = [f"dvc pull {target}"]
    if not source.is_lock:
        fixes.insert(0, f"robot-assets data import yolo SOURCE --name {name}")
    if store.remote_url:
        fixes.append(f"where the data was added: dvc push {target}")
    return DataError(
        f"{described(source)} names {version}, which the store at {remote} does not have, and {state}",
        needed="the images that the pointer in git names",
        fix=f"{fixes[0]}   (or: {'; '.join(fixes[1:])})" if len(fixes) > 1 else fixes[0],
    )
