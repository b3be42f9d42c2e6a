"""Boxes drawn on camera images: what a model saw, next to what was there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from robot_assets.figures.sheet import cell_width, contact_sheet, fitted
from robot_assets.figures.style import Colour, class_colour, pixel_font, text_colour_on

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

__all__ = ["Sample", "contact_sheet", "draw_detections", "labelled_sheet", "prediction_sheet"]

Rectangle = tuple[int, int, int, int]

_READABLE_SIDE = 640
_DASH = 4
_TAG_PADDING = 4
_WHITE: Colour = (255, 255, 255)
_CASING: Colour = (20, 22, 25)


def draw_detections(
    image: npt.NDArray[np.uint8],
    boxes: npt.ArrayLike,
    labels: npt.ArrayLike,
    scores: npt.ArrayLike | None,
    classes: Sequence[str],
    *,
    scale: int | None = None,
) -> npt.NDArray[np.uint8]:
    """Draw boxes with their class and score on a copy of an image.

    A tag moves aside for the tags of more certain boxes; where there is no free place the box goes without,
    and its colour still says the class.

    Args:
        image: uint8 (H, W, 3), RGB.
        boxes: (n, 4) xyxy in pixels of ``image``; parts outside are cut off.
        labels: (n,) class indices.
        scores: (n,) in [0, 1], or None for boxes without (ground truth).
        classes: Names by class index.
        scale: Whole factor by which the image is enlarged, so that text stays readable; by default 2 when its
            longer side is below 640 pixels, else 1.

    Returns:
        uint8 (H * scale, W * scale, 3), RGB.

    Raises:
        ValueError: Arrays that do not fit together, a box that is not finite, a label without a class.
    """
    marks = _checked(image, boxes, labels, scores, classes)
    factor = _scale_of(image) if scale is None else scale
    canvas = _enlarged(image, factor)
    _draw_solid(canvas, marks, factor, classes)
    return np.asarray(canvas)


@dataclass(frozen=True)
class _Marks:
    """Checked boxes: float64 (n, 4), int64 (n,), float64 (n,) or None."""

    boxes: npt.NDArray[np.float64]
    labels: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float64] | None

    def weakest_first(self) -> list[int]:
        """Order of drawing: certain boxes cover uncertain ones, small ones cover large ones."""
        wide, high = self.boxes[:, 2] - self.boxes[:, 0], self.boxes[:, 3] - self.boxes[:, 1]
        strength = -wide * high if self.scores is None else self.scores
        return [int(i) for i in np.argsort(strength, kind="stable")]


def _checked(
    image: npt.NDArray[np.uint8],
    boxes: npt.ArrayLike,
    labels: npt.ArrayLike,
    scores: npt.ArrayLike | None,
    classes: Sequence[str],
) -> _Marks:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"image is {image.dtype} {image.shape}; needed: uint8 (H, W, 3)")
    corners = np.asarray(boxes, dtype=np.float64)
    corners = corners.reshape(-1, 4) if corners.size == 0 else corners
    indices = np.asarray(labels, dtype=np.int64).reshape(-1)
    certainties = None if scores is None else np.asarray(scores, dtype=np.float64).reshape(-1)
    if corners.ndim != 2 or corners.shape[1] != 4:
        raise ValueError(f"boxes are {corners.shape}; needed: (n, 4)")
    if len(indices) != len(corners) or (certainties is not None and len(certainties) != len(corners)):
        found = "" if certainties is None else f" and {len(certainties)} scores"
        raise ValueError(f"{len(corners)} boxes with {len(indices)} labels{found}; needed: one of each a box")
    if not np.isfinite(corners).all():
        raise ValueError("a box has a coordinate that is not finite")
    if len(indices) and not 0 <= indices.min() <= indices.max() < len(classes):
        raise ValueError(f"labels {indices.min()}..{indices.max()} with {len(classes)} classes")
    return _Marks(corners, indices, certainties)


def _scale_of(image: npt.NDArray[np.uint8]) -> int:
    return 2 if max(image.shape[:2]) < _READABLE_SIDE else 1


def _enlarged(image: npt.NDArray[np.uint8], scale: int) -> Image:
    from PIL import Image as Images

    if scale < 1:
        raise ValueError(f"scale {scale}; needed: 1 or more")
    picture = Images.fromarray(image)
    size = (picture.width * scale, picture.height * scale)
    return picture if scale == 1 else picture.resize(size, Images.Resampling.BICUBIC)


def _draw_solid(canvas: Image, marks: _Marks, scale: float, classes: Sequence[str]) -> None:
    from PIL import ImageDraw as Draws

    pen = Draws.Draw(canvas)
    visible: list[tuple[int, Rectangle]] = []
    for i in marks.weakest_first():
        if (box := _on_canvas(marks.boxes[i], scale, canvas.size)) is not None:
            visible.append((i, box))
            _outline(pen, box, class_colour(int(marks.labels[i])))
    tags: list[Rectangle] = []
    font = pixel_font(_font_size(canvas.size))
    for i, box in reversed(visible):
        label = int(marks.labels[i])
        text = classes[label] if marks.scores is None else f"{classes[label]} {marks.scores[i]:.2f}"
        others = [other for j, other in visible if j != i]
        if (spot := _free_place(font, text, box, canvas.size, tags, others)) is not None:
            tags.append(spot)
            _tag(pen, spot, text, class_colour(label), font)


def _on_canvas(box: npt.NDArray[np.float64], scale: float, size: tuple[int, int]) -> Rectangle | None:
    """Inclusive pixel rectangle of a box, or None where it lies outside the picture."""
    left, top = np.floor(box[:2] * scale)
    right, bottom = np.ceil(box[2:] * scale) - 1
    if right < max(left, 0) or bottom < max(top, 0) or left >= size[0] or top >= size[1]:
        return None
    return int(max(left, 0)), int(max(top, 0)), int(min(right, size[0] - 1)), int(min(bottom, size[1] - 1))


def _outline(pen: ImageDraw, box: Rectangle, colour: Colour) -> None:
    """Two pixels of colour inside the box; one dark pixel around it keeps it crisp on any background."""
    left, top, right, bottom = box
    pen.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline=_CASING)
    pen.rectangle(box, outline=colour, width=2 if min(right - left, bottom - top) >= 4 else 1)


def _free_place(
    font: FreeTypeFont,
    text: str,
    box: Rectangle,
    size: tuple[int, int],
    tags: Sequence[Rectangle],
    boxes: Sequence[Rectangle],
) -> Rectangle | None:
    """Where a tag hides no other tag, and the least of other boxes; None where there is no place."""
    ascent, descent = font.getmetrics()
    wide, high = round(font.getlength(text)) + 2 * _TAG_PADDING, ascent + descent
    spots = [(x, y, x + wide - 1, y + high - 1) for x, y in _places(box, wide, high, size)]
    free = [spot for spot in spots if not any(_shared(spot, tag) for tag in tags)]
    return min(free, key=lambda spot: sum(_shared(spot, other) for other in boxes), default=None)


def _tag(pen: ImageDraw, spot: Rectangle, text: str, colour: Colour, font: FreeTypeFont) -> None:
    pen.rectangle(spot, fill=colour)
    pen.text((spot[0] + _TAG_PADDING, spot[1]), text, fill=text_colour_on(colour), font=font)


def _font_size(size: tuple[int, int]) -> int:
    return min(20, max(11, round(max(size) / 60)))


def _places(box: Rectangle, wide: int, high: int, size: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Where a tag may go, best first: above, below, beside, then inside the box."""
    left, top, right, bottom = box
    columns = (left, right - wide + 1)
    spots = [(x, y) for y in (top - high, bottom + 1) for x in columns]
    spots += [(right + 1, top), (left - wide, top), (left + 2, top + 2)]
    for x, y in spots:
        within = min(max(x, 0), size[0] - wide)
        if within >= 0 and 0 <= y <= size[1] - high and abs(within - x) < wide:
            yield within, y


