"""A file or folder that a ``.dvc`` pointer in the working tree of a project names: its hash, and its bytes."""

from __future__ import annotations

from pathlib import Path

from robot_assets.core.errors import DataError, ObjectMissing
from robot_assets.core.paths import shown_path
from robot_assets.store.os_errors import masked
from robot_assets.store.pointer import Pointer, read_pointer
from robot_assets.store.store import Store


def read_pointed(pointer: Path) -> Pointer:
    """The content of a pointer.

    Raises:
        DataError: There is none.
        StoreError: It is not a pointer of DVC 3.
    """
    if not pointer.is_file():
        raise DataError(
            f"no pointer at {shown_path(pointer)}",
            needed="a .dvc pointer in git with the hash of the file",
            fix=f"dvc add {shown_path(pointer.with_suffix(''))}   # or: git checkout -- {shown_path(pointer)}",
        )
    return read_pointer(pointer)


def require_pointed(pointer: Path, version: str, store: Store) -> None:
    """Check that somebody has the bytes of a pointer, before a stage that needs them is started.

    Raises:
        DataError: Neither the store nor the file beside the pointer has them; the fix is a command.
    """
    if not store.has(version) and _digest_beside(pointer, store) != version:
        raise _unavailable(pointer, version, store)


def open_pointed(pointer: Path, version: str, store: Store) -> Path:
    """Open ``version``, read-only, from the store or from the file beside the pointer, which is then stored.

    Raises:
        DataError: Neither has this version.
    """
    try:
        return store.open(version)
    except ObjectMissing:
        pass
    beside = pointer.with_suffix("")
    if _digest_beside(pointer, store) != version:
        raise _unavailable(pointer, version, store)
    store.add(beside)
    return store.open(version)


def _digest_beside(pointer: Path, store: Store) -> str | None:
    beside = pointer.with_suffix("")
    return store.digest_of(beside).digest if beside.exists() else None


def _unavailable(pointer: Path, version: str, store: Store) -> DataError:
    remote = masked(store.remote_url) if store.remote_url else str(store.cache)
    beside, found = pointer.with_suffix(""), _digest_beside(pointer, store)
    state = f"has the hash {found}" if found else "does not exist"
    return DataError(
        f"{shown_path(pointer)} points at {version}, which the store at {remote} does not have, and "
        f"{shown_path(beside)} {state}",
        needed="the bytes that the pointer in git points at",
        fix=f"dvc pull {shown_path(pointer)}"
        + (f"   # or, for the file as it is now: dvc add {shown_path(beside)}" if found else ""),
    )
