"""Parses the rows of YOLO label files: ``class cx cy w h``, relative to the size of the image.

Rows of other formats are named for what they are: polygons and oriented boxes (``class x1 y1 x2 y2 ...``), key
points (a box and its points, as ``kpt_shape`` of data.yaml says), and predictions (a confidence as sixth column).
Source: https://docs.ultralytics.com/datasets/
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass, field

from robot_assets.core.label_issues import BadItem
from robot_assets.data.importing.yolo.class_names import LFS_POINTER, decoded
from robot_assets.tasks.detection.boxes import SMALLEST_PX, Box, fault_of, make_box

MAX_LABEL_BYTES = 1024 * 1024
_BLOCK = 8192
PIXELS_ABOVE = 2.0
"""A relative coordinate above it cannot be a box that is drawn past the edge: it is in pixels."""
_PARALLEL = 1e-3
_AS_BOXES = "export boxes, or run the same command with --polygons boxes to import the enclosing boxes"
_AS_BOXES_OR_MASKS = f"{_AS_BOXES}, or with --task segmentation to import masks"
_KEY_POINT_FLAGS = (0.0, 1.0, 2.0)
"""Absent, hidden, visible."""
_DOTA_HEADERS = ("imagesource:", "gsd:")
CONVERT = "convert the labels to YOLO or COCO, or export them so from the annotation tool"
_FORM = "class cx cy w h"
_DECIMAL_COMMA = re.compile(r"-?\d*,\d+")


@dataclass(frozen=True)
class RowRules:
    """How rows are read.

    Attributes:
        categories: Class names in the order of their ids.
        enclosing: Whether polygons and oriented boxes are read as their enclosing boxes.
        key_points: Number of points of a pose row, and of values of a point; None when rows have no key points.
        ids: Class ids as they are written in a row.
    """

    categories: tuple[str, ...]
    enclosing: bool = False
    key_points: tuple[int, int] | None = None
    ids: dict[bytes, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", {b"%d" % number: number for number in range(len(self.categories))})

    @property
    def numbers(self) -> dict[str, int]:
        """Class index by its id, as text."""
        return {str(number): number for number in range(len(self.categories))}


def read_label(path: str, place: str) -> bytes:
    """Bytes of a label file, UTF-8 without a byte order mark.

    Args:
        path: Where the file is.
        place: Its name in findings.

    Raises:
        BadItem: It is missing, is larger than ``MAX_LABEL_BYTES``, or is neither UTF-8 nor UTF-16 with its mark.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise BadItem(place, "missing label file", "restore it; an image without objects needs an empty one") from None
    except OSError as error:
        raise BadItem(place, f"cannot be opened ({error.strerror})", "replace it by a readable regular file") from None
    try:
        data = block = os.read(handle, _BLOCK)
        while len(block) == _BLOCK and len(data) <= MAX_LABEL_BYTES:
            block = os.read(handle, _BLOCK)
            data += block
    finally:
        os.close(handle)
    if len(data) > MAX_LABEL_BYTES:
        raise BadItem(place, "a label file of more than 1 MiB", "replace it by a YOLO label file")
    return data if data.isascii() and b"\0" not in data else _utf8(data, place)


def _utf8(data: bytes, place: str) -> bytes:
    try:
        return decoded(data).encode()
    except UnicodeDecodeError:
        raise BadItem(place, "label text that is not UTF-8", "save it as UTF-8 text") from None


def read_rows(data: bytes, place: str, rules: RowRules, width: int, height: int) -> list[Box]:
    """Boxes of one label file; an empty file is an image without objects.

    Rows of boxes inside the image, which are nearly all, take the short way; the others are diagnosed.

    Args:
        data: From ``read_label``.
        place: Name of the file.
        rules: How rows are read.
        width: Of the image, in pixels.
        height: Of the image, in pixels.

    Raises:
        BadItem: A row is not a box of this image.
    """
    boxes, ids = [], rules.ids
    for number, line in enumerate(data.splitlines(), start=1):
        try:
            name, cx, cy, rw, rh = line.split()
            category, w, h = ids[name], float(rw), float(rh)
            x, y, w, h = (float(cx) - w / 2) * width, (float(cy) - h / 2) * height, w * width, h * height
        except (ValueError, KeyError):
            x = y = w = h = -1.0
        right, bottom = x + w, y + h
        is_inside = x >= 0 and y >= 0 and right <= width and bottom <= height  # False for NaN
        if is_inside and w >= SMALLEST_PX and h >= SMALLEST_PX and b"_" not in line:  # ``float`` accepts 1_0
            left, top, w, h = _rounded(x), _rounded(y), _rounded(right - x), _rounded(bottom - y)
            far, low = width - left, height - top
            boxes.append(Box(category, left, top, w if w < far else far, h if h < low else low))
        elif columns := line.decode().split():
            boxes.append(_row(f"{place}:{number}", columns, rules, (width, height)))
    return boxes


