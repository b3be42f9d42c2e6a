"""Segmentation learns: from the labels of images to a network that finds shapes it has not seen."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn

from robot_assets.core.errors import ParamsError
from robot_assets.runtime.preprocess import fitted, to_input
from robot_assets.tasks.geometry import Placement
from robot_assets.tasks.segmentation.classes import IGNORED
from robot_assets.tasks.segmentation.decode import decode_map
from robot_assets.tasks.segmentation.network import build_compact
from robot_assets.tasks.segmentation.scorer import SegmentationScorer
from robot_assets.tasks.segmentation.spec import CompactSegmenter, SegmentationLossSpec
from robot_assets.tasks.segmentation.training import MaskTargets, SegmentationLearning
from tests.tasks.segmentation.drawn_shapes import CLASSES, Shapes, interface, shapes

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small are faster on one thread, and on a busy machine many times."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def learning(options: SegmentationLossSpec | None = None, **input: object) -> SegmentationLearning:
    return SegmentationLearning(interface(**input), options or SegmentationLossSpec(), CPU)


@pytest.mark.parametrize(
    "options",
    [SegmentationLossSpec(), SegmentationLossSpec(lovasz=1.0, dice=0.5, class_weights={"disc": 2.0})],
    ids=["cross-entropy", "with Lovasz and Dice"],
)
def test_it_finds_shapes_that_it_has_not_seen(options: SegmentationLossSpec) -> None:
    network = trained(shapes(32, seed=1), options, steps=80)

    held_out = shapes(12, seed=2)
    metrics = scored(network, held_out)

    assert metrics.score > 0.9
    assert set(metrics.per_class) == set(CLASSES)


def test_equal_seeds_train_equal_weights() -> None:
    torch.use_deterministic_algorithms(True)
    try:
        options = SegmentationLossSpec(lovasz=1.0, dice=1.0)
        one, other = (trained(shapes(8, seed=1), options, steps=3).state_dict() for _ in range(2))
    finally:
        torch.use_deterministic_algorithms(False)

    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_batch_in_which_every_pixel_is_ignored_has_a_loss_and_gradients_of_0() -> None:
    logits = torch.randn(2, len(CLASSES), 16, 24, requires_grad=True)
    ignored = MaskTargets(torch.full((2, 64, 96), IGNORED, dtype=torch.uint8))

    loss = learning(SegmentationLossSpec(lovasz=1.0, dice=1.0)).loss([logits], ignored)
    loss.total.backward()

    assert float(loss.total.detach()) == 0
    assert set(loss.parts) == {"cross_entropy", "lovasz", "dice"}
    assert logits.grad is not None
    assert not logits.grad.any()


def test_ignored_pixels_change_no_loss() -> None:
    logits = torch.randn(1, len(CLASSES), 16, 24)
    mask = torch.from_numpy(shapes(1, seed=3).masks[0]).clone()[None]
    mask[:, :32] = IGNORED
    half = learning(SegmentationLossSpec(lovasz=1.0, dice=1.0))

    other = logits.clone()
    other[:, :, :8] += torch.randn(1, len(CLASSES), 8, 24)

    assert torch.equal(half.loss([logits], MaskTargets(mask)).total, half.loss([other], MaskTargets(mask)).total)


def test_parts_are_those_of_the_options() -> None:
    targets = MaskTargets(torch.zeros(1, 64, 96, dtype=torch.uint8))
    for options, parts in [
        (SegmentationLossSpec(), ("cross_entropy",)),
        (SegmentationLossSpec(dice=1.0), ("cross_entropy", "dice")),
        (SegmentationLossSpec(lovasz=0.5), ("cross_entropy", "lovasz")),
    ]:
        loss = learning(options).loss([torch.randn(1, len(CLASSES), 16, 24)], targets)
        assert learning(options).parts == tuple(loss.parts) == parts
        assert float(loss.total) == pytest.approx(sum(float(part) for part in loss.parts.values()))


def test_heads_in_bfloat16_give_a_loss_in_float32() -> None:
    heads = [torch.randn(1, len(CLASSES), 16, 24, dtype=torch.bfloat16)]
    assert learning().loss(heads, MaskTargets(torch.zeros(1, 64, 96, dtype=torch.uint8))).total.dtype == torch.float32


def test_a_class_weight_of_no_class_names_its_key_and_the_near_miss() -> None:
    with pytest.raises(ParamsError, match=r"loss\.class_weights\.dics") as error:
        learning(SegmentationLossSpec(class_weights={"dics": 2.0}))
    assert "did you mean 'disc'?" in error.value.found
    assert "background, disc, bar, square" in error.value.needed


@pytest.mark.parametrize("weight", [0.0, -1.0, float("inf"), float("nan")])
def test_a_class_weight_is_a_positive_number(weight: float) -> None:
    with pytest.raises(ValueError, match="class_weights"):
        SegmentationLossSpec(class_weights={"disc": weight})


def test_the_border_of_a_letterboxed_image_is_ignored() -> None:
    split = Shapes([np.zeros((100, 100, 3), np.uint8)], [np.ones((100, 100), np.uint8)])
    task = learning()

    mask = task.labels(split, 0, fitted(split.image(0), interface().input))

    assert mask.shape == (64, 96)
    assert (mask[:, 16:80] == 1).all()
    assert (mask[:, :16] == IGNORED).all()
    assert (mask[:, 80:] == IGNORED).all()


def test_a_stretched_mask_fills_the_input() -> None:
    masks = [np.repeat([[1, 2]], 100, axis=0).repeat(50, axis=1).astype(np.uint8)]
    split = Shapes([np.zeros((100, 100, 3), np.uint8)], masks)
    task = learning(fit="stretch")

    mask = task.labels(split, 0, fitted(split.image(0), interface(fit="stretch").input))

    assert (mask[:, :48] == 1).all()
    assert (mask[:, 48:] == 2).all()


def test_parts_of_masks_are_placed_on_an_ignored_canvas() -> None:
    left, right = np.full((64, 96), 1, np.uint8), np.full((64, 96), 2, np.uint8)
    right[:, 48:] = 3
    placements = [
        Placement(start=(0, 0), end=(48, 32), position=(0, 0), size=(20, 64)),
        Placement(start=(40, 0), end=(56, 64), position=(40, 10), size=(32, 40)),
    ]

    canvas = learning().placed([left, right], placements, (96, 64))

    assert canvas.shape == (64, 96)
    assert (canvas[:, :20] == 1).all()
    assert (canvas[:, 20:40] == IGNORED).all()
    assert (canvas[10:50, 40:56] == 2).all()
    assert (canvas[10:50, 56:72] == 3).all()
    assert (canvas[:10, 40:] == IGNORED).all()


def test_a_mask_is_flipped_like_its_image() -> None:
    mask = shapes(1, seed=4).masks[0]
    assert np.array_equal(learning().flipped(mask, 96), mask[:, ::-1])


def test_crops_are_centred_near_rare_classes() -> None:
    mask = np.zeros((64, 96), np.uint8)
    mask[:, :30] = 1
    mask[40:42, 70:74] = 2

    points = learning().focus_points(mask)

    assert points.dtype == np.float32
    assert 1 <= len(points) <= 4
    assert all(mask[int(y), int(x)] == 2 for x, y in points)
    assert learning().focus_points(np.full((64, 96), IGNORED, np.uint8)).shape == (0, 2)


def test_the_mask_of_a_batch_is_not_changed_by_its_training() -> None:
    masks = shapes(2, seed=5).masks
    targets = learning().targets(masks).to(CPU)
    assert targets.masks.dtype == torch.uint8
    assert np.array_equal(targets.masks.numpy(), np.stack(masks))


def trained(split: Shapes, options: SegmentationLossSpec, steps: int) -> nn.Module:
    """The compact network after some steps of batches of 8."""
    task = SegmentationLearning(interface(), options, CPU)
    torch.manual_seed(0)
    network = build_compact(CompactSegmenter(input_height=64, input_width=96, width=16), CLASSES).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=steps)
    rng = np.random.default_rng(0)
    for _ in range(steps):
        chosen = rng.integers(len(split), size=8)
        boxed = [fitted(split.image(index), interface().input) for index in chosen]
        labels = [task.labels(split, int(index), one) for index, one in zip(chosen, boxed, strict=True)]
        heads = network(torch.from_numpy(to_input([one.image for one in boxed], interface().input)))
        optimizer.zero_grad()
        task.loss(heads, task.targets(labels)).total.backward()
        optimizer.step()
        schedule.step()
    # The averages of batch norms follow slowly: they are those of the last steps alone after so few.
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None
                module.reset_running_stats()
        network(torch.from_numpy(to_input(split.images, interface().input)))
    return network.eval()


def scored(network: nn.Module, split: Shapes):
    scorer = SegmentationScorer(split)
    boxed = [fitted(image, interface().input) for image in split.images]
    with torch.inference_mode():
        heads = [
            head.numpy()
            for head in network(torch.from_numpy(to_input([one.image for one in boxed], interface().input)))
        ]
    found = [one.in_image(box) for one, box in zip(decode_map(heads, interface()), boxed, strict=True)]
    return scorer.metrics([scorer.measured(index, one) for index, one in enumerate(found)])
