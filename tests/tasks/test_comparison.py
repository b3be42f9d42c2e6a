"""Heads are compared part by part, in the unit of what their numbers mean."""

import numpy as np
import pytest

from robot_assets.tasks.comparison import SCALES, differences
from robot_assets.tasks.interface import Head, Part


def head(*parts: Part) -> Head:
    return Head(name="head", shape=(1, 6, 2), layout="NCA", parts=parts)


def beyond(head: Head, ours: np.ndarray, theirs: np.ndarray) -> list[int]:
    return [one.beyond for one in differences([head], [ours], [theirs])]


@pytest.mark.parametrize("meaning", sorted(SCALES))
def test_a_nan_differs_from_every_number_of_any_meaning(meaning: str) -> None:
    ours = np.zeros((1, 6, 2), np.float32)
    theirs = ours.copy()
    theirs[0, 0, 0] = np.nan
    assert sum(beyond(head(Part(meaning=meaning)), ours, theirs)) >= 1
    assert beyond(head(Part(meaning=meaning)), ours, ours) == [0]


def test_logits_are_compared_by_score_and_boxes_in_cells() -> None:
    background, threshold = np.full((1, 6, 2), -12.0), np.zeros((1, 6, 2))
    assert beyond(head(Part(meaning="logits")), background, background + 1) == [0]
    assert beyond(head(Part(meaning="logits")), threshold, threshold + 0.2) == [12]
    assert beyond(head(Part(meaning="cells")), threshold, threshold + 0.2) == [12]


def test_exclusive_logits_are_compared_by_the_probability_of_a_class() -> None:
    ours = np.zeros((1, 6, 2))
    assert beyond(head(Part(meaning="exclusive_logits")), ours, ours + 5) == [0]
    theirs = ours.copy()
    theirs[0, 2] = 3
    assert beyond(head(Part(meaning="exclusive_logits")), ours, theirs) == [12]


def test_each_part_of_one_output_has_its_own_tolerance() -> None:
    parts = (Part(meaning="pixels", stop=4), Part(meaning="scores", start=4))
    ours = np.zeros((1, 6, 2))
    assert beyond(head(*parts), ours, ours + 0.5) == [0, 4]
    assert [one.values.size for one in differences([head(*parts)], [ours], [ours])] == [8, 4]


def test_parts_may_lie_on_another_axis() -> None:
    ours = np.zeros((1, 6, 2))
    theirs = ours.copy()
    theirs[..., 1] = 1
    parts = (Part(meaning="scores", axis=2, stop=1), Part(meaning="labels", axis=2, start=1))
    assert beyond(head(*parts), ours, theirs) == [0, 6]
