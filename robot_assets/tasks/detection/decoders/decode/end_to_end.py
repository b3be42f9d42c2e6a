"""Reads the rows of detectors with their suppression in the graph.

TensorRT's EfficientNMS_TRT, TensorFlow's detection models and MMDetection give separate outputs; YOLOv10 and other
end-to-end exports give one output of rows. Rows after the last detection have a score of 0 or a class of -1, or there
is a count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from robot_assets.tasks.detection.decoders.decode.candidates import ranked
from robot_assets.tasks.detection.decoders.decode.reading import Options, checked
from robot_assets.tasks.detection.decoders.end_to_end import COLUMNS
from robot_assets.tasks.detection.decoders.labels import class_of_label

if TYPE_CHECKING:
    from robot_assets.tasks.detection.predictions import Detections
    from robot_assets.tasks.interface import Interface

Floats = NDArray[np.float32]


class _Rows(NamedTuple):
    """The rows of one image: boxes (n, 4) as the graph gives them, scores (n,) and classes (n,)."""

    boxes: Floats
    scores: Floats
    classes: Floats


def decode_nms(outputs: Sequence[NDArray[Any]], interface: Interface) -> list[Detections]:
    """Decode boxes, scores and classes of rows, in separate outputs or in one.

    Raises:
        ValueError: The outputs are not those of the interface.
    """
    options = interface.options
    read = checked(outputs, interface)
    images = _joined(read[0], options) if len(read) == 1 else _separate(read, interface)
    with np.errstate(invalid="ignore", over="ignore"):  # outputs that are not finite, which are dropped
        return [_image(rows, options, interface) for rows in images]


def _image(rows: _Rows, options: Options, interface: Interface) -> Detections:
    boxes = rows.boxes[:, [1, 0, 3, 2]] if options["order"] == "yx" else rows.boxes
    if options["coordinates"] == "fractions":
        boxes = boxes * np.array([interface.input.width, interface.input.height] * 2, np.float32)
    known = np.array(class_of_label(options["labels"], interface.classes), np.int64)
    # An integer as float32 is exact; anything else is no class.
    index = np.where(np.isfinite(rows.classes), rows.classes, -1) - options["first_class"]
    is_class = (index >= 0) & (index < len(known)) & (index == np.rint(index))
    labels = np.where(is_class, known[np.where(is_class, index, 0).astype(np.int64)], -1)
    return ranked(boxes, labels, rows.scores, options, interface.input)


def _separate(read: Sequence[Floats], interface: Interface) -> list[_Rows]:
    by_meaning = {head.parts[0].meaning: output for head, output in zip(interface.heads, read, strict=True)}
    boxes, classes = read[0], by_meaning["labels"]
    scores = boxes[:, :, 4] if boxes.shape[2] == 5 else by_meaning["scores"]
    counts = by_meaning.get("counts", np.full(len(boxes), boxes.shape[1], np.float32)).reshape(-1)
    return [
        _Rows(boxes[image, :count, :4], scores[image, :count], classes[image, :count])
        for image, count in enumerate(np.clip(np.nan_to_num(counts), 0, boxes.shape[1]).astype(np.int64))
    ]


def _joined(output: Floats, options: Options) -> list[_Rows]:
    column = {name: index for index, name in enumerate(options["columns"])}
    images = output.reshape(len(output), -1, output.shape[-1])
    if "image" in column:
        return [_rows(image[image[:, column["image"]] >= 0], column) for image in images]
    return [_rows(image, column) for image in images]


def _rows(image: Floats, column: Mapping[str, int]) -> _Rows:
    boxes = image[:, [column[name] for name in COLUMNS[:4]]]
    return _Rows(boxes, image[:, column["score"]], image[:, column["class"]])
