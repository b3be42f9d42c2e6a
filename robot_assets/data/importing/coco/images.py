"""Images of COCO documents: matches each entry with its file, and refuses all entries of one file together."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from robot_assets.core.label_issues import LabelIssue, printable
from robot_assets.data.coco_document import json_type
from robot_assets.data.images import FOREIGN_SUFFIXES
from robot_assets.data.importing.coco.ids import Id, id_of
from robot_assets.data.importing.coco.layouts import base_folder
from robot_assets.data.importing.coco.paths import Fault, ImagePaths, Located
from robot_assets.data.tree import suffix_of

_CONTAINERS = ("images/", "data/")
"""Folders that hold all images of an export, and are no part of a recording session."""


@dataclass(frozen=True)
class ImageRecord:
    """An entry of ``images``.

    Attributes:
        document: Its label file.
        index: Its index in ``images``.
        row: The entry.
        key: Its id; None when it has none.
        name: Its file in the tree; None when there is none.
        target: Path of the image below images/ of the raw data set.
        fault: Why it is refused; None when it is good, or when the walk over the tree has reported its file.
        shown: Its file name for messages, and where a file of that name is.
        is_elsewhere: Whether such a file is somewhere else.
    """

    document: str
    index: int
    row: Mapping[str, Any]
    key: Id | None
    name: str | None
    target: str
    fault: Fault | None = None
    shown: str = ""
    is_elsewhere: bool = False

    @property
    def place(self) -> str:
        """The entry, for messages."""
        return f"{self.document}: images[{self.index}]"


def read_records(path: str, rows: Sequence[Any], roots: Sequence[str], paths: ImagePaths) -> Iterator[ImageRecord]:
    """Match the entries of one label file with the files of the source.

    Args:
        path: The label file.
        rows: Its ``images``.
        roots: Folders below which they may be.
        paths: Looks up the files.
    """
    keys = [id_of(row.get("id")) if isinstance(row, dict) else None for row in rows]
    times = Counter(keys)
    strings = sum(isinstance(key, str) for key in keys)
    unusual = (int if strings > len(keys) / 2 else str) if strings else None
    folder = str(PurePosixPath(path).parent).removeprefix(".")
    base = f"{base_folder(path)}/".removeprefix("./")
    for index, (row, key) in enumerate(zip(rows, keys, strict=True)):
        file_name = row.get("file_name") if isinstance(row, dict) else None
        located = paths.locate(file_name, roots, folder) if isinstance(file_name, str) else Located(None)
        fault = _fault_of_row(row) or _fault_of_id(row, key, times[key], unusual) or located.fault
        name = printable(file_name)[:200] if isinstance(file_name, str) else ""
        shown = f"{name} ({located.hint})" if located.hint else name
        entry = row if isinstance(row, dict) else {}
        target = target_of(located.name or "", base)
        yield ImageRecord(path, index, entry, key, located.name, target, fault, shown, bool(located.hint))


def target_of(name: str, base: str) -> str:
    """Path of an image without the folder of all images, which may be below ``base``, the folder of the label file."""
    folder = base if name.startswith(base) else ""
    below = name[len(folder) :]
    return folder + next((below.removeprefix(one) for one in _CONTAINERS if below.startswith(one)), below)


def _fault_of_row(row: Any) -> Fault | None:
    if not isinstance(row, dict):
        return f"the entry is {json_type(row)}, not an object", "correct or remove it"
    if not isinstance(row.get("file_name"), str):
        found = f"file_name is {json_type(row['file_name'])}" if "file_name" in row else "no file_name"
        return found, "write the path of its image, or remove the entry"
    return None


def _fault_of_id(row: Mapping[str, Any], key: Id | None, times: int, unusual: type | None) -> Fault | None:
    if key is None:
        found = f"its id is {json_type(row['id'])} that cannot be an id" if "id" in row else "no id"
        return found, "give it an integer id, in images and in its annotations"
    if times > 1:
        return f"duplicate image id {printable(str(key))}", "give each image an id of its own, in its annotations too"
    if unusual and isinstance(key, unusual):
        kinds = {int: ("an integer", "strings"), str: ("a string", "integers")}[unusual]
        return f"its id is {kinds[0]}, and the ids of other images are {kinds[1]}", "write all ids as integers"
    return None


def accepted(records: Sequence[ImageRecord], issues: list[LabelIssue]) -> list[ImageRecord]:
    """The entries that can be imported; the others are added to ``issues``, all entries of one file together."""
    by_file: defaultdict[str, list[ImageRecord]] = defaultdict(list)
    for record in records:
        by_file[record.name or f"\0{record.place}"].append(record)
    good = []
    for same in by_file.values():
        if len(same) > 1:
            issues.append(_listed_again(same))
        elif same[0].fault:
            issues.append(LabelIssue(" in ".join(filter(None, (same[0].shown, same[0].place))), *same[0].fault))
        elif same[0].name and suffix_of(same[0].name) not in FOREIGN_SUFFIXES:
            good.append(same[0])
    return _with_owntarget_of(good, issues)


def _listed_again(same: Sequence[ImageRecord]) -> LabelIssue:
    """The issue about a file with several entries: each has a part of its annotations, so none can be imported."""
    document = same[0].document
    others = [one.place.removeprefix(f"{document}: ") for one in same[1:4]] + ["others"] * (len(same) > 4)
    places = " and ".join((same[0].place, *others))
    times = "twice" if len(same) == 2 else f"{len(same)} times"
    fix = "move their annotations to one of the entries, and remove the others"
    return LabelIssue(f"{printable(same[0].name or '')} in {places}", f"the image is listed {times}", fix)


def _with_owntarget_of(records: Sequence[ImageRecord], issues: list[LabelIssue]) -> list[ImageRecord]:
    """Refuse images that would have the same path in the raw data set, as images/a.jpg and data/a.jpg."""
    times = Counter(record.target for record in records)
    for record in records:
        if times[record.target] > 1:
            found = f"another image becomes {printable(record.target)} in the raw data, too"
            issues.append(LabelIssue(printable(record.name or ""), found, "rename one of the two, and its file_name"))
    return [record for record in records if times[record.target] == 1]
