"""Reads raw data sets: annotations.json with images/SESSION/FILE, as an import or the simulation writes them.

A task whose labels are files has them in a folder beside ``images`` (:class:`robot_assets.tasks.labels.LabelFormat`).
Strict: any other image or label in the folder is an issue. Exports of annotation tools are read by
:mod:`robot_assets.data.importing`.
"""

from __future__ import annotations

import os
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from robot_assets.core.errors import DataError
from robot_assets.core.label_issues import BadItem, LabelIssue, printable
from robot_assets.data.coco_document import NotCoco, NotJson, document_of, is_int, load_json
from robot_assets.data.labels import label_format
from robot_assets.data.tree import Tree, walk
from robot_assets.tasks.labels import DEFAULT_TASK, RawImage
from robot_assets.tasks.registry import tasks

if TYPE_CHECKING:
    from robot_assets.tasks.labels import LabelFormat

LABELS = "annotations.json"
IMAGES = "images/"
_YOLO_FILES = {"obj.names", "obj.data", "classes.txt", "data.yaml", "dataset.yaml"}
_MASK_FOLDERS = {"masks", "SegmentationClass"}
_MASK_STEMS = ("_mask", "_labelIds", "_labelTrainIds")
_TITLES = {
    "yolo": "YOLO labels",
    "coco": "COCO labels of another layout",
    "masks": "masks of a segmentation",
    "": "neither YOLO nor COCO labels, nor masks",
}
_CORRECT = "correct or remove it"
_Labels = list[tuple[str, dict[str, Any]]]
"""Annotations of an image, each with its place."""


@dataclass(frozen=True)
class RawEntry:
    """One image of a raw data set, before anything of it is read.

    Attributes:
        file_name: Path below images/; its folder is the recording session.
        path: Path of the image.
        place: Its record in the labels, for errors.
        record: That record.
        annotations: Its annotations, each with its place.
        side_name: Path of its file in the folder of the label format; empty for a format without one.
        side_path: The same on this machine; None when there is no such file.
    """

    file_name: str
    path: Path
    place: str
    record: dict[str, Any]
    annotations: _Labels
    side_name: str = ""
    side_path: Path | None = None


@dataclass(frozen=True)
class RawSource:
    """The content of a raw data set, before any image is read.

    Attributes:
        categories: Class names in the order of their ids.
        numbers: Index into ``categories`` by category id.
        entries: Images with labels, ordered by file name.
        issues: Issues found without opening an image, those about files that the labels do not list included.
    """

    categories: tuple[str, ...]
    numbers: Mapping[int, int]
    entries: tuple[RawEntry, ...]
    issues: tuple[LabelIssue, ...]

    def image(self, entry: RawEntry, size: tuple[int, int], side: bytes | None) -> RawImage:
        """An image as its labels are read.

        Args:
            entry: The image.
            size: Its width and height in pixels, as decoded.
            side: The bytes of ``entry.side_path``.

        Raises:
            BadItem: Its record has another size, or an annotation has no id of its own.
        """
        for key, actual in zip(("width", "height"), size, strict=True):
            if entry.record.get(key, actual) != actual:
                found = f"{entry.record[key]!r}, but the image has {actual}"
                raise BadItem(f"{entry.place}.{key}", found, "scale the labels, or correct the field")
        for place, label in entry.annotations:
            if label["has_bad_id"]:
                found = f"{label.get('id')!r} is not an integer or not unique"
                raise BadItem(f"{place}.id", found, "give it a unique id")
        return RawImage(
            file_name=entry.file_name,
            width=size[0],
            height=size[1],
            annotations=entry.annotations,
            categories=self.numbers,
            classes=self.categories,
            side_name=entry.side_name,
            side=side,
        )