def _rounded(value: float) -> float:
    """``round(value, 4)`` of a value >= 0, in half of its time: the same float, as both are correctly rounded."""
    scaled = value * 10_000
    nearest = int(scaled + 0.5)
    return nearest / 10_000 if -0.4999 < scaled - nearest < 0.4999 else round(value, 4)


def polygon_rows(data: bytes) -> int:
    """Number of rows that are polygons, oriented boxes or boxes with key points."""
    return sum(len(columns) > 6 for columns in map(bytes.split, data.splitlines()))


def _row(place: str, columns: list[str], rules: RowRules, size: tuple[int, int]) -> Box:
    """One row, with every check."""
    refuse_other_text(place, columns, _FORM)
    if format := _other_format(columns):
        raise BadItem(place, f"a row of {format}, needed class cx cy w h", CONVERT)
    has_points = len(columns) != 5 and _has_points(place, columns, rules)
    category = category_of(place, columns[0], rules)
    values = numbers_of(place, columns[1:])
    cx, cy, w, h = _as_box(place, values, rules) if has_points else values
    if max(map(abs, values)) > PIXELS_ABOVE:
        raise BadItem(
            place,
            "coordinates above 1: are these pixels? YOLO coordinates are relative to the image size",
            "divide x and width by the width of the image, y and height by its height",
        )
    rectangle = ((cx - w / 2) * size[0], (cy - h / 2) * size[1], w * size[0], h * size[1])
    fault = fault_of(*rectangle, *size)
    if fault:
        raise BadItem(place, fault, "correct or remove that line")
    return make_box(category, rectangle, size)


def refuse_other_text(place: str, columns: list[str], form: str) -> None:
    """Refuse a pointer of Git LFS, and values that are separated by commas or semicolons.

    Args:
        place: The row.
        columns: Its columns.
        form: What a row has to be.

    Raises:
        BadItem: The row is one of these.
    """
    if " ".join(columns).startswith(LFS_POINTER):
        raise BadItem(place, "a pointer of Git LFS, not a label", "git lfs pull   # in the repository of the source")
    if any("," in column or ";" in column for column in columns):
        raise _wrong_separator(place, columns, form)


def _wrong_separator(place: str, columns: list[str], form: str) -> BadItem:
    if len(columns) == 5 and all(_DECIMAL_COMMA.fullmatch(column) for column in columns[1:]):
        return BadItem(place, "decimal commas, needed decimal points", "replace the commas by points")
    name = "commas" if any("," in column for column in columns) else "semicolons"
    found = f"values separated by {name}, needed blanks: {form}"
    return BadItem(place, found, f"replace the {name} by blanks")


def _has_points(place: str, columns: list[str], rules: RowRules) -> bool:
    """Whether a row of other than 5 columns has key points, or 3 or more corners.

    Raises:
        BadItem: It has neither.
    """
    if rules.key_points and len(columns) == 5 + math.prod(rules.key_points):
        return True
    points = key_points_in(columns)
    if points:
        found = "a box with key points (pose estimation) that data.yaml does not state"
        raise BadItem(place, found, f"write kpt_shape: [{points}, 3] into data.yaml, or export boxes")
    if len(columns) == 7 and columns[6].isdigit() and columns[6] != "0":
        found = "a confidence and a track id, as in an export of predictions; needed class cx cy w h"
        fix = "import labels that a person has checked, without the last two columns; write 1.0 in a triangle"
        raise BadItem(place, found, fix)
    if len(columns) >= 7 and len(columns) % 2:
        return True
    if len(columns) == 6:
        found = "a sixth column, as the confidence in an export of predictions, or a track id; needed class cx cy w h"
        raise BadItem(place, found, "import labels that a person has checked, without the sixth column")
    count = "1 column" if len(columns) == 1 else f"{len(columns)} columns"
    raise BadItem(place, f"{count}, needed 5: class cx cy w h", "correct that line")


