"""Reads COCO labels: exports of annotation tools, and the raw data sets of this project."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from robot_assets.core.errors import DataError
from robot_assets.data.boxes import Box, fault_of, make_box
from robot_assets.data.label_issues import BadItem, LabelIssue, printable
from robot_assets.data.source import Entry, Source
from robot_assets.data.tree import Tree, walk

_CORRECT = "correct or remove it"


def read_coco(source: Path) -> Source:
    """Find the images of a COCO source; boxes are checked later, one image at a time.

    Args:
        source: The JSON file, or the folder with ``annotations.json`` or ``annotations/*.json``. Images are
            searched for below ``images/SPLIT``, ``images/`` and the folder itself.

    Raises:
        DataError: No folder, no JSON, malformed JSON, or contradictory categories.
    """
    root, paths = _label_files(source)
    tree = walk(root)
    documents = [_load(path) for path in paths]
    categories = _merged_categories(paths, documents)
    issues = list(tree.issues)
    entries: list[Entry] = []
    listed: set[str] = set()
    for path, document in zip(paths, documents, strict=True):
        reader = _Reader(tree, path, document, categories)
        found = reader.entries(issues, listed)
        entries += found
    unlisted = [
        LabelIssue(name, "the labels do not list this image", "list it, without annotations if it has no object")
        for name in tree.images()
        if name not in listed
    ]
    return Source(categories, tuple(sorted(entries, key=lambda e: e.file_name)), tuple(issues), tuple(unlisted))


def _label_files(source: Path) -> tuple[Path, list[Path]]:
    """The folder of the source, and its label files in order."""
    if source.is_file() and source.suffix == ".json":
        folder = source.parent
        return (folder.parent if folder.name == "annotations" else folder), [source]
    paths = [source / "annotations.json"]
    if not paths[0].is_file():
        every = sorted((source / "annotations").glob("*.json")) or sorted(source.glob("*.json"))
        paths = [path for path in every if path.name.startswith("instances_")] or every
    if source.is_dir() and any(source.iterdir()) and not paths:
        raise DataError(
            f"{source} has no COCO labels",
            needed="annotations.json, or annotations/*.json",
            fix="give the JSON file itself as the source, or check the format",
        )
    return source, paths


def _load(path: Path) -> dict[str, Any]:
    try:
        if path.is_symlink():
            raise ValueError("it is a symlink")
        document = json.loads(path.read_bytes().decode("utf-8-sig"))
        if not isinstance(document, dict):
            raise ValueError(f"the top level is a {type(document).__name__}, not an object")
        for key in ("images", "annotations", "categories"):
            if not isinstance(document.get(key), list):
                raise ValueError(f"{key} is not a list")
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path} is malformed: {error}",
            needed="COCO JSON with images, annotations and categories",
            fix="export it again from the annotation tool",
        ) from None
    return document


def _categories(path: Path, document: dict[str, Any]) -> dict[int, str]:
    names: dict[int, str] = {}
    for index, category in enumerate(document["categories"]):
        number = category.get("id") if isinstance(category, dict) else None
        name = category.get("name") if isinstance(category, dict) else None
        if (
            number is None
            or not _is_int(number)
            or not isinstance(name, str)
            or not name.isprintable()
            or not name
            or number in names
            or name in names.values()
        ):
            raise DataError(
                f"{path}: categories[{index}] is {category!r}",
                needed="a unique integer id and a unique name",
                fix="correct that entry",
            )
        names[number] = name
    return dict(sorted(names.items()))


def _merged_categories(paths: list[Path], documents: list[dict[str, Any]]) -> tuple[str, ...]:
    every = [_categories(path, document) for path, document in zip(paths, documents, strict=True)]
    for path, names in zip(paths, every, strict=True):
        if names != every[0]:
            raise DataError(
                f"the categories of {path.name} differ from those of {paths[0].name}",
                needed="the same ids and names in all label files",
                fix="import the files one by one, or export them together",
            )
    return tuple(every[0].values())


@dataclass(frozen=True)
class _Reader:
    """One label file of a source."""

    tree: Tree
    path: Path
    document: dict[str, Any]
    categories: tuple[str, ...]

    def entries(self, issues: list[LabelIssue], listed: set[str]) -> list[Entry]:
        """Images of this file; adds to ``issues``, and the names of its images to ``listed``."""
        numbers = {number: index for index, number in enumerate(_categories(self.path, self.document))}
        images = self.document["images"]
        ids = Counter(image["id"] for image in images if _is_object(image) and _is_int(image.get("id")))
        labels = self._labels_by_image(set(ids), issues)
        entries = []
        for index, image in enumerate(images):
            place = f"{self.path.name}: images[{index}]"
            try:
                name = self._locate(image, place, ids)
                if name in listed:
                    raise BadItem(place, f"{printable(name)} is listed twice", "remove one of the two entries")
            except BadItem as bad:
                issues.append(bad.issue)
                continue
            listed.add(name)
            if any(name == item.place or name.startswith(item.place + "/") for item in self.tree.issues):
                continue
            if name not in self.tree.files:
                issue = LabelIssue(place, f"no such image: {printable(name)}", "restore the image, or remove its entry")
                issues.append(issue)
                continue
            read = partial(_read_boxes, place, image, labels[image["id"]], numbers)
            entries.append(Entry(name.removeprefix("images/"), self.tree.files[name], read))
        return entries

    def _labels_by_image(
        self, known: set[int], issues: list[LabelIssue]
    ) -> defaultdict[int, list[tuple[str, dict[str, Any]]]]:
        """Annotations with their place, by image id; a duplicate annotation id is refused with its image, later."""
        labels: defaultdict[int, list[tuple[str, dict[str, Any]]]] = defaultdict(list)
        seen: set[int] = set()
        for index, annotation in enumerate(self.document["annotations"]):
            place = f"{self.path.name}: annotations[{index}]"
            image_id = annotation.get("image_id") if _is_object(annotation) else None
            if not _is_int(image_id) or image_id not in known:
                issues.append(LabelIssue(place, f"image_id {image_id!r} is not the id of an image", _CORRECT))
                continue
            number = annotation.get("id")
            has_bad_id = not _is_int(number) or number in seen
            if not has_bad_id:
                seen.add(number)
            labels[image_id].append((place, {**annotation, "has_bad_id": has_bad_id}))
        return labels

    def _locate(self, image: Any, place: str, ids: Mapping[int, int]) -> str:
        """Path of the image below the source; only files found by ``walk`` are considered."""
        if not _is_object(image) or not _is_int(image.get("id")) or not isinstance(image.get("file_name"), str):
            raise BadItem(place, "no integer id or no file_name", _CORRECT)
        if ids[image["id"]] > 1:
            raise BadItem(place, f"duplicate image id {image['id']}", "give each image a unique id")
        name = image["file_name"]
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or not path.parts:
            raise BadItem(place, f"file_name {printable(name)!r} is outside the source", "use a path below the images")
        split = self.path.stem.removeprefix("instances_")
        candidates = [f"images/{split}/{path}", f"images/{path}", str(path)]
        return next((candidate for candidate in candidates if candidate in self.tree.files), self._refused(candidates))

    def _refused(self, candidates: Sequence[str]) -> str:
        """The candidate that ``walk`` refused (it reports why), or the last one."""
        refused = [item.place for item in self.tree.issues]
        return next(
            (name for name in candidates if any(name == one or name.startswith(one + "/") for one in refused)),
            candidates[-1],
        )


def _read_boxes(
    place: str,
    image: dict[str, Any],
    labels: list[tuple[str, dict[str, Any]]],
    numbers: dict[int, int],
    width: int,
    height: int,
) -> list[Box]:
    for key, actual in (("width", width), ("height", height)):
        if image.get(key, actual) != actual:
            raise BadItem(
                f"{place}.{key}",
                f"{image[key]!r}, but the image has {actual}",
                "scale the labels, or correct the field",
            )
    return [_box(place, label, numbers, width, height) for place, label in labels]


def _box(place: str, label: dict[str, Any], numbers: dict[int, int], width: int, height: int) -> Box:
    if label["has_bad_id"]:
        raise BadItem(f"{place}.id", f"{label.get('id')!r} is not an integer or not unique", "give it a unique id")
    category = label.get("category_id")
    if not _is_int(category) or category not in numbers:
        raise BadItem(f"{place}.category_id", f"unknown class id {category!r}", f"use one of {list(numbers)}")
    bbox = label.get("bbox")
    if not isinstance(bbox, list) or len(bbox) != 4 or not all(_is_number(value) for value in bbox):
        raise BadItem(f"{place}.bbox", f"{bbox!r} is not [x, y, width, height] in pixels", _CORRECT)
    fault = fault_of(bbox[0], bbox[1], bbox[2], bbox[3], width, height)
    if fault:
        raise BadItem(f"{place}.bbox", fault, _CORRECT)
    crowd = label.get("iscrowd", 0)
    if crowd not in (0, 1):
        raise BadItem(f"{place}.iscrowd", f"{crowd!r}, needed 0 or 1", "set it to 0 or 1")
    return make_box(numbers[category], (bbox[0], bbox[1], bbox[2], bbox[3]), (width, height), crowd=bool(crowd))


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    """Refuses integers that a float cannot represent exactly."""
    return isinstance(value, float) or (_is_int(value) and abs(value) < 2**53)
