"""Decodes the single output of the YOLO family.

- YOLOv5 and YOLOv7: x, y, width, height in pixels; the score of a class is objectness times class.
- YOLOv8 and YOLO11: the same boxes; the score of a class is its own.
- YOLOX (arXiv 2107.08430): the centre of the box is ``(column + dx, row + dy) * stride`` and its sides are
  ``exp(log size) * stride``; the score of a class is objectness times class.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robot_assets.tasks.comparison import sigmoid
from robot_assets.tasks.detection.decoders.decode.candidates import best, corners, of_classes, suppressed
from robot_assets.tasks.detection.decoders.decode.reading import Options, anchors_first, checked
from robot_assets.tasks.detection.decoders.labels import channels_of_classes, label_count

if TYPE_CHECKING:
    from robot_assets.tasks.detection.predictions import Detections
    from robot_assets.tasks.interface import Interface

Floats = NDArray[np.float32]
Outputs = Sequence[NDArray[Any]]

LOG_SIZE_MAX = 6.0
"""Sizes are limited to exp(6) = 403 cells, so that no output of a network can overflow."""


def decode_yolov5(outputs: Outputs, interface: Interface) -> list[Detections]:
    """Decode (N, anchors, 4 + 1 + classes).

    Raises:
        ValueError: The outputs are not those of the interface.
    """
    options = interface.options
    (output,) = checked(outputs, interface)
    with np.errstate(invalid="ignore", over="ignore"):  # outputs that are not finite, which are dropped
        return [_yolov5_image(image, options, interface) for image in output]


def decode_yolov8(outputs: Outputs, interface: Interface) -> list[Detections]:
    """Decode (N, 4 + classes, anchors), or (N, anchors, 4 + classes).

    Raises:
        ValueError: The outputs are not those of the interface.
    """
    options = interface.options
    (output,) = checked(outputs, interface)
    with np.errstate(invalid="ignore", over="ignore"):
        return [_yolov8_image(image, options, interface) for image in output]


def decode_yolox(outputs: Outputs, interface: Interface) -> list[Detections]:
    """Decode (N, cells, 4 + 1 + classes) in cells of the grids.

    Raises:
        ValueError: The outputs are not those of the interface.
    """
    options = interface.options
    (output,) = checked(outputs, interface)
    with np.errstate(invalid="ignore", over="ignore"):
        return [_yolox_image(image, options, interface) for image in output]


def _yolov5_image(image: Floats, options: Options, interface: Interface) -> Detections:
    image = anchors_first(image, interface.heads[0].layout)
    # No class has a score above 1, so that a low objectness alone is a reason to drop a row.
    rows = image[np.flatnonzero(image[:, 4] >= options["score_min"])]
    objectness, classes = rows[:, 4:5], _classes(rows, options, interface)
    candidates = best(objectness if options["scores"] == "objectness" else objectness * classes, options)
    return suppressed(corners(rows[candidates.anchors, :4]), candidates, options, interface.input)


def _yolov8_image(image: Floats, options: Options, interface: Interface) -> Detections:
    layout = interface.heads[0].layout
    # Scores stay in the layout of the graph: it takes three times as long to read them across.
    axis = 0 if layout == "NCA" else 1
    stop = 4 + label_count(options["labels"], interface.classes)
    scores = image[4:stop] if axis == 0 else image[:, 4:stop]
    own = of_classes(scores, channels_of_classes(options["labels"], interface.classes), axis)
    candidates = best(own, options, axis)
    boxes = anchors_first(image, layout)[candidates.anchors, :4]
    return suppressed(corners(boxes), candidates, options, interface.input)


def _yolox_image(image: Floats, options: Options, interface: Interface) -> Detections:
    image = anchors_first(image, interface.heads[0].layout)
    objectness = _scores(image[:, 4], options)
    cells = np.flatnonzero(objectness >= options["score_min"])
    rows = image[cells]
    scores = _scores(_classes(rows, options, interface), options) * objectness[cells, None]
    candidates = best(scores, options)
    cells, rows = cells[candidates.anchors], rows[candidates.anchors]
    corner, stride = _cells(interface.input.height, interface.input.width, tuple(options["strides"]))
    boxes = _from_cells(rows[:, :4], corner[cells], stride[cells])
    return suppressed(corners(boxes), candidates, options, interface.input)


def _scores(values: Floats, options: Options) -> Floats:
    return sigmoid(values).astype(np.float32) if options["logits"] else values


def _classes(rows: Floats, options: Options, interface: Interface) -> Floats:
    """Of rows with a box and the objectness before them."""
    stop = 5 + label_count(options["labels"], interface.classes)
    return of_classes(rows[:, 5:stop], channels_of_classes(options["labels"], interface.classes), 1)


def _from_cells(raw: Floats, corner: Floats, stride: Floats) -> Floats:
    """Centre, width and height in pixels."""
    centre = (raw[:, :2] + corner) * stride
    sides = np.exp(np.minimum(raw[:, 2:], np.float32(LOG_SIZE_MAX))) * stride
    return np.concatenate([centre, sides], axis=1)


@lru_cache(maxsize=16)
def _cells(height: int, width: int, strides: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Column and row (cells, 2) and stride (cells, 1) of all cells, finest first, row by row. Read-only."""
    corners_of, strides_of = [], []
    for stride in strides:
        row, column = np.mgrid[0 : height // stride, 0 : width // stride].astype(np.float32)
        corners_of.append(np.stack([column.ravel(), row.ravel()], axis=1))
        strides_of.append(np.full((row.size, 1), stride, np.float32))
    return np.concatenate(corners_of), np.concatenate(strides_of)
