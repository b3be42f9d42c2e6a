"""Training throughput against the bare step. Exit code 1 when training is below 0.85 of it.

    python -m benchmarks.training [--model robocup_detector] [--rounds 7]

Bare: forward, loss, backward and optimizer step on one batch in memory.
Training: the work of ``train`` between two evaluations: augmented batches, the step with gradient clipping and
its checks, the moving average. Both run alternately in one process; the ratio is that of the medians.
"""

from __future__ import annotations

import robot_assets.training  # noqa: F401 - first: it sets how threads wait, which torch reads when it loads

# isort: split
import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from robot_assets.pipeline.params import load_params
from robot_assets.tasks.detection.assign import Grid
from robot_assets.tasks.detection.loss import detection_loss
from robot_assets.tasks.detection.network import build_network
from robot_assets.tasks.detection.spec import NetworkSpec
from robot_assets.training.batches import Batch, Batches
from robot_assets.training.device import reproducible, training_device, uses_bfloat16
from robot_assets.training.ema import MovingAverage
from robot_assets.training.images import LabelledImage
from robot_assets.training.schedule import Schedule
from robot_assets.training.spec import TrainingSpec
from robot_assets.training.steps import Trainer, make_optimizer

RATIO_MIN = 0.85
STEPS_PER_ROUND = 4


def noise(network: NetworkSpec, classes: int, count: int) -> list[LabelledImage]:
    """Noise with eight objects per image: the content does not change the time of a step."""
    rng = np.random.default_rng(0)
    size = np.array([network.input_width, network.input_height], np.float32)
    images = []
    for _ in range(count):
        corner = rng.uniform(0, 0.8, (8, 2)).astype(np.float32) * size
        sides = rng.uniform(0.03, 0.2, (8, 2)).astype(np.float32) * size
        image = rng.integers(0, 256, (network.input_height, network.input_width, 3), dtype=np.uint8)
        boxes = np.concatenate([corner, np.minimum(corner + sides, size)], axis=1)
        images.append(LabelledImage(image, boxes, rng.integers(0, classes, 8)))
    return images


def bare_step(network: NetworkSpec, spec: TrainingSpec, batch: Batch, classes: int) -> Callable[[], None]:
    device = training_device()
    module = build_network(network, classes).to(device, memory_format=torch.channels_last).train()
    optimizer = make_optimizer(module, spec)
    grid, is_mixed = Grid(network, device), uses_bfloat16(spec, device)

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=is_mixed):
            heads = module(batch.images)
        optimizer.zero_grad(set_to_none=True)
        detection_loss(heads, batch.targets, grid).total.backward()
        optimizer.step()

    return step


def training_step(network: NetworkSpec, spec: TrainingSpec, batches: Batches, classes: int) -> Callable[[], None]:
    device = training_device()
    module = build_network(network, classes).to(device, memory_format=torch.channels_last).train()
    trainer = Trainer(module, network, spec, Schedule(spec.learning_rate, 0, 10_000), device)
    average = MovingAverage(module, spec.ema_decay)
    endless = _endless(batches)

    def step() -> None:
        trainer.train_step(next(endless), 1e-4, "the benchmark")
        average.update()

    return step


def _endless(batches: Batches) -> Iterator[Batch]:
    epoch = 0
    while True:
        yield from batches.epoch(epoch)
        epoch += 1


def seconds_per_step(step: Callable[[], None]) -> float:
    began = time.perf_counter()
    for _ in range(STEPS_PER_ROUND):
        step()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return (time.perf_counter() - began) / STEPS_PER_ROUND


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="robocup_detector")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    params = load_params(Path(__file__).parents[1] / "params.yaml")
    model = params.models[arguments.model]
    network, spec = model.network, model.training
    classes = len(params.datasets[model.dataset].classes)
    with reproducible(spec):
        batches = Batches(noise(network, classes, 128), spec, training_device())
        bare = bare_step(network, spec, next(iter(batches.epoch(0))), classes)
        training = training_step(network, spec, batches, classes)
        seconds_per_step(bare), seconds_per_step(training)
        rounds = [(seconds_per_step(bare), seconds_per_step(training)) for _ in range(arguments.rounds)]
        batches.close()
        threads = torch.get_num_threads()
    bare_s, training_s = (statistics.median(times) for times in zip(*rounds, strict=True))
    ratio = bare_s / training_s
    precision = "bfloat16" if uses_bfloat16(spec, training_device()) else "float32"
    device = training_device().type
    print(f"{arguments.model}, {device}, {threads} threads, {precision}, batch {spec.batch_size}")
    print(f"{'':10}{'images/s':>10}{'ms/step':>10}")
    for name, seconds in (("bare", bare_s), ("training", training_s)):
        print(f"{name:10}{spec.batch_size / seconds:10.1f}{seconds * 1000:10.1f}")
    print(f"ratio {ratio:.3f}, needed {RATIO_MIN}: {'ok' if ratio >= RATIO_MIN else 'MISSED'}")
    return 0 if ratio >= RATIO_MIN else 1


if __name__ == "__main__":
    sys.exit(main())
