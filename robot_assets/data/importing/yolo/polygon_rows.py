"""Parses the rows of YOLO segmentation labels: ``class x1 y1 x2 y2 x3 y3 ...``, relative to the size of the image.

Source: https://docs.ultralytics.com/datasets/segment/
"""

from __future__ import annotations

from robot_assets.core.label_issues import BadItem
from robot_assets.data.importing.segmentation.labels import Classes, MaskLabels
from robot_assets.data.importing.segmentation.painting import (
    Shape,
    fault_of_place,
    fault_of_ring,
    painted,
    polygon,
)
from robot_assets.data.importing.yolo.rows import (
    PIXELS_ABOVE,
    RowRules,
    category_of,
    key_points_in,
    numbers_of,
    refuse_other_text,
)

_BOX_COLUMNS = 5
_FORM = "class x1 y1 x2 y2 x3 y3 ..."
_CORRECT = "correct or remove that line"


def read_polygons(data: bytes, place: str, rules: RowRules, classes: Classes, width: int, height: int) -> MaskLabels:
    """The mask of one label file; an empty file is an image without polygons.

    Args:
        data: From ``read_label``.
        place: Name of the file.
        rules: How rows are read.
        classes: The classes of the source, and which of them are ignored.
        width: Of the image, in pixels.
        height: Of the image, in pixels.

    Raises:
        BadItem: A row is not a polygon of this image.
    """
    rows = [(number, line.decode().split()) for number, line in enumerate(data.splitlines(), start=1)]
    shapes = [_shape(f"{place}:{number}", row, rules, classes, width, height) for number, row in rows if row]
    return painted(shapes, width, height, classes.rest)


def _shape(place: str, columns: list[str], rules: RowRules, classes: Classes, width: int, height: int) -> Shape:
    refuse_other_text(place, columns, _FORM)
    category = category_of(place, columns[0], rules)
    values = numbers_of(place, columns[1:])
    if len(columns) == _BOX_COLUMNS:
        fix = "export polygons (segmentation), or run the same command with --task detection"
        raise BadItem(place, f"a box row, needed a polygon: {_FORM}", fix)
    if rules.key_points or key_points_in(columns):
        raise BadItem(
            place, "a box with key points (pose estimation), needed a polygon", "export polygons (segmentation)"
        )
    if fault := fault_of_ring(values):
        hint = "; a confidence at the end, as in an export of predictions?" if len(values) % 2 else ""
        raise BadItem(place, fault + hint, _CORRECT)
    if max(map(abs, values)) > PIXELS_ABOVE:
        found = "coordinates above 1: are these pixels? YOLO coordinates are relative to the image size"
        raise BadItem(place, found, "divide x by the width of the image, and y by its height")
    ring = [value * (height if index % 2 else width) for index, value in enumerate(values)]
    if fault := fault_of_place(ring, width, height):
        raise BadItem(place, fault, _CORRECT)
    return Shape(classes.numbers[category], *polygon([ring], width, height))
