"""Compares the heads of two implementations of one network, each part by what its numbers mean. NumPy only.

Single values may differ: a sum in another order can fall on the other side of a rounding boundary, and the int8 step
propagates. So a comparison counts the share of values beyond a tolerance (docs/decisions/004).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

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
        theirs: Those of another implementation.
    """
    for head, one, other in zip(heads, ours, theirs, strict=True):
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


def channels_of(part: Part, values: Floats) -> Floats:
    """The channels of ``part`` in the values of its head."""
    if part.start == 0 and part.stop is None:
        return values
    return np.take(values, range(part.start, part.stop or values.shape[part.axis]), axis=part.axis)