def key_points_in(columns: list[str]) -> int:
    """Number of key points (x, y, visibility) after the box of a row; 0 when there are none.

    A polygon with corners at an edge may have 0.0 and 1.0 in these places, but neither a 2 nor integers in all of them.
    """
    flags = columns[7::3]
    if len(columns) < 8 or len(columns) % 3 != 2:
        return 0
    try:
        values = [float(flag) for flag in flags]
    except ValueError:
        return 0
    are_flags = all(value in _KEY_POINT_FLAGS for value in values) and (2.0 in values or all(map(str.isdigit, flags)))
    return len(flags) if are_flags else 0


def _other_format(columns: list[str]) -> str:
    """The label format that a row is of, by its class names and columns; "" for YOLO."""
    if columns[0].startswith(_DOTA_HEADERS):
        return "DOTA labels"
    if columns[0].isdigit() and len(columns) not in (9, 10):
        return ""
    texts = [index for index, column in enumerate(columns) if not _is_number(column)]
    if texts == [8] and len(columns) in (9, 10):
        return "DOTA labels (corners in pixels, class name, difficulty)"
    if texts == [0] and len(columns) in (15, 16):
        return "KITTI labels (type, truncation, occlusion, angle, box in pixels, 3D box)"
    return ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _as_box(place: str, values: list[float], rules: RowRules) -> tuple[float, float, float, float]:
    """Center, width and height of a polygon, an oriented box, or a row with key points.

    Raises:
        BadItem: Enclosing boxes were not asked for.
    """
    is_pose = rules.key_points is not None and len(values) == 4 + math.prod(rules.key_points)
    if not rules.enclosing:
        raise BadItem(place, _described(values, is_pose), _AS_BOXES if is_pose else _AS_BOXES_OR_MASKS)
    if is_pose:
        return values[0], values[1], values[2], values[3]
    left, right, top, bottom = min(values[::2]), max(values[::2]), min(values[1::2]), max(values[1::2])
    return (left + right) / 2, (top + bottom) / 2, right - left, bottom - top


def _described(values: list[float], is_pose: bool) -> str:
    if is_pose:
        return "a box with key points (pose estimation)"
    if len(values) == 8 and _is_parallelogram(values):
        return "an oriented box (8 coordinates)"
    return "a polygon (segmentation) row"


def _is_parallelogram(corners: list[float]) -> bool:
    """Whether the diagonals have one middle: a rotated rectangle, stretched to relative coordinates."""
    x, y = corners[::2], corners[1::2]
    return abs(x[0] + x[2] - x[1] - x[3]) < _PARALLEL and abs(y[0] + y[2] - y[1] - y[3]) < _PARALLEL


def category_of(place: str, text: str, rules: RowRules) -> int:
    """Class index of a row.

    Raises:
        BadItem: It is no id of a class.
    """
    last = len(rules.categories) - 1
    if text.isascii() and text.isdigit() and len(text) <= 9 and int(text) <= last:
        return int(text)
    found = f"unknown class id {_shown(text)}, needed " + (f"0 to {last}" if last else "0")
    if text in rules.categories:
        raise BadItem(place, found, f"write the id of that class: {rules.categories.index(text)}")
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not text.isdigit() and number.is_integer() and 0 <= number <= last:
        raise BadItem(place, found, f"write it as an integer: {int(number)}")
    hint = " (ids start at 0)" if number == last + 1 else ""
    raise BadItem(place, found, f"correct it{hint}, or add the class name")


def numbers_of(place: str, columns: list[str]) -> list[float]:
    """The columns as finite numbers.

    Raises:
        BadItem: They are not.
    """
    try:
        if not all(column.isascii() and "_" not in column for column in columns):
            raise ValueError
        values = [float(column) for column in columns]
    except ValueError:
        raise BadItem(place, f"not numbers: {_shown(' '.join(columns))}", "correct that line") from None
    if not all(map(math.isfinite, values)):
        raise BadItem(place, f"NaN or infinite: {_shown(' '.join(columns))}", "correct or remove that line")
    return values


def _shown(text: str) -> str:
    """A part of a file in quotes, at most 60 characters."""
    return repr(text if len(text) <= 60 else text[:57] + "...")