def _shared(one: Rectangle, other: Rectangle) -> int:
    """Pixels that two rectangles have in common."""
    wide = min(one[2], other[2]) - max(one[0], other[0]) + 1
    high = min(one[3], other[3]) - max(one[1], other[1]) + 1
    return max(wide, 0) * max(high, 0)


@dataclass(frozen=True)
class Sample:
    """One image with what is there and what a model saw.

    Attributes:
        image: uint8 (H, W, 3), RGB.
        truth_boxes: (n, 4) xyxy in pixels of the image.
        truth_labels: (n,) class indices.
        boxes: (m, 4) xyxy of the predictions that are worth showing: filter by score first.
        labels: (m,) class indices.
        scores: (m,) in [0, 1].
    """

    image: npt.NDArray[np.uint8]
    truth_boxes: npt.ArrayLike
    truth_labels: npt.ArrayLike
    boxes: npt.ArrayLike
    labels: npt.ArrayLike
    scores: npt.ArrayLike


def prediction_sheet(
    samples: Sequence[Sample],
    classes: Sequence[str],
    *,
    columns: int = 3,
    width: int = 840,
    size_bytes_max: int = 150_000,
) -> bytes:
    """Samples side by side: ground truth dashed in white, predictions solid in the colour of their class.

    Below each image stands how many objects were found (same class, IoU of at least 0.5, each object once,
    the most certain prediction first, as COCO counts) and how many predictions match nothing.

    Args:
        samples: What to show, in this order.
        classes: Names by class index.
        columns: Images in a row.
        width: Width of the sheet in pixels.
        size_bytes_max: The most bytes that the PNG may have; see ``style.image_png``.

    Returns:
        PNG bytes.

    Raises:
        ValueError: A sample that does not fit together (see ``draw_detections``), or no columns.
    """
    cell = cell_width(width, columns)
    pictures, captions = [], []
    for sample in samples:
        truth = _checked(sample.image, sample.truth_boxes, sample.truth_labels, None, classes)
        seen = _checked(sample.image, sample.boxes, sample.labels, sample.scores, classes)
        pictures.append(_drawn_sample(sample.image, truth, seen, classes, cell))
        captions.append(_outcome(truth, seen))
    note = "White dashes: ground truth.  Colour: prediction with its score."
    return contact_sheet(pictures, columns, captions, note=note, width=width, size_bytes_max=size_bytes_max)


