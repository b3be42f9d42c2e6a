"""The decoders of the YOLO family against the formulas of their documents.

YOLOv5 and YOLOv7: https://docs.ultralytics.com/yolov5/tutorials/architecture_description, whose boxes the export has
decoded; the confidence of a class is objectness times class, as in YOLO (arXiv 1506.02640, section 2). YOLOv8:
https://docs.ultralytics.com/modes/export, 4 + classes for each anchor without objectness. YOLOX: arXiv 2107.08430,
section 2.1, and the README of its ONNX demo.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from robot_assets.tasks.detection.predictions import Detections
from tests.tasks.detection.decoders.reference import (
    CLASSES,
    Found,
    assert_equal,
    corners,
    decoded,
    greedy,
    inside,
    interface_of,
    is_inside,
    ranked,
    shapes_of,
    sigmoid,
)

SIZE = (64, 96)
CELLS = 8 * 12 + 4 * 6 + 2 * 3


def random_boxes(random: np.random.Generator, anchors: int) -> np.ndarray:
    """Centre, width and height in pixels; some boxes exceed the input, some are outside of it."""
    centre = random.uniform(-15, 110, (anchors, 2))
    return np.concatenate([centre, random.uniform(1, 60, (anchors, 2))], axis=1).astype(np.float32)


def reference(boxes: np.ndarray, scores: np.ndarray, *, iou_max: float = 0.6, score_min: float = 0.01) -> list[Found]:
    """Boxes (anchors, 4) as centre, width and height in pixels, and scores (anchors, classes)."""
    found = [
        Found(float(score), anchor, label, corners(*map(float, boxes[anchor])))
        for anchor in range(len(boxes))
        for label, score in enumerate(scores[anchor])
        if score >= score_min
    ]
    found = [one for one in ranked(found)[:600] if is_inside(one, SIZE)]
    return inside(greedy(found, iou_max)[:100], SIZE)


def reference_yolov5(rows: np.ndarray) -> list[Found]:
    scores = rows[:, 4:5].astype(float) * rows[:, 5:].astype(float)
    return reference(rows[:, :4], scores)


def reference_yolox(rows: np.ndarray, logits: bool) -> list[Found]:
    boxes, scores, cell = [], [], 0
    for stride in (8, 16, 32):
        for row in range(SIZE[0] // stride):
            for column in range(SIZE[1] // stride):
                dx, dy, log_width, log_height, *confidences = map(float, rows[cell])
                centre = (column + dx) * stride, (row + dy) * stride
                boxes.append([*centre, math.exp(log_width) * stride, math.exp(log_height) * stride])
                objectness, *classes = map(sigmoid, confidences) if logits else confidences
                scores.append([objectness * one for one in classes])
                cell += 1
    assert cell == len(rows)
    return reference(np.array(boxes), np.array(scores))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("is_transposed", [False, True])
def test_yolov5_decodes_as_documented(seed: int, is_transposed: bool) -> None:
    random = np.random.default_rng(seed)
    images = [
        np.concatenate([random_boxes(random, 3 * CELLS), random.uniform(0, 1, (3 * CELLS, 4)) ** 3], axis=1)
        for _ in range(2)
    ]
    rows = np.stack(images).astype(np.float32)
    output = np.ascontiguousarray(rows.transpose(0, 2, 1)) if is_transposed else rows

    found = decoded(interface_of("yolov5", shapes_of(output=output)), output)

    assert len(found) == 2
    for image, one in zip(rows, found, strict=True):
        assert 10 < len(one.scores) <= 100
        assert_equal(one, reference_yolov5(image))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("is_transposed", [False, True])
def test_yolov8_decodes_as_documented(seed: int, is_transposed: bool) -> None:
    random = np.random.default_rng(seed)
    rows = np.stack(
        [np.concatenate([random_boxes(random, CELLS), random.uniform(0, 1, (CELLS, 3)) ** 3], axis=1) for _ in range(3)]
    ).astype(np.float32)
    output = rows if is_transposed else np.ascontiguousarray(rows.transpose(0, 2, 1))

    found = decoded(interface_of("yolov8", shapes_of(output0=output)), output)

    for image, one in zip(rows, found, strict=True):
        assert_equal(one, reference(image[:, :4], image[:, 4:].astype(float)))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("logits", [False, True])
def test_yolox_decodes_as_its_paper_defines(seed: int, logits: bool) -> None:
    random = np.random.default_rng(seed)
    raw = np.concatenate([random.normal(0.3, 1, (2, CELLS, 2)), random.normal(0.8, 0.5, (2, CELLS, 2))], axis=2)
    confidences = random.normal(-1, 2, (2, CELLS, 4)) if logits else random.uniform(0, 1, (2, CELLS, 4)) ** 2
    output = np.concatenate([raw, confidences], axis=2).astype(np.float32)

    found = decoded(interface_of("yolox", shapes_of(output=output), logits=logits), output)

    for image, one in zip(output, found, strict=True):
        assert len(one.scores) > 10
        assert_equal(one, reference_yolox(image, logits))


def encoded(decoder: str, boxes: np.ndarray, labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The output (1, ...) of a network that sees these boxes, xyxy in pixels, one in each third cell."""
    cells = np.arange(len(boxes)) * 3
    form = np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], axis=1)
    fixed = 4 if decoder == "yolov8" else 5
    rows = np.zeros((CELLS, fixed + len(CLASSES)), np.float32)
    if decoder == "yolox":
        column, row, stride = cells % 12, cells // 12, 8
        form = np.concatenate([form[:, :2] / stride - np.stack([column, row], 1), np.log(form[:, 2:] / stride)], axis=1)
    rows[cells, :4] = form
    rows[cells, 4] = 1
    rows[cells, fixed + labels] = scores
    if decoder == "yolov8":
        rows[cells, 4] = np.where(labels == 0, scores, 0)
    return rows.T[None] if decoder == "yolov8" else rows[None]