def read_raw(raw: Path, task: str = DEFAULT_TASK, name: str = "", *, is_simulated: bool = False) -> RawSource:
    """Find the images of a raw data set; labels are checked later, one image at a time.

    Args:
        raw: Folder of the raw data.
        task: The task whose labels it has.
        name: Name of the data set in params.yaml, for errors.
        is_simulated: Whether that data set is a simulation, for errors.

    Raises:
        DataError: Not a folder of raw data, malformed labels, contradictory categories, or labels of another task.
    """
    tree = walk(raw)
    if LABELS not in tree.files:
        _refuse_reported_labels(tree, raw)
        raise not_raw_data(tree, str(raw), str(raw), raw.name)
    document = _load(tree.files[LABELS])
    _refuse_other_task(raw, tree, document, task, name, f"robot-assets data simulate {name}" if is_simulated else "")
    reader = _Reader(tree, document, _categories(document), label_format(task))
    issues = list(tree.issues)
    labels = reader.labels_by_image(issues)
    entries = sorted(reader.entries(labels, issues), key=lambda entry: entry.file_name)
    numbers = {number: index for index, number in enumerate(reader.categories)}
    return RawSource(tuple(reader.categories.values()), numbers, tuple(entries), (*issues, *reader.unlisted()))


def task_of_raw(raw: Path) -> str:
    """The task of raw data that no params.yaml describes: as its labels name it, else by its folders.

    Raises:
        DataError: Not a folder of raw data, or its labels name a task that is not installed.
    """
    tree = walk(raw)
    named = _named_task(_load(tree.files[LABELS])) if LABELS in tree.files else ""
    if named and named not in tasks():
        raise DataError(
            f"{raw / LABELS} names the task {printable(named)}, which is not installed",
            needed=f"one of {', '.join(tasks())}",
            fix="install the package of the task on this machine, or correct info.task in the labels",
        )
    return named or _task_by_folder(tree) or DEFAULT_TASK


def _named_task(document: dict[str, Any]) -> str:
    info = document.get("info")
    task = info.get("task") if isinstance(info, dict) else None
    return task if isinstance(task, str) else ""


def _task_by_folder(tree: Tree) -> str:
    """The task with a folder that is there; empty for none."""
    folders = {name.partition("/")[0] for name in tree.files if "/" in name and not name.startswith(IMAGES)}
    return next((name for name in tasks() if folders and label_format(name).folder in folders), "")


def _refuse_other_task(raw: Path, tree: Tree, document: dict[str, Any], task: str, name: str, simulate: str) -> None:
    """The labels have to be those of the task; ``simulate`` is the command that makes them, empty for recorded data.

    Raises:
        DataError: The labels name another task, have its folder, or have no folder of this one.
    """
    key = f"datasets.{name}.task" if name else "its task"
    named, folder = _named_task(document), label_format(task).folder
    other = named or ("" if folder else _task_by_folder(tree))
    if other and other != task:
        raise DataError(
            f"{raw} has labels of the task {printable(other)}, and {key} is {task}",
            needed="a data set of the task of its labels",
            fix=simulate or f"set {key} to {printable(other)}, or import data with labels of the task {task}",
        )
    if folder and not any(file.partition("/")[0] == folder for file in (*tree.files, *_reported(tree))):
        raise DataError(
            f"{raw} has no files in {folder}/, and {key} is {task}",
            needed=f"{folder}/SESSION/STEM{label_format(task).suffix} for each images/SESSION/FILE",
            fix=simulate or f"add the {label_format(task).counted.plural}, or set {key} to the task of the labels",
        )


def _refuse_reported_labels(tree: Tree, raw: Path) -> None:
    """Name what the walk over the folder has found about the labels, such as a symlink."""
    for issue in tree.issues:
        if issue.place == LABELS:
            raise DataError(f"{raw / LABELS} is {issue.found}", needed="the labels as a file", fix=issue.fix)


