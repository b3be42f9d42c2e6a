"""The parity of two implementations counts values beyond the tolerance of their meaning."""

import numpy as np
import pytest

from robot_assets.export.parity import parity_of
from robot_assets.tasks.interface import Head, Part

SCORES = Head(name="scores", shape=(1, 4), layout="NA", parts=(Part(meaning="scores"),))
LABELS = Head(name="labels", shape=(1, 4), dtype="int64", layout="NA", parts=(Part(meaning="labels"),))
ROWS = Head(
    name="rows",
    shape=(1, 5, 6),
    layout="NAC",
    parts=(Part(meaning="pixels", axis=2, stop=4), Part(meaning="scores", axis=2, start=4)),
)


def pair(head: Head, change: float) -> tuple[list[np.ndarray], list[np.ndarray]]:
    values = np.random.default_rng(0).integers(1, 9, head.shape).astype(head.dtype)
    other = values.copy()
    other.reshape(-1)[0] += np.asarray(change, head.dtype)
    return [values], [other]


def test_equal_heads_do_not_differ():
    found = parity_of([pair(ROWS, 0)] * 3, [ROWS])
    assert (found.images, found.differing_share) == (3, 0.0)
    assert found.largest == {"pixels": 0.0, "scores": 0.0}


def test_parts_of_one_head_have_tolerances_of_their_own():
    below, above = parity_of([pair(ROWS, 0.9)], [ROWS]), parity_of([pair(ROWS, 1.1)], [ROWS])
    assert below.differing_share == 0
    assert above.differing_share == 1 / 30
    assert above.largest["pixels"] == pytest.approx(1.1)
    assert above.largest_in_words == "1.1 pixels and 0 of a score"


def test_a_class_index_that_differs_by_one_is_another_class():
    found = parity_of([pair(LABELS, 1), pair(LABELS, 0)], [LABELS])
    assert found.differing_share == 1 / 8
    assert found.largest_in_words == "1 in class index"
    assert found.as_json()["tolerances"] == {"labels": 0.0}


def test_a_nan_differs_and_does_not_hide_the_other_values():
    found = parity_of([pair(SCORES, float("nan")), pair(SCORES, 0.5)], [SCORES])
    assert found.differing_share == 2 / 8
    assert found.largest == {"scores": pytest.approx(0.5)}


def test_nothing_to_compare_has_no_difference():
    assert parity_of([], [SCORES]).differing_share == 0
