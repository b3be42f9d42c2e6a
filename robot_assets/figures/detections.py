"""Draws detections and ground truth on camera images."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from robot_assets.figures.sheet import cell_width, contact_sheet, fitted
from robot_assets.figures.style import Colour, class_colour, text_colour_on
from robot_assets.figures.text import draw_text, line_height, shortened, text_width

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

__all__ = ["Sample", "contact_sheet", "draw_detections", "labelled_sheet", "prediction_sheet"]

Rectangle = tuple[int, int, int, int]

_READABLE_SIDE = 640
_DASH = 4
_TAG_PADDING = 4
_NAME_WIDTH_MIN = 60
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

    Tags of boxes with higher scores are placed first. A box whose tag does not fit has none; its colour still
    identifies the class. A name that is longer than a third of the image is shortened in the middle.

    Args:
        image: uint8 (H, W, 3), RGB.
        boxes: (n, 4) xyxy in pixels of ``image``; clipped to it.
        labels: (n,) class indices.
        scores: (n,) in [0, 1], or None for ground truth.
        classes: Names by class index.
        scale: Integer factor to enlarge the image by, so that text is readable; by default 2 if its longer side is
            below 640 pixels, else 1.

    Returns:
        uint8 (H * scale, W * scale, 3), RGB.

    Raises:
        ValueError: Arrays of different lengths, a box that is not finite, a label without a class.
    """
    checked = _checked(image, boxes, labels, scores, classes)
    factor = _scale_of(image) if scale is None else scale
    canvas = _enlarged(image, factor)
    _draw_boxes(canvas, checked, factor, classes)
    return np.asarray(canvas)


@dataclass(frozen=True)
class _Boxes:
    """Checked boxes: float64 (n, 4) xyxy, int64 (n,), float64 (n,) or None."""

    boxes: npt.NDArray[np.float64]
    labels: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float64] | None

    def by_priority(self) -> list[int]:
        """Indices in ascending order of score; without scores, in descending order of area."""
        width, height = self.boxes[:, 2] - self.boxes[:, 0], self.boxes[:, 3] - self.boxes[:, 1]
        priority = -width * height if self.scores is None else self.scores
        return [int(i) for i in np.argsort(priority, kind="stable")]


def _checked(
    image: npt.NDArray[np.uint8],
    boxes: npt.ArrayLike,
    labels: npt.ArrayLike,
    scores: npt.ArrayLike | None,
    classes: Sequence[str],
) -> _Boxes:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"image is {image.dtype} {image.shape}; needed: uint8 (H, W, 3)")
    corners = np.asarray(boxes, dtype=np.float64)
    corners = corners.reshape(-1, 4) if corners.size == 0 else corners
    indices = np.asarray(labels, dtype=np.int64).reshape(-1)
    values = None if scores is None else np.asarray(scores, dtype=np.float64).reshape(-1)
    if corners.ndim != 2 or corners.shape[1] != 4:
        raise ValueError(f"boxes are {corners.shape}; needed: (n, 4)")
    if len(indices) != len(corners) or (values is not None and len(values) != len(corners)):
        found = "" if values is None else f", scores: {len(values)}"
        raise ValueError(f"boxes: {len(corners)}, labels: {len(indices)}{found}; needed: one of each per box")
    if not np.isfinite(corners).all():
        raise ValueError("a box has a coordinate that is not finite")
    if len(indices) and not 0 <= indices.min() <= indices.max() < len(classes):
        raise ValueError(f"labels {indices.min()} to {indices.max()}; needed: 0 to {len(classes) - 1}")
    return _Boxes(corners, indices, values)


def _scale_of(image: npt.NDArray[np.uint8]) -> int:
    return 2 if max(image.shape[:2]) < _READABLE_SIDE else 1


def _enlarged(image: npt.NDArray[np.uint8], scale: int) -> Image:
    from PIL import Image as Images

    if scale < 1:
        raise ValueError(f"scale {scale}; needed: 1 or more")
    original = Images.fromarray(image)
    size = (original.width * scale, original.height * scale)
    return original if scale == 1 else original.resize(size, Images.Resampling.BICUBIC)


