from pathlib import Path

import numpy as np
import pytest

from robot_assets.data.packed import PackedSplit, open_split
from robot_assets.tasks.detection.predictions import Detections
from robot_assets.tasks.detection.scorer import score
from robot_assets.tasks.detection.spec import NetworkSpec
from robot_assets.training.evaluate import evaluate
from tests.detectors import interface

INTERFACE = interface(NetworkSpec(input_height=64, input_width=96, width=8))


def perfect(split: PackedSplit) -> list[Detections]:
    return [
        Detections(split.boxes(index), np.full(len(split.boxes(index)), 0.9, np.float32), split.labels(index))
        for index in range(len(split))
    ]


def test_perfect_detections_score_one(drawn_dataset: Path) -> None:
    split = open_split(drawn_dataset, "val")
    metrics = score(perfect(split), split.coco(), split.image_ids, split.classes)
    assert metrics.score == pytest.approx(1)
    assert metrics.values["map50_95"] == pytest.approx(1)
    assert set(metrics.per_class) == set(split.classes)
    assert metrics.images == len(split)


def test_a_class_without_objects_has_no_score_and_is_not_part_of_the_mean(drawn_dataset: Path) -> None:
    split = open_split(drawn_dataset, "val")
    truth = split.coco()
    truth["annotations"] = [found for found in truth["annotations"] if found["category_id"] != 2]
    only = [
        Detections(one.boxes[one.labels != 1], one.scores[one.labels != 1], one.labels[one.labels != 1])
        for one in perfect(split)
    ]
    metrics = score(only, truth, split.image_ids, split.classes)
    assert metrics.per_class[split.classes[1]] is None
    assert metrics.score == pytest.approx(1)


def test_loose_boxes_match_at_an_iou_of_a_half_and_not_at_strict_ones(drawn_dataset: Path) -> None:
    split = open_split(drawn_dataset, "val")
    loose = []
    for one in perfect(split):
        sides = one.boxes[:, 2:] - one.boxes[:, :2]
        grown = np.concatenate([one.boxes[:, :2], one.boxes[:, 2:] + sides * 0.25], axis=1)
        loose.append(Detections(grown, one.scores, one.labels))
    metrics = score(loose, split.coco(), split.image_ids, split.classes)
    assert metrics.score == pytest.approx(1)
    assert 0.2 < metrics.values["map50_95"] < 0.6


def test_no_detections_score_zero(drawn_dataset: Path) -> None:
    split = open_split(drawn_dataset, "val")

    def blind(images: np.ndarray) -> list[np.ndarray]:
        return [np.full((len(images), *head.shape[1:]), -30, np.float32) for head in INTERFACE.heads]

    metrics = evaluate(blind, split, INTERFACE, batch_size=5)
    assert metrics.score == 0
    assert set(metrics.per_class.values()) == {0.0}
