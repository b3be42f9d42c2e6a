"""Reads the masks of the images of a COCO document: polygons, and runs (RLE) with or without compression.

Source: https://cocodataset.org/#format-data, and rleFrPoly in
https://github.com/cocodataset/cocoapi/blob/master/common/maskApi.c
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from robot_assets.data.coco_document import is_int, is_number, json_type
from robot_assets.data.importing.coco.annotation_reader import CORRECT, AnnotationReader, BadField
from robot_assets.data.importing.coco.annotations import Rows
from robot_assets.data.importing.coco.shapes import decoded_runs
from robot_assets.data.importing.segmentation.labels import Classes, MaskLabels
from robot_assets.data.importing.segmentation.painting import (
    Area,
    Shape,
    fault_of_place,
    fault_of_ring,
    painted,
    polygon,
    runs,
)
from robot_assets.tasks.segmentation.classes import IGNORED

_FIELD = "segmentation"
_ONLY_A_BOX = "export polygons or masks, or run the same command with --task detection"


@dataclass(frozen=True)
class MaskReader(AnnotationReader):
    """Reads the masks of one label file.

    Attributes:
        classes: The classes of the source, and which of them are ignored.
    """

    classes: Classes

    def read(self, image: Mapping[str, Any], place: str, rows: Rows, width: int, height: int) -> MaskLabels:
        """Mask of an image. Arguments as for ``BoxReader.read``.

        Raises:
            BadItem: The entry contradicts the size of the image, or an annotation has no valid shape.
        """
        try:
            self.check(image, place, rows, width, height)
            shapes = [self._shape(index, row, width, height) for index, row in rows]
        except BadField as bad:
            raise self.named(bad, image) from None
        return painted(shapes, width, height, self.classes.rest)

    def _shape(self, index: int, row: Mapping[str, Any], width: int, height: int) -> Shape:
        value = self.classes.numbers[self.category(index, row)]
        value = IGNORED if self.is_ignored(index, row) else value
        try:
            return Shape(value, *_area(row, width, height))
        except _NoShape as bad:
            raise BadField(index, _FIELD, bad.found, bad.fix) from None


class _NoShape(Exception):
    """A segmentation that is no shape of its image."""

    def __init__(self, found: str, fix: str = CORRECT) -> None:
        super().__init__(found, fix)
        self.found, self.fix = found, fix


def _area(row: Mapping[str, Any], width: int, height: int) -> tuple[Area, bool]:
    """The pixels of an annotation, and whether it exceeded the image."""
    segmentation = row.get(_FIELD)
    if not segmentation:
        bbox = row.get("bbox")
        if isinstance(bbox, list) and any(bbox):
            raise _NoShape("a box without a polygon or mask", _ONLY_A_BOX)
        raise _NoShape("no polygon and no mask")
    if isinstance(segmentation, dict):
        return _runs(segmentation, width, height), False
    if not isinstance(segmentation, list):
        raise _NoShape(f"{json_type(segmentation)}, needed a list of polygons, or a mask with size and counts")
    rings = [_ring(ring, width, height) for ring in segmentation]
    return polygon(rings, width, height)


def _ring(ring: Any, width: int, height: int) -> list[float]:
    if is_number(ring):
        raise _NoShape("numbers, needed a list of polygons [[x0, y0, x1, y1, ...]]", "put brackets around the polygon")
    if not isinstance(ring, list) or not all(map(is_number, ring)):
        raise _NoShape("a polygon that is not a list of numbers [x0, y0, x1, y1, ...]")
    if fault := fault_of_ring(ring):
        raise _NoShape(fault)
    if max(ring) <= 1 and min(width, height) > 1:
        raise _NoShape("a polygon within the first pixel: fractions of the image size, and COCO has pixels?")
    if fault := fault_of_place(ring, width, height):
        raise _NoShape(fault)
    return ring


def _runs(mask: Mapping[str, Any], width: int, height: int) -> Area:
    size, counts = mask.get("size"), mask.get("counts")
    if not (isinstance(size, list) and len(size) == 2 and all(map(is_int, size))):
        raise _NoShape("a mask (RLE) without its size [height, width]")
    if size != [height, width]:
        turned = "; width and height are swapped" if size == [width, height] else ""
        raise _NoShape(f"a mask (RLE) of {size[1]}x{size[0]} px, but the image has {width}x{height}{turned}")
    lengths: Any = list(decoded_runs(counts)) if isinstance(counts, str) else counts
    if not isinstance(lengths, list) or not all(is_int(length) and length >= 0 for length in lengths):
        raise _NoShape("a mask (RLE) whose counts are not numbers of pixels")
    if sum(lengths) != width * height:
        raise _NoShape(
            f"a mask (RLE) with counts of {sum(lengths)} pixels, but the image has {width}x{height} = {width * height}"
        )
    return runs(lengths, width, height)
