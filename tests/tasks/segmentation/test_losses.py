"""The terms of the loss, against their definitions."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from robot_assets.tasks.segmentation.classes import IGNORED
from robot_assets.tasks.segmentation.losses import class_shares, cross_entropy, dice, lovasz_softmax, majority

CLASSES = 4


def random_masks(seed: int, shape: tuple[int, ...] = (2, 16, 24)) -> Tensor:
    masks = np.random.default_rng(seed).integers(0, CLASSES + 1, shape)
    return torch.from_numpy(np.where(masks == CLASSES, IGNORED, masks).astype(np.uint8))


@pytest.mark.parametrize(("rows", "columns"), [(4, 6), (16, 24), (8, 6), (1, 1)])
def test_shares_are_counts_of_pixels(rows: int, columns: int) -> None:
    masks = random_masks(1)
    shares = class_shares(masks, CLASSES, rows, columns)

    height, width = 16 // rows, 24 // columns
    for image, index, row, column in np.ndindex(2, CLASSES, rows, columns):
        cell = masks[image, row * height : (row + 1) * height, column * width : (column + 1) * width]
        assert float(shares[image, index, row, column]) == pytest.approx(float((cell == index).float().mean()))


@pytest.mark.parametrize("stride", [1, 2, 4, 8])
def test_cross_entropy_is_that_of_nearest_upsampling_at_full_resolution(stride: int) -> None:
    torch.manual_seed(0)
    masks, weights = random_masks(2), torch.tensor([1.0, 2.0, 0.5, 4.0])
    logits = torch.randn(2, CLASSES, 16 // stride, 24 // stride, requires_grad=True)
    ours = cross_entropy(logits, class_shares(masks, CLASSES, *logits.shape[2:]), weights)
    (gradient,) = torch.autograd.grad(ours, logits)

    upsampled = functional.interpolate(logits, scale_factor=stride, mode="nearest")
    expected = functional.cross_entropy(upsampled, masks.long(), weights, ignore_index=IGNORED)
    (expected_gradient,) = torch.autograd.grad(expected, logits)

    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(gradient, expected_gradient)


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), pixels=st.integers(1, 40))
def test_lovasz_softmax_is_the_lovasz_extension_of_the_jaccard_loss(seed: int, pixels: int) -> None:
    rng = np.random.default_rng(seed)
    probabilities = torch.from_numpy(rng.dirichlet(np.ones(CLASSES), pixels))
    labels = random_masks(seed, (pixels,)).long()

    ours = lovasz_softmax(probabilities, labels)

    assert float(ours) == pytest.approx(_lovasz_softmax_by_definition(probabilities.numpy(), labels.numpy()), abs=1e-6)


def test_lovasz_softmax_of_certain_predictions_is_1_minus_their_mean_iou() -> None:
    labels = torch.tensor([0, 0, 0, 1, 1, 2])
    predicted = torch.tensor([0, 0, 1, 1, 1, 1])

    loss = lovasz_softmax(functional.one_hot(predicted, CLASSES).float(), labels)

    assert float(loss) == pytest.approx(1 - (2 / 3 + 2 / 4 + 0) / 3)


def test_the_gradient_of_lovasz_softmax_is_that_of_finite_differences() -> None:
    torch.manual_seed(0)
    probabilities = torch.rand(12, CLASSES, dtype=torch.float64, requires_grad=True)
    labels = random_masks(3, (12,)).long()
    assert torch.autograd.gradcheck(lambda p: lovasz_softmax(p, labels), probabilities, atol=1e-4)


def test_dice_is_0_for_the_truth_and_1_for_its_opposite() -> None:
    masks = random_masks(4)
    truth = class_shares(masks, CLASSES, 16, 24)
    other = class_shares((masks + 1) % CLASSES, CLASSES, 16, 24)

    assert float(dice(truth, truth)) == pytest.approx(0, abs=1e-6)
    assert float(dice(other, truth)) == pytest.approx(1)


def test_dice_is_the_mean_over_the_classes_of_the_batch() -> None:
    truth = class_shares(torch.tensor([[[0, 0, 1, 1]]], dtype=torch.uint8), CLASSES, 1, 4)
    found = class_shares(torch.tensor([[[0, 0, 0, 1]]], dtype=torch.uint8), CLASSES, 1, 4)
    assert float(dice(found, truth)) == pytest.approx(1 - (2 * 2 / 5 + 2 * 1 / 3) / 2)


def test_the_majority_of_a_cell_leaves_out_cells_that_are_mostly_ignored() -> None:
    masks = torch.tensor([[[1, 1, IGNORED, IGNORED, 2, IGNORED], [1, 0, 3, IGNORED, 2, 2]]], dtype=torch.uint8)
    assert majority(class_shares(masks, CLASSES, 1, 3)).tolist() == [[[1, IGNORED, 2]]]


def _lovasz_softmax_by_definition(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Definition 1 and equations 8 to 11 of arXiv 1705.08790, with the set function on each chain of errors."""
    known = labels != IGNORED
    probabilities, labels = probabilities[known], labels[known]
    terms = []
    for index in sorted(set(labels.tolist())):
        errors = np.where(labels == index, 1 - probabilities[:, index], probabilities[:, index])
        order = sorted(range(len(errors)), key=lambda pixel: -errors[pixel])
        chain = [_jaccard_loss(set(order[:size]), labels == index) for size in range(len(order) + 1)]
        steps = [after - before for before, after in pairwise(chain)]
        terms.append(sum(errors[pixel] * step for pixel, step in zip(order, steps, strict=True)))
    return float(np.mean(terms)) if terms else 0.0


def _jaccard_loss(wrong: set[int], is_class: np.ndarray) -> float:
    """1 minus the IoU of a class if the pixels of ``wrong`` are mispredicted."""
    truth = set(np.flatnonzero(is_class).tolist())
    return len(wrong) / len(truth | wrong)
