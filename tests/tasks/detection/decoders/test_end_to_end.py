"""The decoder of graphs with their suppression inside against the documents of the operators.

EfficientNMS_TRT: README of plugin/efficientNMSPlugin of github.com/NVIDIA/TensorRT: num_detections (N, 1) int32,
detection_boxes (N, M, 4) as corners, detection_scores (N, M), detection_classes (N, M) int32; only the first
num_detections rows are valid. TensorFlow's detection models: num_detections (N), detection_boxes (N, M, 4) as fractions
ymin, xmin, ymax, xmax, classes as floats from 1. MMDetection: dets (N, M, 5) and labels (N, M) int64. YOLOv10
(arXiv 2405.14458): (N, 300, 6) of x1, y1, x2, y2, score, class. OpenVINO's DetectionOutput: (1, 1, N, 7) of image,
class, score and corners as fractions; an image of -1 is after the last detection.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.tasks.detection.decoders.reference import (
    CLASSES,
    Found,
    assert_equal,
    decoded,
    inside,
    interface_of,
    ranked,
    shapes_of,
)

HEIGHT, WIDTH = SIZE = (64, 96)
ROWS = 40


def random_rows(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes in pixels, scores and classes of one image; in descending order of score, as operators give them."""
    corner = random.uniform(-10, [90, 60], (ROWS, 2))
    boxes = np.concatenate([corner, corner + random.uniform(1, 40, (ROWS, 2))], axis=1).astype(np.float32)
    scores = np.sort(random.uniform(0, 1, ROWS))[::-1].astype(np.float32)
    return boxes, scores, random.integers(0, len(CLASSES), ROWS)


def reference(boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray, count: int = ROWS) -> list[Found]:
    found = [
        Found(float(scores[row]), row, int(classes[row]), tuple(map(float, boxes[row])))  # type: ignore[arg-type]
        for row in range(count)
        if scores[row] >= 0.01
    ]
    return inside(ranked(found), SIZE)


@pytest.mark.parametrize("seed", range(4))
def test_efficient_nms_decodes_as_documented(seed: int) -> None:
    images = [random_rows(np.random.default_rng([seed, image])) for image in range(3)]
    counts = np.array([[7], [0], [ROWS]], np.int32)
    boxes, scores, classes = (np.stack(values) for values in zip(*images, strict=True))
    outputs = {
        "num_dets": counts,
        "det_boxes": boxes,
        "det_scores": scores,
        "det_classes": classes.astype(np.int32),
    }
    interface = interface_of("nms", shapes_of(**outputs))
    assert interface.head_names == ("det_boxes", "det_scores", "det_classes", "num_dets")

    found = decoded(interface, *(outputs[name] for name in interface.head_names))

    for one, image, (count,) in zip(found, images, counts, strict=True):
        assert_equal(one, reference(*image, count=count))
    assert len(found[1].scores) == 0


@pytest.mark.parametrize("seed", range(4))
def test_a_detection_model_of_tensorflow_decodes_as_documented(seed: int) -> None:
    boxes, scores, classes = random_rows(np.random.default_rng(seed))
    fractions = (boxes / [WIDTH, HEIGHT, WIDTH, HEIGHT])[:, [1, 0, 3, 2]]
    outputs = {
        "detection_anchor_indices": np.zeros((1, ROWS), np.float32),
        "detection_boxes": fractions[None].astype(np.float32),
        "detection_classes": (classes[None] + 1).astype(np.float32),
        "detection_multiclass_scores": np.zeros((1, ROWS, 4), np.float32),
        "detection_scores": scores[None],
        "num_detections": np.array([30], np.float32),
        "raw_detection_boxes": np.zeros((1, 99, 4), np.float32),
        "raw_detection_scores": np.zeros((1, 99, 4), np.float32),
    }
    interface = interface_of("nms", shapes_of(**outputs), coordinates="fractions", order="yx", first_class=1)
    assert interface.head_names == ("detection_boxes", "detection_scores", "detection_classes", "num_detections")

    (found,) = decoded(interface, *(outputs[name] for name in interface.head_names))

    assert_equal(found, reference(boxes, scores, classes, count=30))


def test_boxes_with_scores_and_classes_as_int64_decode() -> None:
    boxes, scores, classes = random_rows(np.random.default_rng(2))
    dets = np.concatenate([boxes, scores[:, None]], axis=1)[None]
    interface = interface_of("nms", {"dets": (1, ROWS, 5), "labels": (1, ROWS)})
    (found,) = decoded(interface, dets, classes[None].astype(np.int64))
    assert_equal(found, reference(boxes, scores, classes))


@pytest.mark.parametrize("seed", range(4))
def test_rows_of_an_end_to_end_network_decode(seed: int) -> None:
    images = [random_rows(np.random.default_rng([seed, image])) for image in range(2)]
    output = np.stack(
        [np.concatenate([boxes, scores[:, None], classes[:, None]], axis=1) for boxes, scores, classes in images]
    ).astype(np.float32)
    found = decoded(interface_of("nms", shapes_of(output0=output)), output)
    for one, image in zip(found, images, strict=True):
        assert_equal(one, reference(*image))


