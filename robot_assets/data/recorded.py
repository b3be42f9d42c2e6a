"""Recorded data, referenced by a DVC pointer in this or in another git repository."""

from __future__ import annotations

import shlex
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from robot_assets.core.errors import DataError, ObjectMissing, StoreError
from robot_assets.core.paths import shown_path
from robot_assets.data.entry import LOCK, RecordedSource
from robot_assets.data.git_address import without_credentials

if TYPE_CHECKING:
    from robot_assets.data.repository import Repositories
    from robot_assets.store import Store


@dataclass(frozen=True)
class Recorded:
    """The content of a pointer.

    Attributes:
        version: Hash of the data.
        where: The pointer with its repository and revision, for messages.
        commit: Commit of the other repository that the pointer was read from; None for the working tree.
        size_bytes: Size of the data; None when the pointer has none.
        files: Number of files; None when the pointer has none.
    """

    version: str
    where: str
    commit: str | None = None
    size_bytes: int | None = None
    files: int | None = None


def read_recorded(source: RecordedSource, root: Path, repositories: Repositories) -> Recorded:
    """Read the pointer of recorded data.

    Args:
        source: The entry of params.yaml.
        root: Folder of the project.
        repositories: Reads other git repositories.

    Raises:
        DataError: The pointer, its repository or its revision is missing.
        StoreError: It is not a pointer of DVC 3.
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
            place = f"{_described(source)} ({found.commit[:8]})"
            folder = Path(source.pointer).parent
            there = error.fix.replace(shown_path(pointer), shlex.quote(source.pointer))
            there = there.replace(shown_path(pointer.with_suffix("")), shlex.quote(str(folder / pointer.stem)))
            raise StoreError(
                error.found.replace(str(pointer), place),
                needed=error.needed,
                fix=f"in that repository, then commit and push: {there}",
            ) from None


def check_available(source: RecordedSource, root: Path, version: str, store: Store) -> None:
    """Check that the data of a pointer is available, before a stage that needs it is started.

    Asks the store first. The folder beside the pointer is hashed only if the store lacks the data; hashes that the
    store has cached are reused.

    Args:
        source: The entry of params.yaml.
        root: Folder of the project.
        version: Hash of the data, from the pointer.
        store: The store of the project.

    Raises:
        DataError: Neither the store nor the folder beside the pointer has the data; the fix is a command.
    """
    if store.has(version):
        return
    folder = _folder(source, root)
    found = store.digest_of(folder).digest if folder and folder.is_dir() else None
    if found != version:
        raise _unavailable(source, root, version, store, found)


def open_recorded(source: RecordedSource, root: Path, version: str, store: Store) -> Path:
    """Open the recorded data at ``version``, read-only, from the store or from the folder beside the pointer.

    Raises:
        DataError: Neither has this version, or it is not raw data.
    """
    try:
        return _checked(source, root, store.open(version))
    except ObjectMissing:
        pass
    folder = _folder(source, root)
    found = store.add(folder).digest if folder and folder.is_dir() else None
    if found != version:
        raise _unavailable(source, root, version, store, found)
    return _checked(source, root, store.open(version))


def _checked(source: RecordedSource, root: Path, opened: Path) -> Path:
    """Refuse an export of an annotation tool, such as YOLO data that was added with ``dvc add``, by its pointer."""
    from robot_assets.data.raw_source import LABELS, format_of, not_raw_data
    from robot_assets.data.tree import walk

    if (opened / LABELS).is_file() or not opened.is_dir():
        return opened
    tree = walk(opened)
    if not format_of(tree):
        return opened
    folder = _folder(source, root)
    name = PurePosixPath(source.artifact).name
    shown = f"the data of {_described(source)}"
    raise not_raw_data(tree, shown, str(folder.relative_to(root)) if folder else "SOURCE", name)


def _described(source: RecordedSource) -> str:
    """The pointer with its repository and revision, for messages, without credentials."""
    place = f"{source.output} in {source.pointer}" if source.output else source.pointer
    if source.repository is None:
        return place
    return f"{place} at {_revision(source)} of {without_credentials(source.repository, source.repository)}"


def _parse(source: RecordedSource, pointer: Path, commit: str | None = None) -> Recorded:
    from robot_assets.store import read_lock, read_pointer

    where = _described(source)
    if not pointer.is_file():
        raise _no_pointer(source, pointer)
    if not source.is_lock:
        found = read_pointer(pointer)
        return Recorded(found.digest, where, commit, found.size_bytes, found.files)
    outputs = read_lock(pointer)
    if source.output not in outputs:
        raise DataError(
            f"{where}: no such output",
            needed=f"one of {', '.join(sorted(outputs))}" if outputs else "an output of a stage; the file has none",
            fix="correct output of the data set in params.yaml, or run dvc repro and commit dvc.lock",
        )
    return Recorded(outputs[source.output or ""], where, commit)


def _revision(source: RecordedSource) -> str:
    return source.revision or "HEAD"


def _folder(source: RecordedSource, root: Path) -> Path | None:
    """The folder beside the pointer; None when the pointer is not in this working tree."""
    return root / source.artifact if source.repository is None else None


def _no_pointer(source: RecordedSource, pointer: Path) -> DataError:
    if source.is_lock:
        return DataError(
            f"no {LOCK} at {pointer}",
            needed=f"the {LOCK} with the hash of {source.output}",
            fix=f"git checkout -- {shown_path(pointer)}   # or: dvc repro",
        )
    return DataError(
        f"no pointer at {pointer}",
        needed="a .dvc pointer in git with the hash of the recorded data",
        fix=f"robot-assets data import yolo SOURCE --name {pointer.stem}   # or: git checkout -- {shown_path(pointer)}",
    )


def _unavailable(source: RecordedSource, root: Path, version: str, store: Store, found: str | None) -> DataError:
    """The error for data that neither store nor folder has, with the commands that provide it."""
    from robot_assets.store.os_errors import masked

    remote = masked(store.remote_url) if store.remote_url else str(store.cache)
    target = shlex.quote(source.artifact if source.is_lock else source.pointer)
    if source.repository is not None:
        return DataError(
            f"{_described(source)} points at {version}, and the store at {remote} does not have it",
            needed=f"the data in the store, which is a DVC remote: {remote}",
            fix=f"in the repository where the data was added, with the store as remote: dvc push {target}",
        )
    folder = root / source.artifact
    state = f"{folder} does not exist" if found is None else f"{folder} has the hash {found}"
    name = PurePosixPath(source.artifact).name
    fixes = [f"dvc pull {shown_path(folder) if source.is_lock else shown_path(root / source.pointer)}"]
    if not source.is_lock:
        fixes.insert(0, f"robot-assets data import yolo SOURCE --name {name}")
    if store.remote_url:
        fixes.append(f"on the machine where the data was added: dvc push {target}")
    return DataError(
        f"{_described(source)} points at {version}, which the store at {remote} does not have, and {state}",
        needed="the images that the pointer in git points at",
        fix=f"{fixes[0]}   # or: {'; or: '.join(fixes[1:])}" if len(fixes) > 1 else fixes[0],
    )
