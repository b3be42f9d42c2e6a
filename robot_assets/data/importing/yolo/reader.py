"""Reads YOLO sources: recognizes the layout, then finds the label file of each image.

Rows are parsed when an image is imported (:mod:`yolo_rows`), as they have to be checked against its size.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn

from robot_assets.core.errors import DataError
from robot_assets.core.label_issues import BadItem, LabelIssue
from robot_assets.core.text import near_misses, plural
from robot_assets.data.importing.coco.layouts import LAYOUTS as COCO_LAYOUTS
from robot_assets.data.importing.layout import is_split, recognize
from robot_assets.data.importing.masks.layouts import LAYOUTS as MASK_LAYOUTS
from robot_assets.data.importing.segmentation.labels import (
    Classes,
    MaskEntry,
    MaskLabels,
    SegmentationOptions,
    classes_of,
    filled,
    no_box,
)
from robot_assets.data.importing.source_folder import no_image, require_folder
from robot_assets.data.importing.unlabelled import BACKGROUND, about_background, no_boxes
from robot_assets.data.importing.yolo.class_names import agreed_names, no_class_names, read_class_files
from robot_assets.data.importing.yolo.layouts import LABEL_SUFFIX, LAYOUTS
from robot_assets.data.importing.yolo.matching import Matching
from robot_assets.data.importing.yolo.polygon_rows import read_polygons
from robot_assets.data.importing.yolo.rows import RowRules, polygon_rows, read_label, read_rows
from robot_assets.data.source import Entry, Source
from robot_assets.data.tree import EMPTY_FOLDER, Tree, walk
from robot_assets.tasks.detection.boxes import Box

POLYGONS = ("boxes",)
_SAMPLED_LABELS = 1000
_ENCLOSED = {
    False: ("polygon or oriented box", "polygons or oriented boxes"),
    True: ("row with key points", "rows with key points"),
}


def read_yolo(
    source: Path,
    layout: str | None = None,
    polygons: str | None = None,
    unlabelled: str | None = None,
    options: SegmentationOptions | None = None,
) -> Source:
    """Find the images of a YOLO source; labels are read later, one image at a time.

    Args:
        source: The folder.
        layout: Name of the layout that it has to have; recognized when None.
        polygons: "boxes" reads polygons and oriented boxes as their enclosing boxes, as Ultralytics does, and boxes
            with key points without them; None refuses their images.
        unlabelled: "background" reads images without a label file as images without objects, as Ultralytics does;
            None refuses them.
        options: For a segmentation: rows are polygons, and painted into masks. None: rows are boxes.

    Raises:
        DataError: No folder, an empty one, an unknown layout, no image, no or contradictory class names.
    """
    enclosing = _is_enclosing(source, polygons)
    require_folder(source)
    tree = walk(source)
    if not tree.images():
        return _without_images(tree)
    recognized, files = recognize(tree, (*LAYOUTS, *COCO_LAYOUTS, *MASK_LAYOUTS), layout)
    named = read_class_files(tree, files.class_files)
    if not any(classes.names for classes in named):
        raise no_class_names(source, _class_ids(tree, files.labels.values()))
    key_points = next((classes.key_points for classes in named if classes.key_points), None)
    rules = RowRules(agreed_names(source, named), enclosing, key_points)
    classes = classes_of(rules.categories, options, rules.numbers) if options else None
    match = Matching(tree, files)
    reader = _Reader(tree, rules, classes, unlabelled is not None)
    entries = tuple(reader.entry(*matched) for matched in match.matched())
    issues = (*filter(_is_loss, tree.issues), *match.issues, *match.orphans())
    return Source(
        classes.names if classes else rules.categories,
        entries,
        issues,
        unlisted=tuple(match.unlisted),
        layout=recognized.title,
        splits=files.splits,
        notes=(
            *match.notes(),
            *_enclosing_notes(tree, match.labels.values(), rules),
            *(classes.notes if classes else ()),
            *(about_background(match.absent, options.background if options else None) if unlabelled else ()),
        ),
    )


def _is_enclosing(source: Path, polygons: str | None) -> bool:
    if polygons is not None and polygons not in POLYGONS:
        near = near_misses(polygons, POLYGONS, at_most=1)
        raise DataError(
            f"polygons {polygons!r} is unknown" + (f"; did you mean {near[0]!r}?" if near else ""),
            needed="boxes: polygons and oriented boxes are imported as their enclosing boxes",
            fix=f"robot-assets data import yolo {shlex.quote(str(source))} --name NAME --polygons boxes",
        )
    return polygons is not None


def _without_images(tree: Tree) -> Source:
    """Nothing but issues, such as images of foreign formats or symlinks.

    Raises:
        DataError: There is no issue either, so that the folder has no image at all.
    """
    if any(issue.found != EMPTY_FOLDER for issue in tree.issues):
        return Source((), (), tuple(tree.issues))
    raise no_image(tree, len(tree.with_suffix(LABEL_SUFFIX)))


def _is_loss(issue: LabelIssue) -> bool:
    """Whether an issue is more than an empty split, or an empty folder of labels: missing labels are issues anyway."""
    parts = issue.place.lower().split("/")
    is_empty_part = "labels" in parts or ("images" in parts and any(map(is_split, parts)))
    return not (issue.found == EMPTY_FOLDER and is_empty_part)


@dataclass(frozen=True)
class _Reader:
    """Makes entries.

    Attributes:
        tree: The source.
        rules: How rows are read.
        classes: Of a segmentation; None: rows are boxes.
        is_background: Whether images without a label file have no objects.
    """

    tree: Tree
    rules: RowRules
    classes: Classes | None
    is_background: bool

    def entry(self, image: str, name: str, label: str) -> Entry:
        """One image with its label, which may be missing."""
        path, place = self.tree.files[image], f"{self.tree.root}/{label}"
        is_there = label in self.tree.files
        if self.classes is not None:
            read = partial(_read_mask, place, label, self.rules, self.classes)
            absent = partial(filled, self.classes.rest) if self.is_background else partial(_refuse_missing, label)
            return MaskEntry(name, path, no_box, place=label, read_mask=read if is_there else absent)
        if is_there:
            return Entry(name, path, partial(_read_boxes, place, label, self.rules))
        return Entry(name, path, no_boxes if self.is_background else partial(_refuse_missing, label))


def _read_boxes(path: str, label: str, rules: RowRules, width: int, height: int) -> list[Box]:
    return read_rows(read_label(path, label), label, rules, width, height)


def _read_mask(path: str, label: str, rules: RowRules, classes: Classes, width: int, height: int) -> MaskLabels:
    return read_polygons(read_label(path, label), label, rules, classes, width, height)


def _refuse_missing(label: str, width: int, height: int) -> NoReturn:
    raise BadItem(label, "missing label file", f"restore it; for images without objects: {BACKGROUND}")


def _class_ids(tree: Tree, labels: Iterable[str]) -> list[int]:
    """Class ids in the first labels of a source."""
    ids = set()
    existing = [label for label in labels if label in tree.files][:_SAMPLED_LABELS]
    for label in existing:
        for line in tree.files[label].read_bytes().splitlines():
            columns = line.split()
            if columns and columns[0].isdigit() and len(columns[0]) < 4:
                ids.add(int(columns[0]))
    return sorted(ids)


def _enclosing_notes(tree: Tree, labels: Iterable[str], rules: RowRules) -> Iterator[str]:
    """The number of rows that are read as their enclosing boxes."""
    if not rules.enclosing:
        return
    counts = [_polygons(tree.files[label], label) for label in labels if label in tree.files]
    counts = [count for count in counts if count]
    if counts:
        rows = plural(sum(counts), *_ENCLOSED[rules.key_points is not None])
        boxes = "its enclosing box" if sum(counts) == 1 else "their enclosing boxes"
        yield f"{rows} read as {boxes}, in {plural(len(counts), 'label file')}"


def _polygons(path: Path, label: str) -> int:
    try:
        return polygon_rows(read_label(str(path), label))
    except BadItem:
        return 0  # named when the image is imported
