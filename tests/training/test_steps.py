from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from robot_assets.core.errors import TrainingError
from robot_assets.data.packed import open_split
from robot_assets.tasks.detection.spec import NetworkSpec
from robot_assets.training.batches import Batch, Batches
from robot_assets.training.ema import MovingAverage
from robot_assets.training.images import LabelledImages
from robot_assets.training.schedule import Schedule
from robot_assets.training.spec import TrainingSpec
from robot_assets.training.steps import Trainer
from tests.detectors import detector, interface, learning

NETWORK = NetworkSpec(input_height=64, input_width=96, width=8)
SPEC = TrainingSpec(epochs=2, batch_size=8, threads=1)
INPUT, LEARNING = interface(NETWORK).input, learning(NETWORK)
CPU = torch.device("cpu")


def first_batch(dataset: Path, spec: TrainingSpec, memory_limit_mb: int = 100) -> Batch:
    images = LabelledImages(open_split(dataset, "train"), INPUT, LEARNING, memory_limit_mb)
    batches = Batches(images, spec, LEARNING, INPUT, CPU)
    try:
        return next(iter(batches.epoch(1)))
    finally:
        batches.close()


def test_the_learning_rate_rises_and_then_falls_to_a_hundredth() -> None:
    schedule = Schedule(peak=1.0, warmup_steps=10, steps=100)
    rates = [schedule.at(step) for step in range(100)]
    assert rates[:10] == sorted(rates[:10])
    assert rates[9] == 1.0
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0.01, abs=0.001)


def test_weights_are_averaged_and_counters_are_copied() -> None:
    network = nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1))
    average = MovingAverage(network, decay=0.5)
    with torch.no_grad():
        network[0].weight.fill_(1.0)
        average.network[0].weight.fill_(0.0)
    network[1].num_batches_tracked.fill_(7)
    average.update()
    average.update()
    assert 0 < average.network[0].weight.item() < 1
    assert average.network[1].num_batches_tracked == 7
    assert not average.network.training


def test_a_batch_does_not_depend_on_earlier_batches_or_on_the_cache(drawn_dataset: Path) -> None:
    one = first_batch(drawn_dataset, SPEC)
    other = first_batch(drawn_dataset, SPEC.model_copy(update={"memory_limit_mb": 1}), memory_limit_mb=0)
    assert torch.equal(one.images, other.images)
    assert torch.equal(one.targets.boxes, other.targets.boxes)
    assert one.images.shape == (8, 3, 64, 96)
    assert one.images.is_contiguous(memory_format=torch.channels_last)
    assert 0 <= one.images.min() <= one.images.max() <= 1


def test_another_seed_gives_other_batches(drawn_dataset: Path) -> None:
    one = first_batch(drawn_dataset, SPEC)
    other = first_batch(drawn_dataset, SPEC.model_copy(update={"seed": 1}))
    assert not torch.equal(one.images, other.images)


def test_a_split_smaller_than_a_batch_fills_one_by_repetition(drawn_dataset: Path) -> None:
    batch = first_batch(drawn_dataset, SPEC.model_copy(update={"batch_size": 64}))
    assert len(batch.images) == 64


def test_a_loss_that_is_not_finite_is_reported_with_its_step_and_a_fix(drawn_dataset: Path) -> None:
    network = detector(NETWORK)
    trainer = Trainer(network, LEARNING, SPEC, Schedule(1e-3, 0, 10), CPU)
    batch = first_batch(drawn_dataset, SPEC)
    with torch.no_grad():
        network.stem[0].weight.fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"at epoch 3, step 2 of 9, learning rate 0\.001") as caught:
        trainer.train_step(batch, 1e-3, "epoch 3, step 2 of 9")
    assert "training.learning_rate" in caught.value.fix


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"plain_epochs": 3}, "plain_epochs=3"),
        ({"warmup_epochs": 2.0}, "warmup_epochs=2"),
        ({"epoch": 3}, "epoch"),
    ],
)
def test_contradictory_schedules_are_refused_with_the_field(change: dict[str, float], field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        TrainingSpec.model_validate({"epochs": 2, **change})


def test_the_same_seed_gives_the_same_steps(drawn_dataset: Path) -> None:
    batch = first_batch(drawn_dataset, SPEC)
    losses = []
    for _ in range(2):
        trainer = Trainer(detector(NETWORK).train(), LEARNING, SPEC, Schedule(1e-3, 0, 10), CPU)
        losses.append([trainer.train_step(batch, 1e-3, "").numpy() for _ in range(2)])
    np.testing.assert_array_equal(*losses)
