"""Rectangles of COCO annotations. What is no upright box is named for what it is, or read as its enclosing box."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

from robot_assets.data.coco_document import is_int, is_number, json_type

Rectangle = tuple[float, float, float, float]
"""x, y, width, height in pixels."""

_AS_BOXES = "export boxes, or run the same command with --polygons boxes to read the enclosing boxes"
_AS_BOXES_OR_MASKS = f"{_AS_BOXES}, or with --task segmentation to read the shapes as masks"
_CORRECT = "correct or remove the annotation"
_FORM = "[x, y, width, height] in pixels"
_EXACT = 2**53
_NUMBERS = {int, float}
_QUADRILATERAL = 8
_ROTATED = 5
_SHIFT_MAX = 60
"""Bits of a run: no image has as many pixels."""


class NoRectangle(Exception):
    """Raised for an annotation without a rectangle, with the field, what was found, and how to fix it."""

    def __init__(self, field: str, found: str, fix: str = _CORRECT) -> None:
        super().__init__(field, found, fix)
        self.field, self.found, self.fix = field, found, fix


def is_upright(row: Mapping[str, Any]) -> bool:
    """Whether the bbox of an annotation is its rectangle: four numbers that are not all 0, and no rotation."""
    bbox = row.get("bbox")
    if type(bbox) is not list or len(bbox) != 4 or not _NUMBERS.issuperset(map(type, bbox)) or not any(bbox):
        return False
    if not max(bbox) < _EXACT or not min(bbox) > -_EXACT:
        return all(map(is_number, bbox)) and not rotation_of(row)
    return "attributes" not in row or not rotation_of(row)


def enclosing_rectangle(row: Mapping[str, Any], polygons: bool) -> Rectangle:
    """The rectangle around an annotation that is not upright.

    Args:
        row: The annotation.
        polygons: Whether its polygon, mask or rotated box may be read so.

    Raises:
        NoRectangle: It may not, or the annotation has no shape.
    """
    bbox, segmentation = row.get("bbox"), row.get("segmentation")
    if isinstance(bbox, list) and any(bbox):
        return _around_bbox(row, bbox, polygons)
    if bbox is not None and not isinstance(bbox, list):
        raise NoRectangle("bbox", f"{json_type(bbox)}, not {_FORM}")
    if not segmentation:
        raise NoRectangle("bbox", _without_shape(row))
    is_mask = isinstance(segmentation, dict)
    if not polygons:
        shape = "a mask (RLE segmentation)" if is_mask else "a polygon (segmentation)"
        raise NoRectangle("segmentation", f"{shape} without a box", _AS_BOXES_OR_MASKS)
    return _mask_bounds(segmentation) if is_mask else _bounds(_polygon_points(segmentation))


def _without_shape(row: Mapping[str, Any]) -> str:
    if row.get("keypoints"):
        return "keypoints without a box"
    bbox = row.get("bbox")
    return f"no {_FORM}" if not bbox else "a box of 0x0 px"


def _around_bbox(row: Mapping[str, Any], bbox: Sequence[Any], polygons: bool) -> Rectangle:
    texts = [value for value in bbox if isinstance(value, str)]
    if texts:
        raise NoRectangle("bbox", f"strings such as {texts[0][:40]!a}, not numbers", "write numbers without quotes")
    if not all(map(is_number, bbox)):
        wrong = next(value for value in bbox if not is_number(value))
        raise NoRectangle("bbox", f"{json_type(wrong)} that is no pixel coordinate, needed {_FORM}")
    if len(bbox) == _ROTATED:
        found = "5 values, as of a rotated box (cx, cy, width, height, angle)"
        raise NoRectangle("bbox", found, "export upright boxes: COCO does not define the unit of the angle")
    if len(bbox) not in (4, _QUADRILATERAL):
        raise NoRectangle("bbox", f"{len(bbox)} values, not {_FORM}")
    angle = rotation_of(row)
    if not polygons:
        oriented = "an oriented box (8 coordinates)"
        found = oriented if len(bbox) == _QUADRILATERAL else f"a box rotated by {angle:g} degrees"
        raise NoRectangle("bbox", found, _AS_BOXES)
    return _bounds(bbox) if len(bbox) == _QUADRILATERAL else _around_rotated(bbox, angle)


def rotation_of(row: Mapping[str, Any]) -> float:
    """CVAT's rotation of a box around its centre, in degrees; 0 when the box is upright."""
    attributes = row.get("attributes")
    if isinstance(attributes, dict) and not attributes.get("rotation"):
        return 0.0
    angle = attributes.get("rotation") if isinstance(attributes, dict) else None
    if angle is None or not is_number(angle) or not math.isfinite(angle):
        return 0.0
    return float(angle) % 180