def not_raw_data(tree: Tree, shown: str, folder: str, name: str) -> DataError:
    """The error about a folder that is not raw data, with the command that imports it.

    Args:
        tree: Its files.
        shown: What a person knows it by, such as the DVC pointer.
        folder: Its path on this machine, for the command.
        name: Its name as a data set.
    """
    format = format_of(tree)
    title = _TITLES[format]
    raw = f"{name}_raw" if format else "NAME"
    return DataError(
        f"{shown} is not raw data: it has no {LABELS}, and it has {title}",
        needed=f"raw data, which is what `robot-assets data import` writes: {LABELS} and {IMAGES}SESSION/FILE",
        fix=f"robot-assets data import {format or 'yolo'} {shlex.quote(folder) if format else 'SOURCE'} "
        f"--name {shlex.quote(raw)}   # then set data/raw/{raw}.dvc as the pointer of the data set in params.yaml",
    )


def format_of(tree: Tree) -> str:
    """The format of an export by the names of its files: "yolo", "coco" or "masks"; empty when it looks like none."""
    paths = [PurePosixPath(name) for name in tree.files]
    images = {path.with_suffix("") for path in map(PurePosixPath, tree.images())}
    if any(path.name in _YOLO_FILES or (path.suffix == ".txt" and path.with_suffix("") in images) for path in paths):
        return "yolo"
    if any(path.suffix.lower() == ".png" and _is_mask(path) for path in paths):
        return "masks"
    return "coco" if any(path.suffix == ".json" for path in paths) else ""


def _is_mask(path: PurePosixPath) -> bool:
    return path.stem.endswith(_MASK_STEMS) or not _MASK_FOLDERS.isdisjoint(path.parent.parts)


def _load(path: Path) -> dict[str, Any]:
    try:
        return document_of(load_json(path))
    except (NotJson, NotCoco) as error:
        raise DataError(
            f"{path} is malformed: {error}",
            needed="COCO labels with images, annotations and categories, as `robot-assets data import` writes them",
            fix="import or simulate the data again, or restore it with dvc checkout",
        ) from None


def _categories(document: dict[str, Any]) -> dict[int, str]:
    names: dict[int, str] = {}
    for index, category in enumerate(document["categories"]):
        number = category.get("id") if isinstance(category, dict) else None
        name = category.get("name") if isinstance(category, dict) else None
        if (
            number is None
            or not is_int(number)
            or number in names
            or not isinstance(name, str)
            or not (name and name.isprintable())
            or name in names.values()
        ):
            raise DataError(
                f"{LABELS}: categories[{index}] is {category!r}",
                needed="a unique integer id and a unique name",
                fix="correct that entry",
            )
        names[number] = name
    return dict(sorted(names.items()))


