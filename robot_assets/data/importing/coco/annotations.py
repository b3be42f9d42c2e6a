"""Annotations of COCO documents: those of each image, and those that point to none."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from robot_assets.core.errors import DataError
from robot_assets.core.label_issues import LabelIssue, printable
from robot_assets.core.text import plural
from robot_assets.data.coco_document import is_number, json_type
from robot_assets.data.importing.coco.ids import Id, described_ids, id_of, ids_in

_SAMPLED = 1000
"""Annotations by which the form of the boxes is judged."""
_AREA_TOLERANCE = 0.01

Rows = list[tuple[int, dict[str, Any]]]
"""Annotations of an image, each with its index in the label file."""


def rows_by_image(path: str, document: Mapping[str, Any], issues: list[LabelIssue]) -> Mapping[Id | None, Rows]:
    """Annotations of each image, by its id; those that point to no image are added to ``issues``.

    Args:
        path: The label file, for messages.
        document: The label file.
        issues: Issues of the source.

    Raises:
        DataError: There are images and annotations, and none points to an image: the ids are of different kinds.
    """
    annotations = document["annotations"]
    rows: dict[Id | None, Rows] = {id_of(value): [] for value in ids_in(document["images"], "id")}
    rows.pop(None, None)
    stray = []
    for index, row in enumerate(annotations):
        image_id = row.get("image_id") if isinstance(row, dict) else None
        own = rows.get(image_id if type(image_id) is int else id_of(image_id))
        if own is None:
            stray.append(index)
        else:
            own.append((index, row))
    if document["images"] and len(stray) == len(annotations) > 0:
        raise _no_match(path, document)
    issues += (_stray(path, index, annotations[index]) for index in stray)
    return rows


def _no_match(path: str, document: Mapping[str, Any]) -> DataError:
    images, annotations = document["images"], document["annotations"]
    return DataError(
        f"{path}: none of its {plural(len(annotations), 'annotation')} points to one of its "
        f"{plural(len(images), 'image')}: the ids of the images are {described_ids(ids_in(images, 'id'))}, and "
        f"image_id of the annotations are {described_ids(ids_in(annotations, 'image_id'))}",
        needed="image_id of an annotation equal to the id of its image",
        fix="export it again, or write both as the same integers",
    )


def _stray(path: str, index: int, row: Any) -> LabelIssue:
    """The issue about an annotation that belongs to no image."""
    fix = "correct its image_id, or remove the annotation"
    place = f"{path}: annotations[{index}]"
    if not isinstance(row, dict):
        return LabelIssue(place, f"the annotation is {json_type(row)}, not an object", fix)
    if "image_id" not in row:
        return LabelIssue(place, "no image_id", fix)
    return LabelIssue(f"{place} (image_id {ascii(row['image_id'])[:80]})", "image_id is not the id of an image", fix)


def repeated_ids(annotations: Sequence[Any]) -> Mapping[int, str]:
    """Indices of annotations whose id is that of another one, or is no id, with what was found. No id is good."""
    ids = [row.get("id") if isinstance(row, dict) else None for row in annotations]
    if set(map(type, ids)) <= {int} and len(set(ids)) == len(ids):
        return {}
    keys = [id_of(value) for value in ids]
    times = Counter(key for key in keys if key is not None)
    found = {index: f"duplicate annotation id {key!r}" for index, key in enumerate(keys) if times[key] > 1}  # type: ignore[index]
    wrong = {index: f"{json_type(value)} that cannot be an id" for index, value in enumerate(ids) if value is not None}
    return found | {index: text for index, text in wrong.items() if keys[index] is None}


def require_sizes(path: str, annotations: Sequence[Any]) -> None:
    """Refuse a label file whose ``area`` shows that its boxes are corners: many of them would fit their images.

    Raises:
        DataError: The areas are those of boxes [x1, y1, x2, y2].
    """
    evidence = list(_forms(annotations[:_SAMPLED]))
    if len(evidence) < 3 or not all(evidence):
        return
    row = next(row for row in annotations if isinstance(row, dict) and list(_forms([row])))
    raise DataError(
        f"{path}: the boxes are corners [x1, y1, x2, y2]: the area {row['area']:g} of annotation "
        f"{printable(str(row.get('id')))} is that of {row['bbox']} only so",
        needed="boxes [x, y, width, height] in pixels",
        fix="write width = x2 - x1 and height = y2 - y1, or export COCO from the annotation tool again",
    )


def _forms(annotations: Sequence[Any]) -> Iterator[bool]:
    """Whether the area is that of corners, for each box whose area shows its form: polygons have smaller areas."""
    for row in annotations:
        bbox = row.get("bbox") if isinstance(row, dict) else None
        values: list[Any] = [*bbox, row.get("area")] if isinstance(bbox, list) and len(bbox) == 4 else [None]
        if not all(is_number(value) and math.isfinite(value) for value in values):
            continue
        x, y, right, bottom, area = values
        of_size, of_corners = right * bottom, (right - x) * (bottom - y)
        if right > x and bottom > y and not _are_close(of_size, of_corners):
            is_size, is_corners = _are_close(area, of_size), _are_close(area, of_corners)
            if is_size or is_corners:
                yield is_corners


def _are_close(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=_AREA_TOLERANCE, abs_tol=_AREA_TOLERANCE)
