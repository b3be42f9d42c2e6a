import numpy as np
import pytest

from robot_assets.runtime.preprocess import fitted
from robot_assets.tasks.detection.decode import cells, decode_grid
from robot_assets.tasks.detection.predictions import Detections
from robot_assets.tasks.detection.spec import NetworkSpec
from robot_assets.tasks.interface import Input, Interface
from tests.detectors import interface

SPEC = interface(NetworkSpec(input_height=64, input_width=96, width=8))
BOX = np.array([20.0, 10.0, 31.0, 50.0], np.float32)


def empty_heads(spec: Interface) -> list[np.ndarray]:
    return [np.full(head.shape, -20 if head.name.startswith("cls") else 0, np.float32) for head in spec.heads]


def encode(heads: list[np.ndarray], spec: Interface, box: np.ndarray, label: int, logit: float, shift: int = 0) -> None:
    """Write ``box`` into the cell at its centre, or ``shift`` cells to the right of it."""
    stride = spec.options["strides"][0]
    centre = (box[:2] + box[2:]) / 2
    column, row = (centre / stride).astype(int) + np.array([shift, 0])
    heads[0][0, label, row, column] = logit
    cell = (np.array([column, row]) + 0.5) * stride
    heads[1][0, :, row, column] = [*(centre - cell) / stride, *np.log((box[2:] - box[:2]) / stride)]


def test_a_cell_that_encodes_a_box_decodes_to_that_box() -> None:
    heads = empty_heads(SPEC)
    encode(heads, SPEC, BOX, label=2, logit=2.0)

    (found,) = decode_grid(heads, SPEC)

    np.testing.assert_allclose(found.boxes, [BOX], atol=1e-3)
    np.testing.assert_allclose(found.scores, [1 / (1 + np.exp(-2.0))], rtol=1e-6)
    assert found.labels.tolist() == [2]


def test_the_lower_score_of_two_equal_boxes_of_a_class_is_dropped_and_other_classes_are_kept() -> None:
    heads = empty_heads(SPEC)
    encode(heads, SPEC, BOX, label=0, logit=1.0)
    encode(heads, SPEC, BOX, label=0, logit=3.0, shift=1)
    encode(heads, SPEC, BOX, label=1, logit=2.0, shift=2)

    (found,) = decode_grid(heads, SPEC)

    assert found.labels.tolist() == [0, 1]
    assert (np.diff(found.scores) <= 0).all()


def greedy(found: Detections, iou_max: float) -> list[int]:
    """Textbook non-maximum suppression: box by box, each against all that are kept."""
    kept: list[int] = []
    for index, (box, label) in enumerate(zip(found.boxes.astype(np.float64), found.labels, strict=True)):
        others = [found.boxes[other].astype(np.float64) for other in kept if found.labels[other] == label]
        if all(iou(box, other) <= iou_max for other in others):
            kept.append(index)
    return kept


def iou(box: np.ndarray, other: np.ndarray) -> float:
    sides = np.clip(np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2]), 0, None)
    areas = [np.prod(each[2:] - each[:2]) for each in (box, other)]
    return sides.prod() / (sum(areas) - sides.prod())


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("detections_max", [20, 1000])
def test_suppression_in_blocks_keeps_the_boxes_of_the_textbook_algorithm(seed: int, detections_max: int) -> None:
    """More boxes than a block has, of few classes and close to each other."""
    random = np.random.default_rng(seed)
    spec = interface(NetworkSpec(input_height=256, input_width=256, width=8), ("one", "other"))
    heads = empty_heads(spec)
    for stride, logits, boxes in zip(spec.options["strides"], heads[0::2], heads[1::2], strict=True):
        middle = slice(64 // stride, 192 // stride)  # so far from the border that no box is clipped
        logits[:, :, middle, middle] = random.normal(-2, 2, logits[:, :, middle, middle].shape)
        boxes[:] = random.normal(0.3, 0.25, boxes.shape)

    (everything,) = decode_grid(heads, spec, iou_max=1.0, candidates_max=400, detections_max=400)
    (found,) = decode_grid(heads, spec, iou_max=0.5, candidates_max=400, detections_max=detections_max)

    kept = greedy(everything, 0.5)[:detections_max]
    assert 20 <= len(kept) < len(everything.scores) == 400
    assert (found.boxes == everything.boxes[kept]).all()
    assert (found.scores == everything.scores[kept]).all()
    assert (found.labels == everything.labels[kept]).all()


def test_extreme_outputs_decode_to_finite_boxes_inside_the_input() -> None:
    heads = empty_heads(SPEC)
    heads[0][:] = 5
    heads[1][:] = 1e4

    (found,) = decode_grid(heads, SPEC)

    assert np.isfinite(found.boxes).all()
    assert found.boxes.min() >= 0
    assert (found.boxes.max(axis=0) <= [96, 64, 96, 64]).all()


def test_heads_without_a_candidate_give_empty_detections() -> None:
    (found,) = decode_grid(empty_heads(SPEC), SPEC)
    assert found.boxes.shape == (0, 4)
    assert found.labels.dtype == np.int64


def test_heads_of_another_network_are_refused_with_the_name_of_the_head() -> None:
    other = interface(NetworkSpec(input_height=128, input_width=96, width=8))
    with pytest.raises(ValueError, match="cls_s8 has shape"):
        decode_grid(empty_heads(other), SPEC)


def test_cells_cover_the_input_row_by_row() -> None:
    centres, strides = cells(64, 96, (8, 16))
    assert centres[0].tolist() == [4, 4]
    assert centres[1].tolist() == [12, 4]
    assert strides[-1] == 16
    assert len(centres) == 8 * 12 + 4 * 6


@pytest.mark.parametrize("size", [(480, 640), (640, 480), (33, 200), (64, 96)])
def test_boxes_are_equal_after_the_letterbox_and_back(size: tuple[int, int]) -> None:
    rows, columns = size
    boxed = fitted(np.zeros((rows, columns, 3), np.uint8), Input(height=64, width=96))
    boxes = np.array([[1, 2, columns - 3, rows - 1], [0, 0, columns, rows]], np.float32)

    assert boxed.image.shape == (64, 96, 3)
    inside = boxed.boxes_to_input(boxes)
    assert (inside >= -0.51).all()
    found = Detections(inside, np.ones(2, np.float32), np.zeros(2, np.int64)).in_image(boxed)
    np.testing.assert_allclose(found.boxes, boxes, atol=1e-2)


def test_a_letterbox_contains_the_whole_image_on_grey() -> None:
    white = np.full((50, 50, 3), 255, np.uint8)
    boxed = fitted(white, Input(height=64, width=96))
    assert (boxed.image[:, :16] == 114).all()
    assert (boxed.image[:, 16:80] == 255).all()
    assert (boxed.pad_x, boxed.pad_y) == (16, 0)