@dataclass(frozen=True)
class _Reader:
    """The labels of a raw data set."""

    tree: Tree
    document: dict[str, Any]
    categories: dict[int, str]
    format: LabelFormat

    @cached_property
    def names(self) -> Counter[str]:
        """File names of the images that the labels list, whether they are there or not."""
        records = (image for image in self.document["images"] if isinstance(image, dict))
        return Counter(image["file_name"] for image in records if isinstance(image.get("file_name"), str))

    @cached_property
    def images_of(self) -> dict[str, list[str]]:
        """File names of the images that share a file of the label format, by its path."""
        found: defaultdict[str, list[str]] = defaultdict(list)
        for name in self.names if self.format.folder else ():
            found[self.side_name(name)].append(name)
        return found

    def side_name(self, file_name: str) -> str:
        """Path of the file of an image in the folder of the label format; empty for a format without one."""
        folder, suffix = self.format.folder, self.format.suffix
        return f"{folder}/{os.path.splitext(file_name)[0]}{suffix}" if folder else ""

    def unlisted(self) -> Iterator[LabelIssue]:
        """Issues about images that the labels do not list, and files of the label format without an image."""
        noun, listed = self.format.counted.noun, {IMAGES + name for name in self.names}
        fix = "list it, or remove it" if self.format.folder else "list it, without annotations if it has no object"
        for name in self.tree.images():
            if not self._is_side(name) and name not in listed:
                yield LabelIssue(name, "the labels do not list this image", fix)
        for name in self.tree.files:
            if self._is_side(name) and name not in self.images_of:
                yield LabelIssue(name, f"no image has this {noun}", f"add its image and list it, or remove the {noun}")

    def _is_side(self, name: str) -> bool:
        """Whether a file is in the folder of the label format."""
        return bool(self.format.folder) and name.startswith(f"{self.format.folder}/")

    def labels_by_image(self, issues: list[LabelIssue]) -> defaultdict[int, _Labels]:
        """Annotations by image id; those that point to no image are added to ``issues``."""
        known = {
            image["id"] for image in self.document["images"] if isinstance(image, dict) and is_int(image.get("id"))
        }
        labels: defaultdict[int, _Labels] = defaultdict(list)
        seen: set[int] = set()
        for index, label in enumerate(self.document["annotations"]):
            place = f"{LABELS}: annotations[{index}]"
            image_id = label.get("image_id") if isinstance(label, dict) else None
            if image_id is None or not is_int(image_id) or image_id not in known:
                issues.append(LabelIssue(place, f"image_id {image_id!r} is not the id of an image", _CORRECT))
                continue
            number = label.get("id")
            has_bad_id = not is_int(number) or number in seen
            if not has_bad_id:
                seen.add(number)
            labels[image_id].append((place, {**label, "has_bad_id": has_bad_id}))
        return labels

    def entries(self, labels: defaultdict[int, _Labels], issues: list[LabelIssue]) -> Iterator[RawEntry]:
        """Images with their labels; bad records are added to ``issues``, and so are all records of one file."""
        records = [image if isinstance(image, dict) else {} for image in self.document["images"]]
        ids = Counter(image["id"] for image in records if is_int(image.get("id")))
        for index, image in enumerate(records):
            place = f"{LABELS}: images[{index}]"
            fault = self._fault(image, ids)
            if fault:
                issues.append(LabelIssue(place, *fault))
            elif IMAGES + image["file_name"] in self.tree.files:
                name = image["file_name"]
                side = self.side_name(name)
                if not (side and self._is_reported(side)):
                    path, side_path = self.tree.files[IMAGES + name], self.tree.files.get(side)
                    yield RawEntry(name, path, place, image, labels[image["id"]], side, side_path)

    def _fault(self, image: dict[str, Any], ids: Counter[int]) -> tuple[str, str] | None:
        """What is wrong with the record of an image, and how to fix it."""
        name = image.get("file_name")
        if not is_int(image.get("id")) or not isinstance(name, str):
            return "no integer id or no file_name", _CORRECT
        if ids[image["id"]] > 1:
            return f"duplicate image id {image['id']}", "give each image a unique id"
        if self.names[name] > 1:
            return f"{printable(name)} is listed {self.names[name]} times", "merge its entries, or remove the others"
        if IMAGES + name not in self.tree.files and not self._is_reported(IMAGES + name):
            return f"no such image: {printable(name)}", "restore the image, or remove its entry"
        sharing = self.images_of[self.side_name(name)] if self.format.folder else [name]
        if len(sharing) > 1:
            found = f"{' and '.join(map(printable, sharing))} have one {self.format.counted.noun}, by their stem"
            return found, "rename one of the images"
        return None

    @cached_property
    def _reported(self) -> frozenset[str]:
        return _reported(self.tree)

    def _is_reported(self, name: str) -> bool:
        """Whether the walk over the folder has reported this file or a folder above it."""
        return any(printable(part) in self._reported for part in (name, *map(str, PurePosixPath(name).parents)))


def _reported(tree: Tree) -> frozenset[str]:
    """What the walk over the folder has found issues about."""
    return frozenset(issue.place for issue in tree.issues)
