"""Reads the boxes of the images of a COCO document; one bad annotation makes its image bad as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from robot_assets.core.text import listed
from robot_assets.tasks.detection.boxes import SMALLEST_PX, Box, fault_of, make_box
from robot_assets.data.coco_document import is_number, json_type
from robot_assets.data.importing.coco.annotations import Rows
from robot_assets.data.importing.coco.ids import Id, id_of
from robot_assets.data.importing.coco.shapes import (
    NoRectangle,
    Rectangle,
    are_fractions,
    enclosing_rectangle,
    hint_about,
    is_upright,
)
from robot_assets.core.label_issues import BadItem, printable

_CORRECT = "correct or remove the annotation"
IGNORE = "ignore"
"""Marks an object that is neither learned nor missed, as in CrowdHuman; it is read as a crowd region."""
_NUMBERS = {int, float}


@dataclass(frozen=True)
class BoxReader:
    """Reads the boxes of one label file.

    Attributes:
        document: The label file, for messages.
        numbers: Class index by category id.
        repeated: Indices of annotations whose id another annotation has, too, or that is no id.
        polygons: Whether polygons, masks and rotated boxes are read as their enclosing boxes.
    """

    document: str
    numbers: Mapping[Id, int]
    repeated: Mapping[int, str]
    polygons: bool

    def read(self, image: Mapping[str, Any], place: str, rows: Rows, width: int, height: int) -> list[Box]:
        """Boxes of an image.

        Args:
            image: Its entry.
            place: The entry, for messages.
            rows: Its annotations.
            width: Of the image in pixels.
            height: Of the image in pixels.

        Raises:
            BadItem: The entry contradicts the size of the image, or an annotation has no valid box.
        """
        if image.get("width", width) != width or image.get("height", height) != height:
            _check_size(image, place, width, height)
        try:
            self._require_own_ids(rows)
            return [
                _upright_inside(row, self.numbers, width, height) or self._box(index, row, width, height)
                for index, row in rows
            ]
        except _BadField as bad:
            where = f"{printable(image['file_name'])} in {self.document}: annotations[{bad.index}].{bad.field}"
            raise BadItem(where, bad.found, bad.fix) from None

    def _require_own_ids(self, rows: Rows) -> None:
        for index in self.repeated and [index for index, _ in rows if index in self.repeated]:
            raise _BadField(index, "id", self.repeated[index], "give each annotation an id of its own")

    def _box(self, index: int, row: dict[str, Any], width: int, height: int) -> Box:
        category = row.get("category_id")
        number = self.numbers.get(category if type(category) is int else id_of(category))  # type: ignore[arg-type]
        if number is None:
            raise _BadField(index, "category_id", *self._unknown_category(row))
        x, y, w, h = rectangle = row["bbox"] if is_upright(row) else self._enclosing(index, row)
        fault = fault_of(x, y, w, h, width, height)
        if not fault and are_fractions(rectangle):
            fault = f"box of {w:.6g}x{h:.6g} px in the corner of the image"
        if fault:
            raise _BadField(index, "bbox", fault + hint_about(rectangle, width, height), _CORRECT)
        flags = {key: row.get(key, 0) for key in ("iscrowd", IGNORE)}
        for key, value in flags.items():
            if value not in (0, 1):
                raise _BadField(index, key, f"{ascii(value)[:80]}, needed 0 or 1", "set it to 0 or 1")
        return make_box(number, (x, y, w, h), (width, height), crowd=any(flags.values()))

    def _enclosing(self, index: int, row: dict[str, Any]) -> Rectangle:
        try:
            return enclosing_rectangle(row, self.polygons)
        except NoRectangle as shape:
            raise _BadField(index, shape.field, shape.found, shape.fix) from None

    def _unknown_category(self, row: Mapping[str, Any]) -> tuple[str, str]:
        if "category_id" not in row:
            return "no category_id", "write the id of its category"
        return f"unknown class id {ascii(row['category_id'])[:80]}", f"use one of {listed(map(repr, self.numbers))}"


def _upright_inside(row: Mapping[str, Any], numbers: Mapping[Id, int], width: int, height: int) -> Box | None:
    """The box of an annotation without a fault, as nearly all are, in a third of the time; None for any other.

    It is the box that ``make_box`` makes of a rectangle that is inside its image.
    """
    category, bbox, crowd = row.get("category_id"), row.get("bbox"), row.get("iscrowd", 0)
    if row.get(IGNORE):
        return None
    if type(category) is not int or type(bbox) is not list or len(bbox) != 4 or crowd not in (0, 1):
        return None
    x, y, w, h = bbox
    if not (type(x) in _NUMBERS and type(y) in _NUMBERS and type(w) in _NUMBERS and type(h) in _NUMBERS):
        return None
    if not (0 <= x < width and 0 <= y < height and SMALLEST_PX <= w <= width and SMALLEST_PX <= h <= height):
        return None
    number, attributes = numbers.get(category), row.get("attributes")
    if number is None or (attributes and (type(attributes) is not dict or attributes.get("rotation"))):
        return None
    left, top, right, bottom = round(x, 4), round(y, 4), x + w, y + h
    inner_width, inner_height = round(right - x, 4), round(bottom - y, 4)
    if right > width or bottom > height or inner_width > width - left or inner_height > height - top:
        return None
    if (right <= 2 and bottom <= 2) and are_fractions(bbox):
        return None
    return Box(number, left, top, inner_width, inner_height, crowd == 1)


class _BadField(Exception):
    """A bad field of the annotation at an index."""

    def __init__(self, index: int, field: str, found: str, fix: str) -> None:
        super().__init__(index, field, found, fix)
        self.index, self.field, self.found, self.fix = index, field, found, fix


def _check_size(image: Mapping[str, Any], place: str, width: int, height: int) -> None:
    """Refuse an entry whose size is not that of its image; null counts as no size."""
    claimed = image.get("width"), image.get("height")
    where = f"{printable(image['file_name'])} in {place}"
    for key, value, actual in zip(("width", "height"), claimed, (width, height), strict=True):
        if value is not None and not is_number(value):
            raise BadItem(f"{where}.{key}", f"{json_type(value)}, but the image has {actual}", "write the pixels")
    if claimed == (height, width):
        found = f"width and height are swapped: the image has {width}x{height} px"
        raise BadItem(where, found, "turn its labels by 90 degrees, or swap the two fields")
    for key, value, actual in zip(("width", "height"), claimed, (width, height), strict=True):
        if value not in (None, actual):
            raise BadItem(
                f"{where}.{key}", f"{value}, but the image has {actual}", "scale its boxes, or correct the field"
            )
