"""Reads YOLO labels: a text file per image, a line ``class cx cy w h`` per box, relative to the image size.

Two layouts: labels beside their images, or ``labels/`` mirroring ``images/``. Class names come from
``obj.names``, ``classes.txt`` or the ``names`` of ``data.yaml``, at the top of the source.
"""

from __future__ import annotations

import math
from collections import Counter
from functools import partial
from pathlib import Path, PurePosixPath

import yaml

from robot_assets.core.errors import DataError
from robot_assets.data.boxes import Box, fault_of, make_box
from robot_assets.data.label_issues import BadItem, LabelIssue
from robot_assets.data.source import Entry, Source
from robot_assets.data.tree import Tree, walk

_NAME_FILES = ("obj.names", "classes.txt", "data.yaml")
_NOT_LABELS = {
    "classes.txt",
    "train.txt",
    "val.txt",
    "valid.txt",
    "test.txt",
    "README.txt",
    "LICENSE.txt",
    "NOTICE.txt",
}
_MAX_LABEL_BYTES = 1024 * 1024


def read_yolo(source: Path) -> Source:
    """Find the images of a YOLO source; labels are read later, one image at a time.

    Raises:
        DataError: No folder, an empty one, no class names or no image.
    """
    tree = walk(source)
    categories = _class_names(source)
    mirrored = "images/" if (source / "images").is_dir() and (source / "labels").is_dir() else ""
    images = [name for name in tree.images() if name.startswith(mirrored)]
    if not images and not tree.issues:
        raise DataError(f"{source} has no image", needed="JPEG or PNG files", fix="check the path")
    labels = {name: _label_name(name, mirrored) for name in images}
    shared = Counter(labels.values())
    issues = list(tree.issues)
    entries = []
    for name in images:
        if shared[labels[name]] > 1:
            issues.append(LabelIssue(name, f"shares {labels[name]} with another image", "rename one of the two"))
            continue
        read = partial(_read_boxes, tree, labels[name], categories)
        entries.append(Entry(name.removeprefix(mirrored), tree.files[name], read))
    issues += _orphans(tree, set(labels.values()), mirrored)
    return Source(categories, tuple(entries), tuple(issues))


def _label_name(image: str, mirrored: str) -> str:
    label = PurePosixPath(image).with_suffix(".txt").as_posix()
    return "labels/" + label.removeprefix(mirrored) if mirrored else label


def _orphans(tree: Tree, expected: set[str], mirrored: str) -> list[LabelIssue]:
    """Labels without an image, as in an incomplete copy."""
    below = "labels/" if mirrored else ""
    return [
        LabelIssue(name, "a label without its image", "restore the image, or remove the label")
        for name in tree.files
        if name.endswith(".txt")
        and name.startswith(below)
        and name not in expected
        and not ("/" not in name and name in _NOT_LABELS)
    ]


def _class_names(source: Path) -> tuple[str, ...]:
    path = next((source / name for name in _NAME_FILES if (source / name).is_file()), None)
    if path is None:
        raise DataError(
            f"{source} has no class names",
            needed="obj.names or classes.txt with one name per line, or data.yaml with names",
            fix=f"write them to {source / 'obj.names'} in the order of the ids",
        )
    try:
        text = path.read_text("utf-8-sig")
        names = _yaml_names(text) if path.suffix == ".yaml" else [line.strip() for line in text.splitlines()]
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"{path}: {error}", needed="class names in UTF-8", fix="correct that file") from None
    while names and not names[-1]:
        names.pop()
    if not names or not all(name and name.isprintable() for name in names) or len(set(names)) != len(names):
        raise DataError(
            f"{path}: the class names are {names}",
            needed="printable, unique, non-empty names",
            fix="correct that file",
        )
    return tuple(names)


def _yaml_names(text: str) -> list[str]:
    document = yaml.safe_load(text)
    names = document.get("names") if isinstance(document, dict) else None
    if isinstance(names, dict) and sorted(names) == list(range(len(names))):
        names = [names[index] for index in range(len(names))]
    return [str(name) for name in names] if isinstance(names, list) else []


def _read_boxes(tree: Tree, label: str, categories: tuple[str, ...], width: int, height: int) -> list[Box]:
    """Boxes of one label file; an empty file is an image without objects."""
    path = tree.files.get(label)
    if path is None:
        raise BadItem(label, "missing label file", "restore it; an image without objects needs an empty one")
    if path.stat().st_size > _MAX_LABEL_BYTES:
        raise BadItem(label, "a label file of more than 1 MiB", "replace it by a YOLO label file")
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise BadItem(label, "label text that is not UTF-8", "save it as UTF-8 text") from None
    return [
        _box(f"{label}:{number}", line.split(), categories, width, height)
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]


def _box(place: str, columns: list[str], categories: tuple[str, ...], width: int, height: int) -> Box:
    if len(columns) != 5:
        raise BadItem(place, f"{len(columns)} columns, needed 5: class cx cy w h", "correct that line")
    if not columns[0].isascii() or not columns[0].isdigit() or int(columns[0][:9]) >= len(categories):
        known = f"0 to {len(categories) - 1}"
        raise BadItem(place, f"unknown class id {columns[0]!r}, needed {known}", "correct it, or add the class name")
    try:
        cx, cy, w, h = (float(column) for column in columns[1:])
    except ValueError:
        raise BadItem(place, f"not numbers: {' '.join(columns[1:])!r}", "correct that line") from None
    if not all(math.isfinite(value) for value in (cx, cy, w, h)):
        raise BadItem(place, f"NaN or infinite: {' '.join(columns[1:])!r}", "correct or remove that line")
    rectangle = ((cx - w / 2) * width, (cy - h / 2) * height, w * width, h * height)
    fault = fault_of(*rectangle, width, height)
    if fault:
        raise BadItem(place, fault, "correct or remove that line")
    return make_box(int(columns[0]), rectangle, (width, height))
