"""Compares the heads of two implementations of one network, each part by what its numbers mean. NumPy only.

Single values may differ: a sum in another order can fall on the other side of a rounding boundary, and the int8 step
propagates. So a comparison counts the share of values beyond a tolerance (docs/decisions/004).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from robot_assets.tasks.rows import paired

if TYPE_CHECKING:
    from robot_assets.tasks.interface import Head, Part

Floats = NDArray[np.floating[Any]]


class Scale(NamedTuple):
    """How numbers of one meaning are compared: the unit of their difference, and what it may be."""

    unit: str
    tolerance: float


SCALES = {
    # Background logits are below -10, where one int8 step is a large difference of logits and a negligible one of
    # scores: in a trained detector 10 % of the logits differed by more than 0.1, and no score by more than 0.022.
    "logits": Scale("score", 0.025),
    "exclusive_logits": Scale("probability", 0.05),
    "scores": Scale("score", 0.025),
    "cells": Scale("cells", 0.1),  # 0.8 pixels at stride 8
    "pixels": Scale("pixels", 1.0),
    "fractions": Scale("share of the input", 0.004),
    "labels": Scale("class", 0.0),
    "counts": Scale("rows", 0.0),
    "values": Scale("value", 0.05),
}

_SAME_CLASS = 1e-3
"""Unit of values that must not differ: rows of another class are a thousand tolerances apart."""


class Difference(NamedTuple):
    """The absolute differences of one part of one head, in the unit of its meaning."""

    meaning: str
    values: Floats

    @property
    def beyond(self) -> int:
        """How many are beyond the tolerance; a NaN always is."""
        return int((~(self.values <= SCALES[self.meaning].tolerance)).sum())


def differences(heads: Sequence[Head], ours: Sequence[Floats], theirs: Sequence[Floats]) -> Iterator[Difference]:
    """Differences part by part.

    Args:
        heads: The heads.
        ours: Their values, (N, ...) each.
        theirs: Those of another implementation; their rows in no fixed order are compared with the nearest ones.
    """
    for head, one, other in zip(heads, ours, _aligned(heads, ours, theirs), strict=True):
        for part in head.parts:
            a, b = (comparable(part, channels_of(part, values)) for values in (one, other))
            yield Difference(part.meaning, np.abs(a - b))


def comparable(part: Part, values: Floats) -> Floats:
    """Values in the unit in which they are compared: logits as scores, exclusive ones as probabilities."""
    if part.meaning == "logits":
        return sigmoid(values)
    return softmax(values, part.axis) if part.meaning == "exclusive_logits" else values


def sigmoid(logits: Floats) -> Floats:
    """Sigmoid of logits of any shape, without overflow."""
    scores: Floats = 0.5 * (1 + np.tanh(0.5 * logits))
    return scores


def softmax(logits: Floats, axis: int) -> Floats:
    """Softmax along ``axis``, without overflow."""
    powers = np.exp(logits - logits.max(axis=axis, keepdims=True))
    probabilities: Floats = powers / powers.sum(axis=axis, keepdims=True)
    return probabilities


def _aligned(heads: Sequence[Head], ours: Sequence[Floats], theirs: Sequence[Floats]) -> list[Floats]:
    """Values of another implementation with the rows in our order, where the heads have rows in no fixed order."""
    axes = {index: head.layout.index("R") for index, head in enumerate(heads) if "R" in head.layout}
    aligned = [values.copy() if index in axes else values for index, values in enumerate(theirs)]
    for image in range(len(ours[0]) if axes else 0):
        one, other = (_rows(heads, axes, values, image) for values in (ours, theirs))
        order = paired(one, other)
        for index, axis in axes.items():
            aligned[index][image] = np.take(theirs[index][image], order, axis=axis - 1)
    return aligned


def _rows(heads: Sequence[Head], axes: Mapping[int, int], values: Sequence[Floats], image: int) -> Floats:
    """Rows (rows, values) of one image with the values of all heads, in units of what may differ."""
    columns = []
    for index, axis in axes.items():
        for part in heads[index].parts:
            found = comparable(part, channels_of(part, values[index]))[image]
            rows = np.moveaxis(found, axis - 1, 0).reshape(found.shape[axis - 1], -1)
            columns.append(rows / max(SCALES[part.meaning].tolerance, _SAME_CLASS))
    return np.concatenate(columns, axis=1)


def channels_of(part: Part, values: Floats) -> Floats:
    """The channels of ``part`` in the values of its head."""
    if part.start == 0 and part.stop is None:
        return values
    return np.take(values, range(part.start, part.stop or values.shape[part.axis]), axis=part.axis)