@pytest.mark.parametrize("decoder", ["yolov5", "yolov8", "yolox"])
@pytest.mark.parametrize("seed", range(5))
def test_decoding_what_was_encoded_gives_the_boxes_back(decoder: str, seed: int) -> None:
    random = np.random.default_rng(seed)
    count = 12
    corner = random.uniform(0, [60, 40], (count, 2))
    boxes = np.concatenate([corner, corner + random.uniform(2, 24, (count, 2))], axis=1).astype(np.float32)
    labels, scores = random.integers(0, 3, count), np.linspace(0.9, 0.2, count).astype(np.float32)
    output = encoded(decoder, boxes, labels, scores)

    (found,) = decoded(interface_of(decoder, shapes_of(output=output), iou_max=1.0), output)

    assert found.labels.tolist() == labels.tolist()
    np.testing.assert_allclose(found.scores, scores, rtol=1e-6)
    np.testing.assert_allclose(found.boxes, boxes, atol=1e-3)


@pytest.mark.parametrize("decoder", ["yolov5", "yolov8", "yolox"])
def test_an_output_without_a_score_gives_no_detections(decoder: str) -> None:
    output = encoded(decoder, np.zeros((0, 4)), np.zeros(0, int), np.zeros(0))
    (found,) = decoded(interface_of(decoder, shapes_of(output=output)), output)
    assert found.boxes.shape == (0, 4)
    assert found.scores.shape == found.labels.shape == (0,)