def _draw_boxes(canvas: Image, found: _Boxes, scale: float, classes: Sequence[str]) -> None:
    from PIL import ImageDraw as Draws

    pen = Draws.Draw(canvas)
    visible: list[tuple[int, Rectangle]] = []
    for i in found.by_priority():
        if (box := _on_canvas(found.boxes[i], scale, canvas.size)) is not None:
            visible.append((i, box))
            _draw_outline(pen, box, class_colour(int(found.labels[i])))
    tags: list[Rectangle] = []
    size = _font_size(canvas.size)
    names = _names(classes, {int(label) for label in found.labels}, canvas.width, size)
    for i, box in reversed(visible):
        label = int(found.labels[i])
        text = names[label] if found.scores is None else f"{names[label]} {found.scores[i]:.2f}"
        others = [other for j, other in visible if j != i]
        if (tag := _free_position(_tag_size(text, size), box, canvas.size, tags, others)) is not None:
            tags.append(tag)
            pen.rectangle(tag, fill=class_colour(label))
            draw_text(canvas, (tag[0] + _TAG_PADDING, tag[1]), text, size, text_colour_on(class_colour(label)))


def _names(classes: Sequence[str], labels: Collection[int], width: int, size: int) -> dict[int, str]:
    """Names of the classes with boxes, as they are drawn on an image of a width."""
    limit = max(width / 3, _NAME_WIDTH_MIN)
    return {label: shortened(classes[label], limit, size) for label in labels}


def _tag_size(text: str, size: int) -> tuple[int, int]:
    """Width and height of a tag in pixels."""
    return round(text_width(text, size)) + 2 * _TAG_PADDING, line_height(size)


def _on_canvas(box: npt.NDArray[np.float64], scale: float, size: tuple[int, int]) -> Rectangle | None:
    """Inclusive pixel rectangle of a box, or None if it lies outside the image."""
    left, top = np.floor(box[:2] * scale)
    right, bottom = np.ceil(box[2:] * scale) - 1
    if right < max(left, 0) or bottom < max(top, 0) or left >= size[0] or top >= size[1]:
        return None
    return int(max(left, 0)), int(max(top, 0)), int(min(right, size[0] - 1)), int(min(bottom, size[1] - 1))


def _draw_outline(pen: ImageDraw, box: Rectangle, colour: Colour) -> None:
    """Draw two pixels of colour inside the box, and one dark pixel around it for contrast with any background."""
    left, top, right, bottom = box
    pen.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline=_CASING)
    pen.rectangle(box, outline=colour, width=2 if min(right - left, bottom - top) >= 4 else 1)


def _free_position(
    tag_size: tuple[int, int],
    box: Rectangle,
    size: tuple[int, int],
    tags: Sequence[Rectangle],
    boxes: Sequence[Rectangle],
) -> Rectangle | None:
    """The rectangle of a tag that overlaps no other tag, and other boxes the least; None if there is none."""
    width, height = tag_size
    candidates = [(x, y, x + width - 1, y + height - 1) for x, y in _positions(box, width, height, size)]
    free = [candidate for candidate in candidates if not any(_overlap(candidate, tag) for tag in tags)]
    return min(free, key=lambda candidate: sum(_overlap(candidate, other) for other in boxes), default=None)


def _font_size(size: tuple[int, int]) -> int:
    return min(20, max(11, round(max(size) / 60)))