def test_rows_with_the_index_of_the_image_end_at_minus_one() -> None:
    boxes, scores, classes = random_rows(np.random.default_rng(5))
    fractions = boxes / [WIDTH, HEIGHT, WIDTH, HEIGHT]
    image = np.where(np.arange(ROWS) < 25, 0, -1)
    output = np.concatenate([np.stack([image, classes + 1, scores], axis=1), fractions], axis=1)[None, None]
    interface = interface_of(
        "nms",
        {"detection_out": (1, 1, ROWS, 7)},
        columns=["image", "class", "score", "x1", "y1", "x2", "y2"],
        coordinates="fractions",
        first_class=1,
    )
    (found,) = decoded(interface, output.astype(np.float32))
    assert_equal(found, reference(boxes, scores, classes, count=25))


def test_rows_of_several_lists_are_refused() -> None:
    columns = ["image", "class", "score", "x1", "y1", "x2", "y2"]
    with pytest.raises(ValueError, match="decoder nms needs"):
        interface_of("nms", {"detection_out": (1, 2, ROWS, 7)}, columns=columns)


def test_columns_after_the_named_ones_are_ignored() -> None:
    output = np.array([[[1, 2, 30, 40, 0.9, 2, 7, 7, 7]]], np.float32)
    (found,) = decoded(interface_of("nms", shapes_of(output0=output), extra=3), output)
    assert found.boxes.tolist() == [[1, 2, 30, 40]]
    assert found.labels.tolist() == [2]


@pytest.mark.parametrize("label", [-1, 3, 1.5, np.nan, np.inf, -np.inf, 3e38])
def test_a_row_whose_class_is_none_is_no_detection(label: float) -> None:
    output = np.array([[[1, 2, 30, 40, 0.9, label], [1, 2, 30, 40, 0.8, 1]]], np.float32)
    (found,) = decoded(interface_of("nms", shapes_of(output0=output)), output)
    assert found.labels.tolist() == [1]


@pytest.mark.parametrize("column", range(5))
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_spoil_no_other_row(column: int, value: float) -> None:
    output = np.array([[[1, 2, 30, 40, 0.9, 0], [1, 2, 30, 40, 0.8, 1]]], np.float32)
    output[0, 0, column] = value
    (found,) = decoded(interface_of("nms", shapes_of(output0=output)), output)
    assert found.labels.tolist()[-1] == 1
    assert np.isfinite(found.boxes).all()


@pytest.mark.parametrize("count", [np.nan, -3, 1e30])
def test_a_count_beyond_the_rows_reads_no_more_than_them(count: float) -> None:
    shapes = {"boxes": (1, 2, 4), "scores": (1, 2), "labels": (1, 2), "num": (1,)}
    boxes = np.array([[[1, 1, 9, 9], [2, 2, 8, 8]]], np.float32)
    outputs = (boxes, np.array([[0.5, 0.4]]), np.array([[0, 1]]), np.array([count]))
    (found,) = decoded(interface_of("nms", shapes), *outputs)
    assert len(found.scores) == (2 if count > 2 else 0)


def test_equal_scores_stay_in_the_order_of_the_rows_and_equal_boxes_stay_both() -> None:
    output = np.array([[[1, 2, 30, 40, 0.5, 2], [1, 2, 30, 40, 0.5, 0], [1, 2, 30, 40, 0.5, 0]]], np.float32)
    (found,) = decoded(interface_of("nms", shapes_of(output0=output)), output)
    assert found.labels.tolist() == [2, 0, 0]


def test_outputs_without_telling_names_are_given_by_role() -> None:
    shapes = {"Identity": (1, 5, 4), "Identity_1": (1, 5), "Identity_2": (1, 5), "Identity_3": (1,)}
    with pytest.raises(ValueError, match=r"recognized by name or given as outputs: \{boxes: NAME"):
        interface_of("nms", shapes)
    names = {"scores": "Identity_2", "classes": "Identity_1", "count": "Identity_3"}
    interface = interface_of("nms", shapes, outputs=names)
    assert interface.head_names == ("Identity", "Identity_2", "Identity_1", "Identity_3")
    assert [head.parts[0].meaning for head in interface.heads] == ["pixels", "scores", "labels", "counts"]


@pytest.mark.parametrize(
    ("shapes", "heads"),
    [
        ({"boxes": (1, 5, 4), "class_ids": (1, 5), "other": (1, 5)}, ("boxes", "other", "class_ids")),
        ({"boxes": (1, 5, 4), "other": (1, 5), "confidence": (1, 5)}, ("boxes", "confidence", "other")),
        ({"dets": (1, 5, 5), "other": (1, 5)}, ("dets", "other")),
    ],
)
def test_the_output_that_is_left_has_the_role_that_is_left(
    shapes: dict[str, tuple[int, ...]], heads: tuple[str, ...]
) -> None:
    assert interface_of("nms", shapes).head_names == heads
