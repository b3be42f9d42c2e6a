"""Reads the boxes of the images of a COCO document; one bad annotation makes its image bad as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from robot_assets.data.importing.coco.annotation_reader import CORRECT, IGNORE, AnnotationReader, BadField
from robot_assets.data.importing.coco.annotations import Rows
from robot_assets.data.importing.coco.ids import Id
from robot_assets.data.importing.coco.shapes import (
    NoRectangle,
    Rectangle,
    are_fractions,
    enclosing_rectangle,
    hint_about,
    is_upright,
)
from robot_assets.tasks.detection.boxes import SMALLEST_PX, Box, fault_of, make_box

_NUMBERS = {int, float}


@dataclass(frozen=True)
class BoxReader(AnnotationReader):
    """Reads the boxes of one label file.

    Attributes:
        polygons: Whether polygons, masks and rotated boxes are read as their enclosing boxes.
    """

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
        try:
            self.check(image, place, rows, width, height)
            return [
                _upright_inside(row, self.numbers, width, height) or self._box(index, row, width, height)
                for index, row in rows
            ]
        except BadField as bad:
            raise self.named(bad, image) from None

    def _box(self, index: int, row: dict[str, Any], width: int, height: int) -> Box:
        number = self.category(index, row)
        x, y, w, h = rectangle = row["bbox"] if is_upright(row) else self._enclosing(index, row)
        fault = fault_of(x, y, w, h, width, height)
        if not fault and are_fractions(rectangle):
            fault = f"box of {w:.6g}x{h:.6g} px in the corner of the image"
        if fault:
            raise BadField(index, "bbox", fault + hint_about(rectangle, width, height), CORRECT)
        return make_box(number, (x, y, w, h), (width, height), crowd=self.is_ignored(index, row))

    def _enclosing(self, index: int, row: dict[str, Any]) -> Rectangle:
        try:
            return enclosing_rectangle(row, self.polygons)
        except NoRectangle as shape:
            raise BadField(index, shape.field, shape.found, shape.fix) from None


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