def _positions(box: Rectangle, width: int, height: int, size: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Top left corners of a tag in order of preference: above, below, beside, then inside the box."""
    left, top, right, bottom = box
    columns = (left, right - width + 1)
    corners = [(x, y) for y in (top - height, bottom + 1) for x in columns]
    corners += [(right + 1, top), (left - width, top), (left + 2, top + 2)]
    for x, y in corners:
        within = min(max(x, 0), size[0] - width)
        if within >= 0 and 0 <= y <= size[1] - height and abs(within - x) < width:
            yield within, y


def _overlap(one: Rectangle, other: Rectangle) -> int:
    """Pixels in both rectangles."""
    width = min(one[2], other[2]) - max(one[0], other[0]) + 1
    height = min(one[3], other[3]) - max(one[1], other[1]) + 1
    return max(width, 0) * max(height, 0)


@dataclass(frozen=True)
class Sample:
    """One image with its ground truth and its predictions.

    Attributes:
        image: uint8 (H, W, 3), RGB.
        truth_boxes: (n, 4) xyxy in pixels of the image.
        truth_labels: (n,) class indices.
        boxes: (m, 4) xyxy of the predictions to draw, already filtered by score.
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
    """Draw samples side by side: ground truth dashed in white, predictions solid in the colour of their class.

    The caption of an image has the number of objects found (same class, IoU of at least 0.5, each object once, in
    descending order of score, as in COCO) and the number of predictions without a match.

    Args:
        samples: The samples, in this order.
        classes: Names by class index.
        columns: Images per row.
        width: Width of the sheet in pixels.
        size_bytes_max: Limit of the size of the PNG; see ``style.image_png``.

    Returns:
        PNG bytes.

    Raises:
        ValueError: An invalid sample (see ``draw_detections``), or no columns.
    """
    cell = cell_width(width, columns)
    images, captions = [], []
    for sample in samples:
        truth = _checked(sample.image, sample.truth_boxes, sample.truth_labels, None, classes)
        predicted = _checked(sample.image, sample.boxes, sample.labels, sample.scores, classes)
        images.append(_drawn_sample(sample.image, truth, predicted, classes, cell))
        captions.append(_caption(truth, predicted))
    note = "White dashes: ground truth.  Colour: prediction with its score."
    return contact_sheet(images, columns, captions, note=note, width=width, size_bytes_max=size_bytes_max)


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
    """Draw images of a data set side by side with their labels, at the size of the cells of the sheet.

    Args:
        images: uint8 (H, W, 3), RGB.
        boxes: For each image (n, 4) xyxy in its pixels.
        labels: For each image (n,) class indices.
        classes: Names by class index.
        columns: Images per row.
        width: Width of the sheet in pixels.
        size_bytes_max: Limit of the size of the PNG; see ``style.image_png``.

    Returns:
        PNG bytes.

    Raises:
        ValueError: Invalid arrays (see ``draw_detections``), or no columns.
    """
    cell = cell_width(width, columns)
    drawn = []
    for image, corners, indices in zip(images, boxes, labels, strict=True):
        none = _checked(image, [], [], None, classes)
        drawn.append(_drawn_sample(image, none, _checked(image, corners, indices, None, classes), classes, cell))
    return contact_sheet(drawn, columns, width=width, size_bytes_max=size_bytes_max)


def _drawn_sample(
    image: npt.NDArray[np.uint8], truth: _Boxes, predicted: _Boxes, classes: Sequence[str], width: int
) -> npt.NDArray[np.uint8]:
    from PIL import Image as Images
    from PIL import ImageDraw as Draws

    scale = width / image.shape[1]
    canvas = Images.fromarray(fitted(image, width))
    pen = Draws.Draw(canvas)
    for corners in truth.boxes:
        if (box := _on_canvas(corners, scale, canvas.size)) is not None:
            _draw_dashed(pen, box)
    _draw_boxes(canvas, predicted, scale, classes)
    return np.asarray(canvas)


def _draw_dashed(pen: ImageDraw, box: Rectangle) -> None:
    """Draw white dashes on a dark line, two pixels outside the box, so that an equal prediction does not cover it."""
    left, top, right, bottom = box[0] - 2, box[1] - 2, box[2] + 2, box[3] + 2
    pen.rectangle((left, top, right, bottom), outline=_CASING)
    for x in range(left, right + 1, _DASH * 2):
        for y in (top, bottom):
            pen.line((x, y, min(x + _DASH - 1, right), y), fill=_WHITE)
    for y in range(top, bottom + 1, _DASH * 2):
        for x in (left, right):
            pen.line((x, y, x, min(y + _DASH - 1, bottom)), fill=_WHITE)


def _caption(truth: _Boxes, predicted: _Boxes) -> str:
    found = _matches(truth, predicted)
    false = len(predicted.boxes) - found
    text = f"{found} of {len(truth.boxes)} found" if len(truth.boxes) else "no objects"
    return f"{text}, {false} false" if false else text


def _matches(truth: _Boxes, predicted: _Boxes) -> int:
    """Number of objects found: greedy in descending order of score at an IoU of 0.5, as in pycocotools."""
    free = list(range(len(truth.boxes)))
    for i in reversed(predicted.by_priority()):
        candidates = [j for j in free if truth.labels[j] == predicted.labels[i]]
        overlaps = [(_iou(truth.boxes[j], predicted.boxes[i]), j) for j in candidates]
        overlap, best = max(overlaps, default=(0.0, -1))
        if overlap >= 0.5:
            free.remove(best)
    return len(truth.boxes) - len(free)


def _iou(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    shared = np.prod(np.maximum(np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]), 0))
    union = np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]) - shared
    return float(shared / union) if union > 0 else 0.0
