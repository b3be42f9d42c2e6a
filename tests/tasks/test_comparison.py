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


def rows(*values: list[float]) -> np.ndarray:
    """An output (1, rows, 6) of boxes, scores and classes."""
    return np.array([values], np.float32)


ROWS = Head(
    name="rows",
    shape=(1, 3, 6),
    layout="NRC",
    parts=(
        Part(meaning="pixels", axis=2, stop=4),
        Part(meaning="scores", axis=2, start=4, stop=5),
        Part(meaning="labels", axis=2, start=5),
    ),
)
ONE, OTHER, NONE = [10, 10, 20, 20, 0.501, 1], [60, 60, 80, 90, 0.5, 2], [0, 0, 0, 0, 0, 0]


def test_rows_that_have_swapped_places_do_not_differ() -> None:
    theirs = rows([60.2, 60, 80, 90, 0.502, 2], [10, 10, 20, 20.3, 0.501, 1], NONE)
    assert beyond(ROWS, rows(ONE, OTHER, NONE), theirs) == [0, 0, 0]


def test_a_row_of_another_class_or_place_differs() -> None:
    ours = rows(ONE, OTHER, NONE)
    assert beyond(ROWS, ours, rows([*ONE[:5], 2], OTHER, NONE)) == [0, 0, 1]
    assert beyond(ROWS, ours, rows(OTHER, [40, *ONE[1:]], NONE)) == [1, 0, 0]
    assert beyond(ROWS, ours, rows(OTHER, NONE, NONE)) == [4, 1, 1]
    assert sum(beyond(ROWS, ours, rows([np.nan] * 6, OTHER, NONE))) == 6
    assert sum(beyond(ROWS, ours, rows([np.inf] * 6, OTHER, NONE))) == 6


def test_rows_of_several_outputs_and_images_swap_together() -> None:
    parts = {"boxes": "pixels", "scores": "scores", "classes": "labels"}
    heads = [
        Head(
            name=name,
            shape=(1, 3, 4)[: 3 if name == "boxes" else 2],
            layout="NR4" if name == "boxes" else "NR",
            parts=(Part(meaning=meaning, axis=2 if name == "boxes" else 1),),
        )
        for name, meaning in parts.items()
    ]
    heads.append(Head(name="count", shape=(1, 1), layout="N1", parts=(Part(meaning="counts"),)))
    random = np.random.default_rng(0)
    ours = [random.uniform(0, 99, (2, 3, 4)), random.uniform(0, 1, (2, 3)), np.array([[0, 1, 2], [2, 2, 0]])]
    orders = np.array([[2, 0, 1], [1, 0, 2]])
    theirs = [np.stack([values[image][orders[image]] for image in range(2)]) for values in ours]
    count = np.array([[3], [3]])

    found = list(differences(heads, [*ours, count], [*theirs, count]))

    assert [one.beyond for one in found] == [0, 0, 0, 0]
    assert max(one.values.max() for one in found) == 0
    classes_alone = [*ours[:2], ours[2][::-1], count]
    assert [one.beyond for one in differences(heads, [*ours, count], classes_alone)][2] > 0


def test_queries_that_were_selected_in_another_order_do_not_differ() -> None:
    heads = [
        Head(name="logits", shape=(1, 30, 4), layout="NRC", parts=(Part(meaning="exclusive_logits", axis=2),)),
        Head(name="boxes", shape=(1, 30, 4), layout="NR4", parts=(Part(meaning="fractions", axis=2),)),
    ]
    random = np.random.default_rng(1)
    ours = [random.normal(0, 3, (1, 30, 4)), random.uniform(0, 1, (1, 30, 4))]
    order = random.permutation(30)
    assert [one.beyond for one in differences(heads, ours, [values[:, order] for values in ours])] == [0, 0]
