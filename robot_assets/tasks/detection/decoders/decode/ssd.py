"""Decodes boxes and scores of all anchors, with suppression within each class (arXiv 1512.02325).

Offsets ``dx, dy, dw, dh`` from a prior of centre ``cx, cy`` and sides ``w, h`` are in units of ``variance`` v:
the centre of the box is ``cx + dx * v[0] * w, cy + dy * v[0] * h``, and its sides are ``w * exp(dw * v[1])``,
``h * exp(dh * v[1])``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import log
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from robot_assets.tasks.comparison import sigmoid, softmax
from robot_assets.tasks.detection.decoders.decode.candidates import best, corners, of_classes, suppressed
from robot_assets.tasks.detection.decoders.decode.reading import Options, checked
from robot_assets.tasks.detection.decoders.labels import channels_of_classes
from robot_assets.tasks.detection.decoders.ssd import rows_and_columns

if TYPE_CHECKING:
    from robot_assets.tasks.detection.predictions import Detections
    from robot_assets.tasks.interface import Input, Interface

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]

LOG_SIZE_MAX = 6.0
"""Sizes are limited to exp(6) = 403 times the prior, so that no output of a network can overflow."""


class _Level(NamedTuple):
    """A level of priors, hashable: pixels per cell or a grid, and width and height of each prior in pixels."""

    stride: float | None
    grid: tuple[int, int] | None
    boxes: tuple[tuple[float, float], ...]


def decode_ssd(outputs: Sequence[NDArray[Any]], interface: Interface) -> list[Detections]:
    """Decode boxes (N, anchors, 4) or (N, anchors, 1, 4), and scores (N, anchors, classes) or transposed.

    Raises:
        ValueError: The outputs are not those of the interface.
    """
    options = interface.options
    boxes, scores = checked(outputs, interface)
    boxes = boxes.reshape(len(boxes), -1, 4)
    if interface.heads[1].layout == "NCA":
        scores = scores.transpose(0, 2, 1)
    with np.errstate(invalid="ignore", over="ignore"):  # outputs that are not finite, which are dropped
        return [_image(*each, options, interface) for each in zip(boxes, scores, strict=True)]


def _image(boxes: Floats, raw: Floats, options: Options, interface: Interface) -> Detections:
    anchors = _likely(raw, options)
    scores = _scores(raw[anchors], options)
    candidates = best(of_classes(scores, channels_of_classes(options["labels"], interface.classes), 1), options)
    anchors = anchors[candidates.anchors]
    pixels = _boxes(boxes[anchors], anchors, options, interface.input)
    return suppressed(pixels, candidates, options, interface.input)


def _likely(raw: Floats, options: Options) -> Indices:
    """Anchors that can have a class with ``score_min``: most have none, and the softmax of all takes milliseconds."""
    has_bound = options["activation"] == "softmax" and options["background"] != "none"
    if not has_bound:
        return np.arange(len(raw))
    objects = _objects(raw, options)
    background = raw[:, 0 if options["background"] == "first" else -1]
    # A probability is at most the ratio to that of the background. The margin is for rounding.
    return np.flatnonzero(objects.max(axis=1) - background >= log(options["score_min"]) - 0.01)


def _scores(raw: Floats, options: Options) -> Floats:
    """Scores of the classes of the export, without the background."""
    if options["activation"] == "softmax":
        return _objects(softmax(raw, 1), options).astype(np.float32)
    objects = _objects(raw, options)
    return sigmoid(objects).astype(np.float32) if options["activation"] == "sigmoid" else objects


def _objects(scores: Floats, options: Options) -> Floats:
    """The classes, without the background."""
    return {"none": scores, "first": scores[:, 1:], "last": scores[:, :-1]}[options["background"]]


def _boxes(raw: Floats, anchors: Indices, options: Options, input: Input) -> Floats:
    """Boxes xyxy in pixels of the input."""
    if options["order"] == "yx":
        raw = raw[:, [1, 0, 3, 2]]
    if options["coordinates"] == "offsets":
        return corners(_from_priors(raw, _priors_of(options, input)[anchors], options["variance"]))
    if options["coordinates"] == "fractions":
        raw = raw * np.array([input.width, input.height] * 2, np.float32)
    return corners(raw) if options["format"] == "centers" else raw


def _from_priors(offsets: Floats, priors: Floats, variance: Sequence[float]) -> Floats:
    centre = priors[:, :2] + offsets[:, :2] * np.float32(variance[0]) * priors[:, 2:]
    log_size = np.minimum(offsets[:, 2:] * np.float32(variance[1]), np.float32(LOG_SIZE_MAX))
    return np.concatenate([centre, np.exp(log_size) * priors[:, 2:]], axis=1)


def _priors_of(options: Options, input: Input) -> Floats:
    return _priors(tuple(map(_level, options["priors"])), input.height, input.width)


def _level(level: Options) -> _Level:
    grid, boxes = level["grid"], tuple((width, height) for width, height in level["boxes"])
    return _Level(level["stride"], None if grid is None else (grid[0], grid[1]), boxes)


@lru_cache(maxsize=16)
def _priors(levels: tuple[_Level, ...], height: int, width: int) -> Floats:
    """Centre x, y, width and height in pixels of all priors. Read-only."""
    return np.concatenate([_priors_of_level(level, height, width) for level in levels])


def _priors_of_level(level: _Level, height: int, width: int) -> Floats:
    rows, columns = rows_and_columns(level.stride, level.grid, height, width)
    step_y, step_x = (level.stride,) * 2 if level.stride else (height / rows, width / columns)
    y, x = np.mgrid[0:rows, 0:columns] + 0.5
    centres = np.stack([x * step_x, y * step_y], axis=2).reshape(-1, 1, 2)
    sides = np.broadcast_to(np.array(level.boxes), (len(centres), len(level.boxes), 2))
    priors = np.concatenate([np.broadcast_to(centres, sides.shape), sides], axis=2)
    return priors.reshape(-1, 4).astype(np.float32)