@pytest.mark.parametrize("decoder", ["yolov5", "yolov8", "yolox"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_numbers_that_are_not_finite_are_no_detections_and_the_others_remain(decoder: str, value: float) -> None:
    boxes = np.array([[10, 10, 30, 30], [40, 10, 60, 30], [10, 40, 30, 60]], np.float32)
    output = encoded(decoder, boxes, np.array([0, 1, 2]), np.array([0.9, 0.8, 0.7]))
    rows = output[0].T if decoder == "yolov8" else output[0]
    rows[3, :4] = value  # of the second box
    rows[30] = np.nan
    rows[6, 4] = np.nan if decoder != "yolov8" else 0  # objectness of the third box

    (found,) = decoded(interface_of(decoder, shapes_of(output=output)), output)

    assert np.isfinite(found.boxes).all()
    assert found.labels[0] == 0
    np.testing.assert_allclose(found.boxes[0], boxes[0], atol=1e-3)
    if decoder == "yolov8":
        assert 2 in found.labels.tolist()


def test_one_class_of_yolov7_can_be_read_by_its_objectness() -> None:
    output = np.array([[[20, 20, 10, 10, 0.8, 0.5]]], np.float32)
    shapes = shapes_of(output=output)
    (product,) = decoded(interface_of("yolov5", shapes, classes=["person"]), output)
    (alone,) = decoded(interface_of("yolov5", shapes, classes=["person"], scores="objectness"), output)
    assert product.scores.tolist() == pytest.approx([0.4])
    assert alone.scores.tolist() == pytest.approx([0.8])


def test_mask_coefficients_after_the_classes_are_ignored() -> None:
    box = np.array([[10, 10, 30, 30]], np.float32)
    output = encoded("yolov8", box, np.array([1]), np.array([0.9]))
    output = np.concatenate([output, np.full((1, 32, CELLS), 7, np.float32)], axis=1)

    interface = interface_of("yolov8", {"output0": (1, 39, CELLS), "output1": (1, 32, 16, 24)}, extra=32)
    (found,) = decoded(interface, output)

    assert interface.head_names == ("output0",)
    assert [part.meaning for part in interface.heads[0].parts] == ["pixels", "scores", "values"]
    assert found.labels.tolist() == [1]


def test_equal_scores_are_in_the_order_of_anchors_and_classes_in_both_layouts() -> None:
    rows = np.zeros((CELLS, 7), np.float32)
    rows[:, :2] = np.stack([np.arange(CELLS) % 12 * 8 + 4, np.arange(CELLS) // 12 * 5 + 2], axis=1)
    rows[:, 2:4] = 3
    rows[::2, 4:] = 0.5
    one, other = rows.T[None].copy(), rows[None].copy()

    (first,) = decoded(interface_of("yolov8", shapes_of(output=one), candidates_max=50), one)
    (second,) = decoded(interface_of("yolov8", shapes_of(output=other), candidates_max=50), other)

    assert len(first.scores) == 50
    assert first.labels[:6].tolist() == [0, 1, 2, 0, 1, 2]
    assert first.boxes[:7, 0].tolist() == [2.5] * 3 + [18.5] * 3 + [34.5]
    assert_same(first, second)


@pytest.mark.parametrize("limit", [1, 20, 377, 378, 379])
def test_candidates_beyond_the_limit_are_those_with_the_lowest_scores(limit: int) -> None:
    random = np.random.default_rng(0)
    boxes = np.concatenate([random.uniform(10, 50, (CELLS, 2)), random.uniform(2, 9, (CELLS, 2))], axis=1)
    rows = np.concatenate([boxes, random.uniform(0.1, 1, (CELLS, 3))], axis=1).astype(np.float32)
    output = np.ascontiguousarray(rows.T[None])

    interface = interface_of("yolov8", shapes_of(o=output), candidates_max=limit, iou_max=1.0, detections_max=400)
    (found,) = decoded(interface, output)

    assert found.scores.tolist() == np.sort(rows[:, 4:].ravel())[::-1][:limit].tolist()


def test_a_box_far_outside_does_not_change_the_suppression_of_the_others() -> None:
    """Coordinates of 1e30 would swallow the differences of all others."""
    rows = np.zeros((CELLS, 4 + 80), np.float32)
    rows[0, :4], rows[0, 4 + 79] = [20, 20, 1e30, 1e30], 0.9
    rows[1, :4], rows[1, 4 + 79] = [20, 20, 4, 4], 0.8
    rows[2, :4], rows[2, 4 + 79] = [23, 20, 4, 4], 0.7
    rows[3, :4], rows[3, 4 + 79] = [20.5, 20, 4, 4], 0.6
    output = np.ascontiguousarray(rows.T[None])

    (found,) = decoded(interface_of("yolov8", shapes_of(o=output), classes=[f"class {i}" for i in range(80)]), output)

    np.testing.assert_allclose(found.boxes, [[0, 0, 96, 64], [18, 18, 22, 22], [21, 18, 25, 22]])


def test_two_boxes_whose_overlap_is_the_limit_are_both_kept() -> None:
    rows = np.zeros((1, 7, 2), np.float32)
    rows[0, :5] = np.array([[20, 20, 8, 8, 0.9], [20, 22, 8, 4, 0.8]], np.float32).T  # half of the first one
    (found,) = decoded(interface_of("yolov8", shapes_of(o=rows), iou_max=0.5), rows)
    assert len(found.scores) == 2
    (found,) = decoded(interface_of("yolov8", shapes_of(o=rows), iou_max=0.499), rows)
    assert len(found.scores) == 1


@pytest.mark.parametrize(
    "box",
    [
        [20, 20, 0, 5],
        [20, 20, 5, 0],
        [20, 20, -5, 5],
        [20, 20, 5, -5],
        [-5, 20, 10, 5],
        [101, 20, 10, 5],
        [20, -5, 10, 10],
        [20, 69, 10, 10],
    ],
)
def test_a_box_without_a_part_inside_the_input_is_no_detection(box: list[float]) -> None:
    rows = np.array([[*box, 0.9, 0, 0], [20, 20, 8, 8, 0, 0.5, 0]], np.float32).T[None]
    (found,) = decoded(interface_of("yolov8", shapes_of(o=rows)), rows)
    assert found.labels.tolist() == [1]


def test_outputs_of_another_shape_are_refused_by_name() -> None:
    interface = interface_of("yolov8", {"output0": (1, 7, CELLS)})
    with pytest.raises(ValueError, match=r"output output0 has shape \(1, 7, 10\), needed \(1, 7, 126\)"):
        decoded(interface, np.zeros((1, 7, 10), np.float32))
    with pytest.raises(ValueError, match="2 outputs, needed 1: output0"):
        decoded(interface, *[np.zeros((1, 7, CELLS), np.float32)] * 2)


def test_half_precision_outputs_decode() -> None:
    output = encoded("yolov5", np.array([[8, 8, 24, 40]]), np.array([1]), np.array([0.5])).astype(np.float16)
    (found,) = decoded(interface_of("yolov5", shapes_of(output=output)), output)
    assert found.boxes.tolist() == [[8, 8, 24, 40]]
    assert found.boxes.dtype == np.float32


def assert_same(one: Detections, other: Detections) -> None:
    assert (one.boxes == other.boxes).all()
    assert (one.scores == other.scores).all()
    assert (one.labels == other.labels).all()
