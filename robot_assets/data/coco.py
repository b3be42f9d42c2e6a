"""Read COCO labels: somebody's export, or the raw data sets of this project."""

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
from robot_assets.data.label_issues import BadItem, Finding, shown
from robot_assets.data.source import Entry, Source
from robot_assets.data.tree import Tree, walk


def read_coco(source: Path) -> Source:
    """Find the images of a COCO source; boxes are checked one image at a time, later.

    Args:
        source: The JSON file, or the folder with ``annotations.json`` or ``annotations/*.json``. Images are
            looked for below ``images/SPLIT``, ``images/`` and the folder itself.

    Raises:
        DataError: No folder, no JSON, malformed JSON, or categories that contradict themselves.
    """
    root, paths = _label_files(source)
    tree = walk(root)
    documents = [_load(path) for path in paths]
    categories = _merged_categories(paths, documents)
    findings = list(tree.findings)
    entries: list[Entry] = []
    listed: set[str] = set()
    for path, document in zip(paths, documents, strict=True):
        reader = _Reader(tree, path, document, categories)
        found = reader.entries(findings, listed)
        entries += found
    unlisted = [
        Finding(name, "an image that the labels do not list", "list it, without annotations if it shows nothing")
        for name in tree.images()
        if name not in listed
    ]
    return Source(categories, tuple(sorted(entries, key=lambda e: e.file_name)), tuple(findings), tuple(unlisted))


def _label_files(source: Path) -> tuple[Path, list[Path]]:
    """The folder of the source, and its label files in order."""
    if source.is_file() and source.suffix == ".json":
        above = source.parent
        return (above.parent if above.name == "annotations" else above), [source]
    walked = [source / "annotations.json"]
    if not walked[0].is_file():
        every = sorted((source / "annotations").glob("*.json")) or sorted(source.glob("*.json"))
        walked = [path for path in every if path.name.startswith("instances_")] or every
    if source.is_dir() and any(source.iterdir()) and not walked:
        raise DataError(
            f"{source} has no COCO labels",
            needed="annotations.json, or annotations/*.json",
            fix="name the JSON file itself as the source, or check the format",
        )
    return source, walked


def _load(path: Path) -> dict[str, Any]:
    try:
        if path.is_symlink():
            raise ValueError("it is a symlink")
        document = json.loads(path.read_bytes().decode("utf-8-sig"))
        if not isinstance(document, dict):
            raise ValueError(f"a {type(document).__name__} at the top, needed an object")
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
                needed="an integer id and a name, neither of them twice",
                fix="mend that entry",
            )
        names[number] = name
    return dict(sorted(names.items()))


def _merged_categories(paths: list[Path], documents: list[dict[str, Any]]) -> tuple[str, ...]:
    every = [_categories(path, document) for path, document in zip(paths, documents, strict=True)]
    for path, names in zip(paths, every, strict=True):
        if names != every[0]:
            raise DataError(
                f"{path.name} has other categories than {paths[0].name}",
                needed="the same ids and names in all label files",
                fix="import them one by one, or export them together",
            )
    return tuple(every[0].values())


