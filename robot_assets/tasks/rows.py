"""Pairs the rows of two implementations of a network whose outputs have them in no fixed order. NumPy only.

A graph with its suppression inside, or with a selection of queries, sorts rows by score: a difference in the last digit
of two scores swaps two rows, and all of their values differ.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

_FARTHEST = 1e6
"""Limit of the distance in one value, so that a NaN or an infinite value is far from all others."""


def paired(ours: Floats, theirs: Floats) -> NDArray[np.int64]:
    """For each of our rows, the index of the nearest one of theirs; rows with a near one choose first.

    Args:
        ours: (rows, values) of one implementation, in units of what may differ.
        theirs: The same of another one.
    """
    distance = _distances(ours, theirs)
    order = np.zeros(len(ours), np.int64)
    for row in np.argsort(distance.min(axis=1), kind="stable"):
        order[row] = distance[row].argmin()
        distance[:, order[row]] = np.inf
    return order


def _distances(ours: Floats, theirs: Floats) -> NDArray[np.float64]:
    """(rows, rows): sums of the absolute differences; value by value, which needs no third axis in memory."""
    total = np.zeros((len(ours), len(theirs)))
    with np.errstate(invalid="ignore"):  # of infinite values
        for one, other in zip(ours.T, theirs.T, strict=True):
            total += np.minimum(np.nan_to_num(np.abs(one[:, None] - other), nan=_FARTHEST, posinf=_FARTHEST), _FARTHEST)
    return total
