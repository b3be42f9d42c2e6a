"""Detections as papers and documents define them: one box, one class and one pair at a time, in double precision."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from robot_assets.tasks.detection.predictions import Detections
from robot_assets.tasks.detection.task import TASK
from robot_assets.tasks.interface import Input, Interface

CLASSES = ("person", "bicycle", "car")


class Found(NamedTuple):
    score: float
    anchor: int
    label: int
    box: tuple[float, float, float, float]


def interface_of(
    decoder: str,
    shapes: Mapping[str, tuple[int, ...]],
    *,
    size: tuple[int, int] = (64, 96),
    classes: Sequence[str] = CLASSES,
    **options: Any,
) -> Interface:
    """The interface of a graph with these outputs; the input has ``size`` (height, width)."""
    input = Input(height=size[0], width=size[1])
    declared = TASK.decoder(decoder)
    parsed = declared.options.model_validate(options)
    return Interface(
        task="detection",
        classes=tuple(classes),
        input=input,
        heads=declared.heads(input, parsed, tuple(classes), shapes),
        decoder=decoder,
        options=parsed.model_dump(mode="json"),
    )


def decoded(interface: Interface, *outputs: np.ndarray) -> list[Detections]:
    return TASK.load_decoder(interface.decoder)(outputs, interface)


def shapes_of(**outputs: np.ndarray) -> dict[str, tuple[int, ...]]:
    return {name: (1, *output.shape[1:]) for name, output in outputs.items()}


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def softmax(values: Sequence[float]) -> list[float]:
    powers = [math.exp(value - max(values)) for value in values]
    return [power / sum(powers) for power in powers]


def corners(x: float, y: float, width: float, height: float) -> tuple[float, float, float, float]:
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def iou(one: Sequence[float], other: Sequence[float]) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return shared / (sum(areas) - shared)


def greedy(found: Sequence[Found], iou_max: float) -> list[Found]:
    """Non-maximum suppression within each class."""
    kept: list[Found] = []
    for one in found:
        if all(other.label != one.label or iou(one.box, other.box) <= iou_max for other in kept):
            kept.append(one)
    return kept


def ranked(found: Sequence[Found]) -> list[Found]:
    return sorted(found, key=lambda one: (-one.score, one.anchor, one.label))


def inside(found: Sequence[Found], size: tuple[int, int]) -> list[Found]:
    """Those with a part inside the input, clipped to it."""
    height, width = size
    boxes = []
    for one in found:
        left, top, right, bottom = one.box
        clipped = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
        if clipped[0] < clipped[2] and clipped[1] < clipped[3]:
            boxes.append(one._replace(box=clipped))
    return boxes


def is_inside(one: Found, size: tuple[int, int]) -> bool:
    return bool(inside([one], size))


def assert_equal(found: Detections, expected: Sequence[Found]) -> None:
    assert found.boxes.dtype == found.scores.dtype == np.float32
    assert found.labels.dtype == np.int64
    assert found.labels.tolist() == [one.label for one in expected]
    np.testing.assert_allclose(found.scores, [one.score for one in expected], rtol=2e-5)
    boxes = np.array([one.box for one in expected]).reshape(-1, 4)
    np.testing.assert_allclose(found.boxes, boxes, rtol=2e-5, atol=2e-3)
