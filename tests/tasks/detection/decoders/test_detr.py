"""The decoder of detection transformers against their papers.

DETR (arXiv 2005.12872, section 3.1): each query has a box as centre, width and height relative to the image, and a
softmax over the classes and "no object"; its class is the most likely one beside that. Deformable DETR
(arXiv 2010.04159) and RT-DETR (arXiv 2304.08069) have a sigmoid for each class instead, and take the best pairs of
query and class.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.tasks.detection.decoders.reference import (
    Found,
    assert_equal,
    corners,
    decoded,
    inside,
    interface_of,
    ranked,
    shapes_of,
    sigmoid,
    softmax,
)

HEIGHT, WIDTH = SIZE = (64, 96)


def random_boxes(random: np.random.Generator, count: int) -> np.ndarray:
    return np.concatenate([random.uniform(-0.1, 1.1, (count, 2)), random.uniform(0.01, 0.6, (count, 2))], axis=1)


def pixels(box: np.ndarray) -> tuple[float, float, float, float]:
    x, y, width, height = map(float, box)
    return corners(x * WIDTH, y * HEIGHT, width * WIDTH, height * HEIGHT)


def reference_softmax(logits: np.ndarray, boxes: np.ndarray) -> list[Found]:
    found = []
    for query, values in enumerate(logits):
        likely = softmax([float(value) for value in values])[:-1]
        label = likely.index(max(likely))
        found.append(Found(likely[label], query, label, pixels(boxes[query])))
    return inside(ranked([one for one in found if one.score >= 0.01]), SIZE)[:100]


def reference_sigmoid(logits: np.ndarray, boxes: np.ndarray) -> list[Found]:
    found = [
        Found(sigmoid(float(value)), query, label, pixels(boxes[query]))
        for query, values in enumerate(logits)
        for label, value in enumerate(values)
    ]
    return inside(ranked([one for one in found if one.score >= 0.01]), SIZE)[:100]


@pytest.mark.parametrize("seed", range(5))
def test_a_softmax_decodes_as_detr_defines(seed: int) -> None:
    random = np.random.default_rng(seed)
    logits = random.normal(0, 3, (2, 100, 4)).astype(np.float32)
    boxes = np.stack([random_boxes(random, 100) for _ in range(2)]).astype(np.float32)

    interface = interface_of("detr", shapes_of(pred_logits=logits, pred_boxes=boxes))
    found = decoded(interface, logits, boxes)

    assert [part.meaning for head in interface.heads for part in head.parts] == ["exclusive_logits", "fractions"]
    for one, image_logits, image_boxes in zip(found, logits, boxes, strict=True):
        assert_equal(one, reference_softmax(image_logits, image_boxes))


@pytest.mark.parametrize("seed", range(5))
def test_a_sigmoid_decodes_as_deformable_detr_defines(seed: int) -> None:
    random = np.random.default_rng(seed)
    logits = random.normal(-2, 3, (2, 60, 3)).astype(np.float32)
    boxes = np.stack([random_boxes(random, 60) for _ in range(2)]).astype(np.float32)

    interface = interface_of("detr", shapes_of(boxes=boxes, logits=logits), activation="sigmoid")
    found = decoded(interface, logits, boxes)

    assert interface.head_names == ("logits", "boxes")
    for one, image_logits, image_boxes in zip(found, logits, boxes, strict=True):
        assert_equal(one, reference_sigmoid(image_logits, image_boxes))


def test_box_and_scores_in_one_output_decode_alike() -> None:
    random = np.random.default_rng(3)
    scores, boxes = random.uniform(0, 1, (1, 30, 3)), random_boxes(random, 30)[None]
    output = np.concatenate([boxes, scores], axis=2).astype(np.float32)

    (found,) = decoded(interface_of("detr", shapes_of(output0=output), activation="none"), output)
    (apart,) = decoded(
        interface_of("detr", {"boxes": (1, 30, 4), "scores": (1, 30, 3)}, activation="none"),
        output[:, :, 4:],
        output[:, :, :4],
    )

    assert len(found.scores) > 20
    assert (found.boxes == apart.boxes).all()
    assert (found.scores == apart.scores).all()


@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "none"])
def test_decoding_what_was_encoded_gives_the_boxes_back(activation: str) -> None:
    boxes = np.array([[1, 2, 30, 40], [50, 10, 90, 60], [0, 0, 96, 64]], np.float32)
    labels, scores = np.array([2, 0, 1]), np.array([0.9, 0.6, 0.3])
    values = np.full((1, 3, 4 if activation == "softmax" else 3), 0 if activation == "none" else -30, np.float32)
    odds = np.log(scores / (1 - scores))
    values[0, range(3), labels] = scores if activation == "none" else odds
    if activation == "softmax":
        values[:, :, -1] = 0
    unit = np.array([WIDTH, HEIGHT])
    form = np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2 / unit, (boxes[:, 2:] - boxes[:, :2]) / unit], axis=1)

    interface = interface_of("detr", {"logits": values.shape, "boxes": (1, 3, 4)}, activation=activation)
    (found,) = decoded(interface, values, form[None].astype(np.float32))

    assert found.labels.tolist() == labels.tolist()
    np.testing.assert_allclose(found.scores, scores, rtol=1e-5)
    np.testing.assert_allclose(found.boxes, boxes, atol=1e-3)


def test_a_query_of_a_class_that_the_data_set_lacks_is_of_no_other_class() -> None:
    logits = np.array([[[-9, 3, 1, -9], [2, -9, -9, -9]]], np.float32)  # dog before person; car
    boxes = np.full((1, 2, 4), 0.5, np.float32)
    interface = interface_of(
        "detr", shapes_of(logits=logits, boxes=boxes), classes=["person", "car"], labels=["car", "dog", "person"]
    )
    (found,) = decoded(interface, logits, boxes)
    assert found.labels.tolist() == [1]


def test_queries_without_an_object_give_no_detections() -> None:
    logits = np.zeros((1, 5, 4), np.float32)
    logits[:, :, -1] = 20
    (found,) = decoded(
        interface_of("detr", {"l": (1, 5, 4), "b": (1, 5, 4)}, outputs={"logits": "l", "boxes": "b"}), logits, logits
    )
    assert found.boxes.shape == (0, 4)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_numbers_that_are_not_finite_spoil_no_other_query(activation: str, value: float) -> None:
    logits = np.array([[[8, 0, 0, 0], [0, 8, 0, 0], [0, 0, 8, 0]]], np.float32)
    logits = logits if activation == "softmax" else logits[:, :, :3] - 4
    boxes = np.full((1, 3, 4), 0.5, np.float32)
    logits[0, 0, 1], boxes[0, 1, 2] = value, value

    (found,) = decoded(
        interface_of("detr", shapes_of(logits=logits, boxes=boxes), activation=activation), logits, boxes
    )

    assert np.isfinite(found.boxes).all()
    assert np.isfinite(found.scores).all()
    assert 2 in found.labels.tolist()


def test_one_class_decodes() -> None:
    logits, boxes = np.array([[[2.0, 0.0]]], np.float32), np.full((1, 1, 4), 0.5, np.float32)
    interface = interface_of("detr", shapes_of(logits=logits, boxes=boxes), classes=["person"])
    (found,) = decoded(interface, logits, boxes)
    np.testing.assert_allclose(found.scores, [sigmoid(2)], rtol=1e-6)
    np.testing.assert_allclose(found.boxes, [[24, 16, 72, 48]])


def test_boxes_in_pixels_are_read_as_they_are() -> None:
    scores, boxes = np.array([[[0.5, 0, 0]]], np.float32), np.array([[[20, 30, 10, 8]]], np.float32)
    interface = interface_of("detr", shapes_of(logits=scores, boxes=boxes), activation="none", coordinates="pixels")
    (found,) = decoded(interface, scores, boxes)
    assert found.boxes.tolist() == [[15, 26, 25, 34]]
