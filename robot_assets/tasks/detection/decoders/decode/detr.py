"""Decodes detection transformers: one box for each query, without suppression (arXiv 2005.12872).

With a softmax, the class of a query is its most likely one beside the last, which is no object. With a sigmoid, classes
are independent, and the best pairs of query and class are taken (arXiv 2010.04159).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robot_assets.tasks.comparison import sigmoid, softmax
from robot_assets.tasks.detection.decoders.decode.candidates import corners, of_classes, ranked
from robot_assets.tasks.detection.decoders.decode.reading import Options, checked
from robot_assets.tasks.detection.decoders.labels import channels_of_classes, class_of_label

if TYPE_CHECKING:
    from robot_assets.tasks.detection.predictions import Detections
    from robot_assets.tasks.interface import Interface

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]


def decode_detr(outputs: Sequence[NDArray[Any]], interface: Interface) -> list[Detections]:
    """Decode logits (N, queries, classes) and boxes (N, queries, 4), or both in one output, boxes first.

    Raises:
        ValueError: The outputs are not those of the interface.
    """
    options = interface.options
    read = checked(outputs, interface)
    logits, boxes = read if len(read) == 2 else (read[0][:, :, 4:], read[0][:, :, :4])
    with np.errstate(invalid="ignore", over="ignore"):  # outputs that are not finite, which are dropped
        return [_image(*each, options, interface) for each in zip(logits, boxes, strict=True)]


def _image(logits: Floats, boxes: Floats, options: Options, interface: Interface) -> Detections:
    input = interface.input
    query, label, scores = _most_likely(logits, options, interface.classes)
    unit = [input.width, input.height] * 2 if options["coordinates"] == "fractions" else [1] * 4
    pixels = corners(boxes * np.array(unit, np.float32))
    return ranked(pixels[query], label, scores, options, input)


def _most_likely(logits: Floats, options: Options, classes: Sequence[str]) -> tuple[Indices, Indices, Floats]:
    """Queries, classes and scores."""
    if options["activation"] == "softmax":
        return _exclusive(logits, np.array(class_of_label(options["labels"], classes), np.int64))
    scores = of_classes(logits, channels_of_classes(options["labels"], classes), 1)
    if options["activation"] == "sigmoid":
        scores = sigmoid(scores).astype(np.float32)
    query, label = np.nonzero(scores >= options["score_min"])
    return query, label, scores[query, label]


def _exclusive(logits: Floats, classes: Indices) -> tuple[Indices, Indices, Floats]:
    likely = softmax(logits, 1)[:, :-1]
    label = likely.argmax(axis=1)
    query = np.arange(len(likely))
    return query, classes[label], likely[query, label].astype(np.float32)