def _around_rotated(bbox: Sequence[float], angle: float) -> Rectangle:
    x, y, width, height = bbox
    cosine, sine = abs(math.cos(math.radians(angle))), abs(math.sin(math.radians(angle)))
    outer = (width * cosine + height * sine, width * sine + height * cosine)
    return x + (width - outer[0]) / 2, y + (height - outer[1]) / 2, *outer


def _bounds(points: Sequence[float]) -> Rectangle:
    """The rectangle around points x0, y0, x1, y1, ..."""
    left, top = min(points[::2]), min(points[1::2])
    return left, top, max(points[::2]) - left, max(points[1::2]) - top


def _polygon_points(segmentation: Any) -> list[float]:
    """All points of COCO's list of polygons, each a list x0, y0, x1, y1, ... of at least three points."""
    rings: list[Any] = segmentation if isinstance(segmentation, list) else [None]
    if not all(_is_ring(ring) for ring in rings):
        raise NoRectangle("segmentation", "not a list of polygons [x0, y0, x1, y1, ...] with at least 3 points")
    return [value for ring in rings for value in ring]


def _is_ring(ring: Any) -> bool:
    if not isinstance(ring, list) or len(ring) < 6 or len(ring) % 2:
        return False
    return all(is_number(value) and math.isfinite(value) for value in ring)


def _mask_bounds(mask: Mapping[str, Any]) -> Rectangle:
    """The rectangle around a mask: runs of 0 and 1 in turn, column by column, as pycocotools writes them."""
    size: Any = mask.get("size")
    counts: Any = mask.get("counts")
    runs: Any = list(decoded_runs(counts)) if isinstance(counts, str) else counts
    if not _are_integers(size, 1) or len(size) != 2 or not _are_integers(runs, 0):
        raise NoRectangle("segmentation", "not a mask with size [height, width] and counts")
    height, width = size
    ends = list(accumulate(runs))
    if not ends or ends[-1] != height * width:
        raise NoRectangle("segmentation", f"a mask whose counts are not {height}x{width} pixels")
    ones = [(end - run, end - 1) for run, end in zip(runs[1::2], ends[1::2], strict=True) if run]
    if not ones:
        raise NoRectangle("segmentation", "an empty mask")
    rows = [row for first, last in ones for row in _rows(first, last, height)]
    left, right = ones[0][0] // height, ones[-1][1] // height
    return left, min(rows), right - left + 1, max(rows) - min(rows) + 1


def _are_integers(values: Any, least: int) -> bool:
    return isinstance(values, list) and all(is_int(value) and value >= least for value in values)


def _rows(first: int, last: int, height: int) -> tuple[int, int]:
    """The first and the last row of a run, by its indices in column order; a run over two columns has both edges."""
    return (first % height, last % height) if first // height == last // height else (0, height - 1)


def decoded_runs(counts: str) -> Iterator[int]:
    """Runs of a compressed mask: 5 bits a character, and from the fourth run on the difference to the run before last.

    A run that is none ends them with -1.

    Source: rleFrString in https://github.com/cocodataset/cocoapi/blob/master/common/maskApi.c
    """
    runs: list[int] = []
    value = shift = 0
    for character in counts:
        bits = ord(character) - 48
        if shift > _SHIFT_MAX or not 0 <= bits < 64:
            yield -1
            return
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        yield runs[-1]
        value = shift = 0


def are_fractions(bbox: Iterable[float]) -> bool:
    """Whether the coordinates of a rectangle are relative to the image size: no object is as small as that."""
    x, y, width, height = bbox
    return 0 <= x <= 1 and 0 <= y <= 1 and 0 < width <= 1 and 0 < height <= 1


def hint_about(bbox: Sequence[float], width: int, height: int) -> str:
    """What a rectangle that does not fit its image may be instead; "" when there is nothing to say."""
    x, y, right, bottom = bbox
    if are_fractions(bbox):
        return "; fractions of the image size, and COCO has pixels?"
    if x < right <= width and y < bottom <= height and (x + right > width or y + bottom > height):
        return "; corners x1, y1, x2, y2, and COCO has x, y, width, height?"
    return ""