def labelled_sheet(
    images: Sequence[npt.NDArray[np.uint8]],
    boxes: Sequence[npt.ArrayLike],
    labels: Sequence[npt.ArrayLike],
    classes: Sequence[str],
    *,
    columns: int = 3,
    width: int = 840,
    size_bytes_max: int = 150_000,
) -> bytes:
    """Images of a data set side by side with their labels, drawn at the size at which they are seen.

    Args:
        images: uint8 (H, W, 3), RGB.
        boxes: For each image (n, 4) xyxy in its pixels.
        labels: For each image (n,) class indices.
        classes: Names by class index.
        columns: Images in a row.
        width: Width of the sheet in pixels.
        size_bytes_max: The most bytes that the PNG may have; see ``style.image_png``.

    Returns:
        PNG bytes.

    Raises:
        ValueError: Arrays that do not fit together (see ``draw_detections``), or no columns.
    """
    cell = cell_width(width, columns)
    pictures = []
    for image, corners, indices in zip(images, boxes, labels, strict=True):
        nothing = _checked(image, [], [], None, classes)
        pictures.append(_drawn_sample(image, nothing, _checked(image, corners, indices, None, classes), classes, cell))
    return contact_sheet(pictures, columns, width=width, size_bytes_max=size_bytes_max)


def _drawn_sample(
    image: npt.NDArray[np.uint8], truth: _Marks, seen: _Marks, classes: Sequence[str], width: int
) -> npt.NDArray[np.uint8]:
    from PIL import Image as Images
    from PIL import ImageDraw as Draws

    scale = width / image.shape[1]
    canvas = Images.fromarray(fitted(image, width))
    pen = Draws.Draw(canvas)
    for corners in truth.boxes:
        if (box := _on_canvas(corners, scale, canvas.size)) is not None:
            _dashed(pen, box)
    _draw_solid(canvas, seen, scale, classes)
    return np.asarray(canvas)


def _dashed(pen: ImageDraw, box: Rectangle) -> None:
    """White dashes on a dark line, a little outside the box: a prediction that fits hides none of it."""
    left, top, right, bottom = box[0] - 2, box[1] - 2, box[2] + 2, box[3] + 2
    pen.rectangle((left, top, right, bottom), outline=_CASING)
    for x in range(left, right + 1, _DASH * 2):
        for y in (top, bottom):
            pen.line((x, y, min(x + _DASH - 1, right), y), fill=_WHITE)
    for y in range(top, bottom + 1, _DASH * 2):
        for x in (left, right):
            pen.line((x, y, x, min(y + _DASH - 1, bottom)), fill=_WHITE)


def _outcome(truth: _Marks, seen: _Marks) -> str:
    found = _matches(truth, seen)
    false = len(seen.boxes) - found
    what = f"{found} of {len(truth.boxes)} found" if len(truth.boxes) else "nothing to find"
    return f"{what}, {false} false" if false else what


def _matches(truth: _Marks, seen: _Marks) -> int:
    """How many objects were found: greedy by falling score, as pycocotools does it, at an IoU of 0.5."""
    free = list(range(len(truth.boxes)))
    for i in reversed(seen.weakest_first()):
        rivals = [j for j in free if truth.labels[j] == seen.labels[i]]
        overlaps = [(_iou(truth.boxes[j], seen.boxes[i]), j) for j in rivals]
        overlap, best = max(overlaps, default=(0.0, -1))
        if overlap >= 0.5:
            free.remove(best)
    return len(truth.boxes) - len(free)


def _iou(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    shared = np.prod(np.maximum(np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]), 0))
    union = np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]) - shared
    return float(shared / union) if union > 0 else 0.0
