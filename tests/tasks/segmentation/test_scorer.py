"""Mean IoU against a count pixel by pixel."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_assets.tasks.segmentation.classes import IGNORED
from robot_assets.tasks.segmentation.predictions import ClassMap
from robot_assets.tasks.segmentation.scorer import SegmentationScorer
from tests.tasks.segmentation.drawn_shapes import Shapes

CLASSES = ("road", "sidewalk", "kerb")


def predicted(labels: np.ndarray) -> ClassMap:
    rows, columns = labels.shape
    return ClassMap(labels.astype(np.uint8), (0, 0, columns, rows), columns, rows)


def scored(truth: list[np.ndarray], found: list[np.ndarray], classes: tuple[str, ...] = CLASSES):
    images = [np.zeros((*mask.shape, 3), np.uint8) for mask in truth]
    scorer = SegmentationScorer(Shapes(images, [mask.astype(np.uint8) for mask in truth], classes))
    return scorer.metrics([scorer.measured(index, predicted(labels)) for index, labels in enumerate(found)])


@given(seed=st.integers(0, 100_000), count=st.integers(1, 3))
def test_it_is_the_mean_iou_of_the_pixels_of_all_images(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    truth = [rng.choice([0, 1, 2, IGNORED], (5, 7)) for _ in range(count)]
    found = [rng.integers(0, 3, (5, 7)) for _ in range(count)]

    metrics = scored(truth, found)

    pairs = [
        (int(a), int(b))
        for one, other in zip(truth, found, strict=True)
        for a, b in zip(one.flat, other.flat, strict=True)
        if a != IGNORED
    ]
    ious = []
    for index, name in enumerate(CLASSES):
        union = sum(index in pair for pair in pairs)
        if not any(a == index for a, _ in pairs):
            assert metrics.per_class[name] is None
            continue
        ious.append(sum(pair == (index, index) for pair in pairs) / union)
        assert metrics.per_class[name] == pytest.approx(ious[-1])
    assert metrics.score == pytest.approx(np.mean(ious) if ious else 0)
    right = sum(a == b for a, b in pairs)
    assert metrics.values["pixel_accuracy"] == pytest.approx(right / len(pairs) if pairs else 0)
    assert metrics.images == count


def test_a_class_that_is_absent_lowers_nothing_but_the_classes_it_was_taken_for() -> None:
    metrics = scored([np.array([[0, 0, 0, 0]])], [np.array([[0, 0, 0, 2]])])
    assert metrics.per_class == {"road": 0.75, "sidewalk": None, "kerb": None}
    assert metrics.score == 0.75


def test_masks_that_are_ignored_as_a_whole_score_0_and_name_no_class() -> None:
    metrics = scored([np.full((2, 3), IGNORED)], [np.zeros((2, 3))])
    assert metrics.values == {"miou": 0.0, "pixel_accuracy": 0.0}
    assert set(metrics.per_class.values()) == {None}


def test_no_images_have_metrics_too() -> None:
    assert scored([], []).values == {"miou": 0.0, "pixel_accuracy": 0.0}


def test_a_prediction_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\) pixels; needed \(3, 2\)"):
        scored([np.zeros((3, 2))], [np.zeros((2, 3))])


def test_a_mask_with_an_index_of_no_class_is_refused() -> None:
    with pytest.raises(ValueError, match="needed 0 to 2"):
        scored([np.full((2, 3), 3)], [np.zeros((2, 3))])


def test_the_metrics_are_named() -> None:
    metrics = scored([np.zeros((2, 3))], [np.zeros((2, 3))])
    assert metrics.metric.name == "mIoU"
    assert metrics.as_json() == {
        "miou": 1.0,
        "pixel_accuracy": 1.0,
        "per_class_iou": {"road": 1.0, "sidewalk": None, "kerb": None},
        "images": 1,
    }
