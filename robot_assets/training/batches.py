"""Batches of augmented images. What is in one depends on the seed, the epoch and its place, nothing else.

So a training that resumes at an epoch sees the very batches that it would have seen, whatever the number of
threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from robot_assets.models.assign import Targets
from robot_assets.training.augment import augment
from robot_assets.training.images import Picture, Pictures
from robot_assets.training.spec import TrainingSpec

AHEAD_ON_GPU = 6
"""Batches prepared while the device computes. On a CPU none is: the cores are busy with the step itself."""


@dataclass(frozen=True)
class Batch:
    """What one training step sees.

    Attributes:
        images: float32 (N, 3, H, W) RGB in [0, 1], channels_last in memory.
        targets: The objects.
    """

    images: Tensor
    targets: Targets


class Batches:
    """Augmented batches of a training split, all of the same size.

    Args:
        pictures: The training pictures.
        spec: Batch size, seed, augmentation, threads.
        device: Where the batches go.
    """

    def __init__(self, pictures: Pictures | Sequence[Picture], spec: TrainingSpec, device: torch.device) -> None:
        self._pictures = pictures
        self._spec = spec
        self._device = device
        self._pool = ThreadPoolExecutor(max_workers=max(1, torch.get_num_threads() - 1))  # The caller helps.

    def __len__(self) -> int:
        """Batches an epoch. Images that do not fill one wait for the next shuffle."""
        return max(1, len(self._pictures) // self._spec.batch_size)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """The batches of epoch number ``epoch``, from 0."""
        order = self._order(epoch)
        ahead = AHEAD_ON_GPU if self._device.type == "cuda" else 0
        pending: list[list[_Job]] = []
        for number in range(len(self) + ahead):
            if number < len(self):
                pending.append(self._begin(epoch, number, order))
            if number >= ahead:
                yield self._finish(_taken(pending.pop(0)))

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(cancel_futures=True)

    def _order(self, epoch: int) -> np.ndarray:
        rng = np.random.default_rng([self._spec.seed, epoch])
        order = rng.permutation(len(self._pictures))
        wanted = len(self) * self._spec.batch_size
        return np.resize(order, wanted)

    def _begin(self, epoch: int, number: int, order: np.ndarray) -> list[_Job]:
        spec = self._spec
        whole = epoch >= spec.epochs - spec.plain_epochs
        slots = range(number * spec.batch_size, (number + 1) * spec.batch_size)

        def one(slot: int) -> Picture:
            rng = np.random.default_rng([spec.seed, epoch, slot])
            return augment(self._pictures, int(order[slot]), spec.augmentation, rng, whole=whole)

        makes = [partial(one, slot) for slot in slots]
        return [_Job(make, self._pool.submit(make)) for make in makes]

    def _finish(self, pictures: Sequence[Picture]) -> Batch:
        stacked = torch.from_numpy(np.stack([picture.image for picture in pictures]))
        # The view is channels_last. Dividing in place spares a second batch of floats, whose fresh pages cost
        # more than the division.
        images = stacked.to(self._device, non_blocking=True).permute(0, 3, 1, 2).float().div_(255)
        return Batch(images, targets_of(pictures).to(self._device))


@dataclass(frozen=True)
class _Job:
    make: Callable[[], Picture]
    future: Future[Picture]


def _taken(jobs: Sequence[_Job]) -> list[Picture]:
    """The pictures of ``jobs``. From the last one on, the caller makes what no thread has begun.

    Right after a step the other cores are not free: the kernel threads of torch spin on them for milliseconds.
    The core of the caller is.
    """
    backwards = [job.make() if job.future.cancel() else job.future.result() for job in reversed(jobs)]
    return backwards[::-1]


def targets_of(pictures: Sequence[Picture]) -> Targets:
    """The objects of ``pictures`` as the targets of one batch."""
    counts = [len(picture.labels) for picture in pictures]
    return Targets(
        image=torch.from_numpy(np.repeat(np.arange(len(pictures)), counts)),
        boxes=torch.from_numpy(np.concatenate([picture.boxes for picture in pictures])),
        labels=torch.from_numpy(np.concatenate([picture.labels for picture in pictures])),
    )
