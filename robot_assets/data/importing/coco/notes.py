"""What a person should know of an import of COCO labels although nothing is wrong, one line each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from robot_assets.core.label_issues import printable
from robot_assets.core.text import listed, plural
from robot_assets.data.importing.coco.annotation_reader import IGNORE
from robot_assets.data.importing.coco.annotations import Rows
from robot_assets.data.importing.coco.ids import Id, ids_in
from robot_assets.data.importing.coco.layouts import documents_of, has_coco_keys, is_keypoints
from robot_assets.data.importing.coco.shapes import is_upright
from robot_assets.data.tree import Tree

_LOOKED_INTO = 20
"""JSON files besides the labels that are looked into: some tools write one an image."""


def about_ids(documents: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Label files whose image ids are strings."""
    for path, document in documents.items():
        if any(isinstance(value, str) for value in ids_in(document["images"], "id")):
            yield f"{path}: image ids are strings; an id matches as a number when it is one"


def about_images_without_boxes(path: str, document: Mapping[str, Any], rows: Mapping[Id | None, Rows]) -> Iterator[str]:
    """Images that are imported as images without objects, where that may be wrong."""
    stray = len(document["annotations"]) - sum(map(len, rows.values()))
    bare = sum(not own for own in rows.values())
    if bare and bare == len(rows):
        yield f"{path} has no annotation: {plural(bare, 'image')} imported as images without objects"
    elif bare and stray:
        yield (
            f"{path}: {plural(stray, 'annotation points', 'annotations point')} to no image, and "
            f"{plural(bare, 'image has', 'images have')} no annotation and may be the one{'s' * (bare > 1)} meant"
        )


def about_names(names: Sequence[str]) -> Iterator[str]:
    """Class names that differ in case or spaces only."""
    alike: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        alike[" ".join(name.casefold().split())].append(name)
    for same in alike.values():
        if len(same) > 1:
            yield f"{' and '.join(map(repr, same))} differ in case or spaces only, and are {len(same)} classes"


def about_ignored(path: str, document: Mapping[str, Any]) -> Iterator[str]:
    """Annotations that are marked to be ignored."""
    count = sum(value == 1 for value in ids_in(document["annotations"], IGNORE))
    if count:
        shown = plural(count, "annotation")
        yield f"{path}: {shown} with ignore: 1 imported as crowd regions, which training and evaluation leave out"


def about_ignored_regions(path: str, document: Mapping[str, Any]) -> Iterator[str]:
    """Annotations of a segmentation that are ignored: crowds, and those that are marked so."""
    rows = [row for row in document["annotations"] if isinstance(row, dict)]
    count = sum(row.get("iscrowd") == 1 or row.get(IGNORE) == 1 for row in rows)
    if count:
        shown = plural(count, "crowd or ignored annotation")
        yield f"{path}: {shown} imported as ignored pixels"


def about_shapes(rows: Iterable[Mapping[str, Any]]) -> str:
    """The number of annotations that are imported as their enclosing boxes."""
    count = sum(not is_upright(row) for row in rows)
    if not count:
        return "no polygons, masks or rotated boxes: --polygons boxes changes nothing"
    shapes = plural(count, "polygon, mask or rotated box", "polygons, masks or rotated boxes")
    return f"{shapes} imported as {'its enclosing box' if count == 1 else 'their enclosing boxes'}"


def about_other_labels(tree: Tree, documents: Mapping[str, Any]) -> Iterator[str]:
    """COCO labels of the source that the recognized layout does not have."""
    others = [name for name in documents_of(tree) if name not in documents][:_LOOKED_INTO]
    others = [name for name in others if not is_keypoints(name) and has_coco_keys(tree, name)]
    if others:
        yield f"not read: {listed(map(printable, others), 3)} (--layout selects other label files)"
