"""Recorded data: images that a ``.dvc`` pointer in git names by hash."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from robot_assets.errors import DataError, ObjectMissing

if TYPE_CHECKING:
    from robot_assets.store import Store


def recorded_version(pointer: Path) -> str:
    """The hash in a ``.dvc`` pointer.

    Raises:
        DataError: There is no pointer.
        StoreError: It is not a pointer.
    """
    from robot_assets.store import read_pointer

    if not pointer.is_file():
        raise DataError(
            f"no pointer at {pointer}",
            needed="a .dvc pointer in git that names the recorded data by hash",
            fix=f"robot-assets data import yolo SOURCE --name {pointer.stem}   (or: git checkout {pointer.name})",
        )
    return read_pointer(pointer).digest


def open_recorded(pointer: Path, version: str, store: Store) -> Path:
    """The recorded data at ``version``, read-only, from the store or from the folder beside the pointer.

    Raises:
        DataError: Neither has these bytes.
    """
    try:
        return store.open(version)
    except ObjectMissing:
        pass
    folder = pointer.with_suffix("")
    if folder.is_dir():
        found = store.add(folder).digest
        if found == version:
            return store.open(version)
        state = f"{folder} holds {found}"
    else:
        state = f"{folder} is not there"
    raise DataError(
        f"{pointer} names {version}, which the store does not have, and {state}",
        needed="the images that the pointer in git names",
        fix=f"robot-assets data import yolo SOURCE --name {pointer.stem}   (or: dvc pull {pointer})",
    )
