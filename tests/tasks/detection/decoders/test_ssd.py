"""The decoder of boxes and scores of anchors against SSD's paper and the documents of its implementations.

SSD (arXiv 1512.02325, section 2.2): the offsets of a default box d are ``(x - d.x) / d.w``, ``(y - d.y) / d.h``,
``log(w / d.w)``, ``log(h / d.h)``, which implementations divide by variances of 0.1 and 0.2. Default boxes are around
``((column + 0.5) / columns, (row + 0.5) / rows)``. TensorFlow's models order y before x, and have the background first.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tests.tasks.detection.decoders.reference import (
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
    softmax,
)

HEIGHT, WIDTH = SIZE = (64, 96)
PRIORS = [
    {"stride": 16, "boxes": [[12, 12], [20, 10]]},
    {"grid": [2, 3], "boxes": [[30, 30], [40, 20], [20, 40]]},
    {"stride": 40, "boxes": [[60, 60]]},
]
PRIOR_COUNT = 4 * 6 * 2 + 2 * 3 * 3 + 2 * 3


def reference_priors() -> list[tuple[float, float, float, float]]:
    """Centre x, y, width and height in pixels."""
    priors: list[tuple[float, float, float, float]] = []
    for rows, columns, step_y, step_x, boxes in [
        (4, 6, 16, 16, [(12, 12), (20, 10)]),
        (2, 3, 32, 32, [(30, 30), (40, 20), (20, 40)]),
        (2, 3, 40, 40, [(60, 60)]),
    ]:
        for row in range(rows):
            for column in range(columns):
                for width, height in boxes:
                    priors.append(((column + 0.5) * step_x, (row + 0.5) * step_y, width, height))
    return priors


def reference_box(values: np.ndarray, anchor: int, options: dict[str, Any]) -> tuple[float, float, float, float]:
    one, two, three, four = map(float, values)
    if options.get("order") == "yx":
        one, two, three, four = two, one, four, three
    if options["coordinates"] == "offsets":
        x, y, width, height = reference_priors()[anchor]
        return corners(
            x + one * 0.1 * width,
            y + two * 0.1 * height,
            width * math.exp(three * 0.2),
            height * math.exp(four * 0.2),
        )
    if options["coordinates"] == "fractions":
        one, two, three, four = one * WIDTH, two * HEIGHT, three * WIDTH, four * HEIGHT
    return corners(one, two, three, four) if options.get("format") == "centers" else (one, two, three, four)


def reference(boxes: np.ndarray, raw: np.ndarray, options: dict[str, Any]) -> list[Found]:
    found = []
    for anchor, values in enumerate(raw):
        scores = [float(value) for value in values]
        if options["activation"] == "softmax":
            scores = softmax(scores)
        if options["activation"] == "sigmoid":
            scores = [sigmoid(score) for score in scores]
        if options["background"] == "first":
            scores = scores[1:]
        if options["background"] == "last":
            scores = scores[:-1]
        for label, score in enumerate(scores):
            if score >= 0.01:
                found.append(Found(score, anchor, label, reference_box(boxes[anchor], anchor, options)))
    found = [one for one in ranked(found)[:600] if is_inside(one, SIZE)]
    return inside(greedy(found, 0.6)[:100], SIZE)


FORMS: list[dict[str, Any]] = [
    {"coordinates": "fractions"},
    {"coordinates": "fractions", "order": "yx"},
    {"coordinates": "pixels"},
    {"coordinates": "pixels", "format": "centers"},
    {"coordinates": "fractions", "format": "centers", "order": "yx"},
    {"coordinates": "offsets", "priors": PRIORS},
    {"coordinates": "offsets", "priors": PRIORS, "order": "yx"},
]


def random_boxes(random: np.random.Generator, form: dict[str, Any], count: int) -> np.ndarray:
    if form["coordinates"] == "offsets":
        return random.normal(0, 2, (count, 4)).astype(np.float32)
    corner = random.uniform(-0.1, 1, (count, 2))
    boxes = np.concatenate([corner, corner + random.uniform(0.02, 0.4, (count, 2))], axis=1)
    if form.get("format") == "centers":
        boxes[:, 2:] -= boxes[:, :2]
    unit = [WIDTH, HEIGHT] if form["coordinates"] == "pixels" else [1, 1]
    return (boxes * (unit * 2)).astype(np.float32)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: "-".join(str(v) for v in form.values() if isinstance(v, str)))
@pytest.mark.parametrize("activation", ["none", "sigmoid", "softmax"])
@pytest.mark.parametrize("background", ["none", "first", "last"])
def test_every_form_decodes_as_defined(form: dict[str, Any], activation: str, background: str) -> None:
    random = np.random.default_rng(len(str(form)) + len(activation + background))
    channels = 3 + (background != "none")
    raw = (
        random.uniform(0, 1, (2, PRIOR_COUNT, channels)) ** 3
        if activation == "none"
        else random.normal(-1, 3, (2, PRIOR_COUNT, channels))
    )
    raw = raw.astype(np.float32)
    boxes = np.stack([random_boxes(random, form, PRIOR_COUNT) for _ in range(2)])
    options = {**form, "activation": activation, "background": background}

    interface = interface_of("ssd", shapes_of(boxes=boxes, scores=raw), **options)
    found = decoded(interface, boxes, raw)

    for one, image_boxes, image_raw in zip(found, boxes, raw, strict=True):
        assert len(one.scores) > 10
        assert_equal(one, reference(image_boxes, image_raw, options))


def test_a_trained_detector_has_most_anchors_in_the_background() -> None:
    """Those are dropped before the softmax, which has to change nothing."""
    random = np.random.default_rng(7)
    raw = random.normal(0, 2, (1, PRIOR_COUNT, 4)).astype(np.float32)
    raw[:, :, 0] += 8
    options = {**FORMS[5], "activation": "softmax", "background": "first"}
    boxes = random_boxes(random, options, PRIOR_COUNT)[None]

    (found,) = decoded(interface_of("ssd", shapes_of(boxes=boxes, scores=raw), **options), boxes, raw)

    assert 3 < len(found.scores) < 60
    assert_equal(found, reference(boxes[0], raw[0], options))


def test_boxes_of_four_axes_and_transposed_scores_decode_alike() -> None:
    random = np.random.default_rng(1)
    boxes, scores = random_boxes(random, FORMS[0], 200)[None], random.uniform(0, 1, (1, 200, 3)).astype(np.float32)
    (first,) = decoded(interface_of("ssd", shapes_of(boxes=boxes, confs=scores)), boxes, scores)

    other_boxes, other_scores = boxes[:, :, None], np.ascontiguousarray(scores.transpose(0, 2, 1))
    interface = interface_of("ssd", shapes_of(boxes=other_boxes, confs=other_scores))
    (second,) = decoded(interface, other_boxes, other_scores)

    assert (first.boxes == second.boxes).all()
    assert (first.scores == second.scores).all()


@pytest.mark.parametrize("seed", range(5))
def test_decoding_what_was_encoded_gives_the_boxes_back(seed: int) -> None:
    random = np.random.default_rng(seed)
    priors = np.array(reference_priors())
    corner = random.uniform(0, [60, 40], (PRIOR_COUNT, 2))
    boxes = np.concatenate([corner, corner + random.uniform(2, 24, (PRIOR_COUNT, 2))], axis=1)
    centre, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    offsets = np.concatenate(
        [(centre - priors[:, :2]) / priors[:, 2:] / 0.1, np.log(sides / priors[:, 2:]) / 0.2], axis=1
    )
    scores = np.zeros((1, PRIOR_COUNT, 4), np.float32)
    scores[0, range(PRIOR_COUNT), 1 + np.arange(PRIOR_COUNT) % 3] = np.linspace(0.9, 0.3, PRIOR_COUNT)
    options = {"coordinates": "offsets", "priors": PRIORS, "background": "first", "iou_max": 1.0}

    interface = interface_of(
        "ssd",
        {"boxes": (1, PRIOR_COUNT, 4), "scores": (1, PRIOR_COUNT, 4)},
        outputs={"boxes": "boxes", "scores": "scores"},
        **options,
    )
    (found,) = decoded(interface, offsets[None].astype(np.float32), scores)

    np.testing.assert_allclose(found.boxes, boxes, atol=2e-3)
    assert found.labels.tolist() == (np.arange(PRIOR_COUNT) % 3).tolist()


def test_priors_of_ssd300_are_those_of_its_paper() -> None:
    """38, 19, 10, 5, 3 and 1 cells a side with 4 or 6 default boxes: 8732 (section 3.1)."""
    levels = [
        {"stride": stride, "boxes": [[30, 30]] * boxes}
        for stride, boxes in ((8, 4), (16, 6), (32, 6), (64, 6), (100, 4), (300, 4))
    ]
    shapes = {"bbox_regression": (1, 8732, 4), "cls_logits": (1, 8732, 4)}
    names = {"boxes": "bbox_regression", "scores": "cls_logits"}
    options = {"coordinates": "offsets", "activation": "softmax", "background": "first", "outputs": names}
    interface = interface_of("ssd", shapes, size=(300, 300), priors=levels, **options)
    assert [head.name for head in interface.heads] == ["bbox_regression", "cls_logits"]
    with pytest.raises(ValueError, match=r"8728 priors .* but the graph gives 8732 boxes"):
        interface_of("ssd", shapes, size=(300, 300), priors=levels[:-1], **options)


@pytest.mark.parametrize("activation", ["none", "sigmoid", "softmax"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_numbers_that_are_not_finite_spoil_no_other_anchor(activation: str, value: float) -> None:
    scores = np.array([[[0, 8, 0, 0], [0, 0, 8, 0], [0, 0, 0, 8]]], np.float32) / (8 if activation == "none" else 1)
    boxes = np.array([[[0, 0, 0.2, 0.2], [0.3, 0, 0.5, 0.5], [0.6, 0, 0.9, 1]]], np.float32)
    scores[0, 0, 2], boxes[0, 1, 2] = value, value
    interface = interface_of(
        "ssd",
        {"boxes": (1, 3, 4), "scores": (1, 3, 4)},
        outputs={"boxes": "boxes", "scores": "scores"},
        activation=activation,
        background="first",
    )

    (found,) = decoded(interface, boxes, scores)

    assert np.isfinite(found.boxes).all()
    last = found.boxes[found.labels == 2]
    assert any(np.allclose(box, [57.6, 0, 86.4, 64], atol=1e-3) for box in last)


def test_scores_below_the_minimum_give_no_detections() -> None:
    boxes, scores = np.zeros((1, 5, 4), np.float32), np.zeros((1, 5, 3), np.float32)
    (found,) = decoded(interface_of("ssd", shapes_of(boxes=boxes, scores=scores)), boxes, scores)
    assert found.boxes.shape == (0, 4)
    assert found.labels.dtype == np.int64
