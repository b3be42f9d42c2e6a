"""Reads raw data sets: annotations.json with images/SESSION/FILE, as an import or the simulation writes them.

Strict: anything else in the folder is an issue. Exports of annotation tools are read by
:mod:`robot_assets.data.importing`.
"""

from __future__ import annotations

import shlex
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import Any

from robot_assets.core.errors import DataError
from robot_assets.tasks.detection.boxes import Box, fault_of, make_box
from robot_assets.data.coco_document import NotCoco, NotJson, document_of, is_int, is_number, load_json
from robot_assets.core.label_issues import BadItem, LabelIssue, printable
from robot_assets.data.source import Entry, Source
from robot_assets.data.tree import Tree, walk

LABELS = "annotations.json"
IMAGES = "images/"
_YOLO_FILES = {"obj.names", "obj.data", "classes.txt", "data.yaml", "dataset.yaml"}
_CORRECT = "correct or remove it"
_Labels = list[tuple[str, dict[str, Any]]]
"""Annotations of an image, each with its place."""


def read_raw(raw: Path) -> Source:
    """Find the images of a raw data set; boxes are checked later, one image at a time.

    Raises:
        DataError: Not a folder of raw data, malformed labels, or contradictory categories.
    """
    tree = walk(raw)
    if LABELS not in tree.files:
        _refuse_reported_labels(tree, raw)
        raise not_raw_data(tree, str(raw), str(raw), raw.name)
    document = _load(tree.files[LABELS])
    reader = _Reader(tree, document, _categories(document))
    issues = list(tree.issues)
    labels = reader.labels_by_image(issues)
    entries = list(reader.entries(labels, issues))
    listed = reader.listed()
    unlisted = [
        LabelIssue(name, "the labels do not list this image", "list it, without annotations if it has no object")
        for name in tree.images()
        if name not in listed
    ]
    categories = tuple(reader.categories.values())
    return Source(categories, tuple(sorted(entries, key=lambda e: e.file_name)), tuple(issues), tuple(unlisted))


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
    title = {"yolo": "YOLO labels", "coco": "COCO labels of another layout", "": "neither YOLO nor COCO labels"}[format]
    raw = f"{name}_raw" if format else "NAME"
    return DataError(
        f"{shown} is not raw data: it has no {LABELS}, and it has {title}",
        needed=f"raw data, which is what `robot-assets data import` writes: {LABELS} and {IMAGES}SESSION/FILE",
        fix=f"robot-assets data import {format or 'yolo'} {shlex.quote(folder) if format else 'SOURCE'} "
        f"--name {shlex.quote(raw)}   # then set data/raw/{raw}.dvc as the pointer of the data set in params.yaml",
    )


def format_of(tree: Tree) -> str:
    """The format of an export by the names of its files, "yolo" or "coco"; empty when it looks like neither."""
    paths = [PurePosixPath(name) for name in tree.files]
    images = {path.with_suffix("") for path in map(PurePosixPath, tree.images())}
    if any(path.name in _YOLO_FILES or (path.suffix == ".txt" and path.with_suffix("") in images) for path in paths):
        return "yolo"
    return "coco" if any(path.suffix == ".json" for path in paths) else ""


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

    def listed(self) -> set[str]:
        """Paths that the labels list, whether they are there or not."""
        records = (image for image in self.document["images"] if isinstance(image, dict))
        return {IMAGES + image["file_name"] for image in records if isinstance(image.get("file_name"), str)}

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

    def entries(self, labels: defaultdict[int, _Labels], issues: list[LabelIssue]) -> Iterator[Entry]:
        """Images with their labels; bad records are added to ``issues``, and so are all records of one file."""
        records = [image if isinstance(image, dict) else {} for image in self.document["images"]]
        ids = Counter(image["id"] for image in records if is_int(image.get("id")))
        names = Counter(image["file_name"] for image in records if isinstance(image.get("file_name"), str))
        numbers = {number: index for index, number in enumerate(self.categories)}
        for index, image in enumerate(records):
            place = f"{LABELS}: images[{index}]"
            fault = self._fault(image, ids, names)
            if fault:
                issues.append(LabelIssue(place, *fault))
            elif IMAGES + image["file_name"] in self.tree.files:
                name = image["file_name"]
                read = partial(_read_boxes, place, image, labels[image["id"]], numbers)
                yield Entry(name, self.tree.files[IMAGES + name], read)

    def _fault(self, image: dict[str, Any], ids: Counter[int], names: Counter[str]) -> tuple[str, str] | None:
        """What is wrong with the record of an image, and how to fix it."""
        name = image.get("file_name")
        if not is_int(image.get("id")) or not isinstance(name, str):
            return "no integer id or no file_name", _CORRECT
        if ids[image["id"]] > 1:
            return f"duplicate image id {image['id']}", "give each image a unique id"
        if names[name] > 1:
            return f"{printable(name)} is listed {names[name]} times", "merge its entries, or remove the others"
        if IMAGES + name not in self.tree.files and not self._is_reported(IMAGES + name):
            return f"no such image: {printable(name)}", "restore the image, or remove its entry"
        return None

    @cached_property
    def _reported(self) -> frozenset[str]:
        return frozenset(issue.place for issue in self.tree.issues)

    def _is_reported(self, name: str) -> bool:
        """Whether the walk over the folder has reported this file or a folder above it."""
        return any(printable(part) in self._reported for part in (name, *map(str, PurePosixPath(name).parents)))


def _read_boxes(
    place: str, image: dict[str, Any], labels: _Labels, numbers: dict[int, int], width: int, height: int
) -> list[Box]:
    for key, actual in (("width", width), ("height", height)):
        if image.get(key, actual) != actual:
            found = f"{image[key]!r}, but the image has {actual}"
            raise BadItem(f"{place}.{key}", found, "scale the labels, or correct the field")
    return [_box(where, label, numbers, width, height) for where, label in labels]


def _box(place: str, label: dict[str, Any], numbers: dict[int, int], width: int, height: int) -> Box:
    if label["has_bad_id"]:
        raise BadItem(f"{place}.id", f"{label.get('id')!r} is not an integer or not unique", "give it a unique id")
    category = label.get("category_id")
    if not is_int(category) or category not in numbers:
        raise BadItem(f"{place}.category_id", f"unknown class id {category!r}", f"use one of {list(numbers)}")
    bbox = label.get("bbox")
    if not isinstance(bbox, list) or len(bbox) != 4 or not all(is_number(value) for value in bbox):
        raise BadItem(f"{place}.bbox", f"{bbox!r} is not [x, y, width, height] in pixels", _CORRECT)
    fault = fault_of(bbox[0], bbox[1], bbox[2], bbox[3], width, height)
    if fault:
        raise BadItem(f"{place}.bbox", fault, _CORRECT)
    crowd = label.get("iscrowd", 0)
    if crowd not in (0, 1):
        raise BadItem(f"{place}.iscrowd", f"{crowd!r}, needed 0 or 1", "set it to 0 or 1")
    return make_box(numbers[category], (bbox[0], bbox[1], bbox[2], bbox[3]), (width, height), crowd=bool(crowd))