@dataclass(frozen=True)
class _Reader:
    """One label file of a source."""

    tree: Tree
    path: Path
    document: dict[str, Any]
    categories: tuple[str, ...]

    def entries(self, findings: list[Finding], listed: set[str]) -> list[Entry]:
        """Images of this file; adds what is wrong to ``findings`` and what it names to ``listed``."""
        numbers = {number: index for index, number in enumerate(_categories(self.path, self.document))}
        images = self.document["images"]
        ids = Counter(image["id"] for image in images if _is_object(image) and _is_int(image.get("id")))
        labels = self._labels_by_image(set(ids), findings)
        entries = []
        for index, image in enumerate(images):
            place = f"{self.path.name}: images[{index}]"
            try:
                name = self._locate(image, place, ids)
                if name in listed:
                    raise BadItem(place, f"{shown(name)} is listed twice", "remove one of the two")
            except BadItem as bad:
                findings.append(bad.finding)
                continue
            listed.add(name)
            if any(name == item.place or name.startswith(item.place + "/") for item in self.tree.findings):
                continue
            if name not in self.tree.files:
                findings.append(Finding(place, f"no such image: {shown(name)}", "bring it back, or remove its entry"))
                continue
            read = partial(_read_boxes, place, image, labels[image["id"]], numbers)
            entries.append(Entry(name.removeprefix("images/"), self.tree.files[name], read))
        return entries

    def _labels_by_image(
        self, known: set[int], findings: list[Finding]
    ) -> defaultdict[int, list[tuple[str, dict[str, Any]]]]:
        """Annotations with their place, by image; an id given twice is left to the image to refuse."""
        labels: defaultdict[int, list[tuple[str, dict[str, Any]]]] = defaultdict(list)
        seen: set[int] = set()
        for index, annotation in enumerate(self.document["annotations"]):
            place = f"{self.path.name}: annotations[{index}]"
            image_id = annotation.get("image_id") if _is_object(annotation) else None
            if not _is_int(image_id) or image_id not in known:
                findings.append(Finding(place, f"image_id {image_id!r} is no image", "mend or remove it"))
                continue
            number = annotation.get("id")
            twice = not _is_int(number) or number in seen
            if not twice:
                seen.add(number)
            labels[image_id].append((place, {**annotation, "twice": twice}))
        return labels

    def _locate(self, image: Any, place: str, ids: Mapping[int, int]) -> str:
        """Path of the image below the source. Only files that the walk has seen can be found."""
        if not _is_object(image) or not _is_int(image.get("id")) or not isinstance(image.get("file_name"), str):
            raise BadItem(place, "no integer id or no file_name", "mend or remove it")
        if ids[image["id"]] > 1:
            raise BadItem(place, f"the id {image['id']} is given twice", "give every image an id of its own")
        name = image["file_name"]
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or not path.parts:
            raise BadItem(place, f"file_name {shown(name)!r} climbs out of the source", "use a path below the images")
        split = self.path.stem.removeprefix("instances_")
        candidates = [f"images/{split}/{path}", f"images/{path}", str(path)]
        return next((candidate for candidate in candidates if candidate in self.tree.files), self._odd(candidates))

    def _odd(self, candidates: Sequence[str]) -> str:
        """The candidate that the walk found something wrong with, or the last one."""
        odd = [item.place for item in self.tree.findings]
        return next(
            (name for name in candidates if any(name == o or name.startswith(o + "/") for o in odd)),
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
                "scale the labels, or mend the field",
            )
    return [_box(place, label, numbers, width, height) for place, label in labels]


def _box(place: str, label: dict[str, Any], numbers: dict[int, int], width: int, height: int) -> Box:
    if label["twice"]:
        raise BadItem(f"{place}.id", f"{label.get('id')!r} is no integer or is given twice", "give it an id of its own")
    category = label.get("category_id")
    if not _is_int(category) or category not in numbers:
        raise BadItem(f"{place}.category_id", f"unknown class id {category!r}", f"use one of {list(numbers)}")
    bbox = label.get("bbox")
    if not isinstance(bbox, list) or len(bbox) != 4 or not all(_is_number(value) for value in bbox):
        raise BadItem(f"{place}.bbox", f"{bbox!r} is not [x, y, width, height] in pixels", "mend or remove it")
    fault = fault_of(bbox[0], bbox[1], bbox[2], bbox[3], width, height)
    if fault:
        raise BadItem(f"{place}.bbox", fault, "mend or remove it")
    crowd = label.get("iscrowd", 0)
    if crowd not in (0, 1):
        raise BadItem(f"{place}.iscrowd", f"{crowd!r}, needed 0 or 1", "mend it")
    return make_box(numbers[category], (bbox[0], bbox[1], bbox[2], bbox[3]), (width, height), crowd=bool(crowd))


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    """A huge integer has no float, so it is none here."""
    return isinstance(value, float) or (_is_int(value) and abs(value) < 2**53)
