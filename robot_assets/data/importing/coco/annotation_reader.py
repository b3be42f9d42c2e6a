"""Reads the annotations of the images of a COCO document; one bad annotation makes its image bad as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from robot_assets.core.label_issues import BadItem, printable
from robot_assets.core.text import listed
from robot_assets.data.coco_document import is_number, json_type
from robot_assets.data.importing.coco.annotations import Rows
from robot_assets.data.importing.coco.ids import Id, id_of

CORRECT = "correct or remove the annotation"
IGNORE = "ignore"
"""Marks an object that is neither learned nor missed, as in CrowdHuman; it is read as a crowd region."""


class BadField(Exception):
    """A bad field of the annotation at an index."""

    def __init__(self, index: int, field: str, found: str, fix: str) -> None:
        super().__init__(index, field, found, fix)
        self.index, self.field, self.found, self.fix = index, field, found, fix


@dataclass(frozen=True)
class AnnotationReader:
    """What the readers of boxes and of masks share.

    Attributes:
        document: The label file, for messages.
        numbers: Class index by category id.
        repeated: Indices of annotations whose id another annotation has, too, or that is no id.
    """

    document: str
    numbers: Mapping[Id, int]
    repeated: Mapping[int, str]

    def check(self, image: Mapping[str, Any], place: str, rows: Rows, width: int, height: int) -> None:
        """Compare an entry with its image, whose size is in pixels.

        Raises:
            BadItem: The entry contradicts the size of the image.
            BadField: An annotation has no id of its own.
        """
        if image.get("width", width) != width or image.get("height", height) != height:
            _check_size(image, place, width, height)
        for index in self.repeated and [index for index, _ in rows if index in self.repeated]:
            raise BadField(index, "id", self.repeated[index], "give each annotation an id of its own")

    def named(self, bad: BadField, image: Mapping[str, Any]) -> BadItem:
        """A bad field with its image."""
        where = f"{printable(image['file_name'])} in {self.document}: annotations[{bad.index}].{bad.field}"
        return BadItem(where, bad.found, bad.fix)

    def category(self, index: int, row: Mapping[str, Any]) -> int:
        """Class index of an annotation.

        Raises:
            BadField: It is of no category.
        """
        category = row.get("category_id")
        number = self.numbers.get(category if type(category) is int else id_of(category))  # type: ignore[arg-type]
        if number is None:
            raise BadField(index, "category_id", *self._unknown_category(row))
        return number

    def is_ignored(self, index: int, row: Mapping[str, Any]) -> bool:
        """Whether an annotation is a crowd region, or marked to be ignored.

        Raises:
            BadField: A mark is neither 0 nor 1.
        """
        flags = {key: row.get(key, 0) for key in ("iscrowd", IGNORE)}
        for key, value in flags.items():
            if value not in (0, 1):
                raise BadField(index, key, f"{ascii(value)[:80]}, needed 0 or 1", "set it to 0 or 1")
        return any(flags.values())

    def _unknown_category(self, row: Mapping[str, Any]) -> tuple[str, str]:
        if "category_id" not in row:
            return "no category_id", "write the id of its category"
        return f"unknown class id {ascii(row['category_id'])[:80]}", f"use one of {listed(map(repr, self.numbers))}"


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
