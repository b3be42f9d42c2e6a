"""Batches of augmented images. The content of a batch depends on the seed, the epoch and its number alone.

A training that resumes at an epoch therefore gets the same batches as one that was not interrupted, with any
number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from robot_assets.tasks.interface import Input
from robot_assets.tasks.learning import Learning, Targets
from robot_assets.training.augment import augment
from robot_assets.training.images import LabelledImage, LabelledImages
from robot_assets.training.spec import TrainingSpec

PREFETCH_ON_GPU = 6
"""Batches that are prepared while a GPU computes. None on a CPU: its cores are busy with the step itself."""


@dataclass(frozen=True)
class Batch:
    """The input of one training step.

    Attributes:
        images: float32 (N, 3, H, W), preprocessed, channels_last in memory.
        targets: Their labels.
    """

    images: Tensor
    targets: Targets


class Batches:
    """Augmented batches of a training split, all of the same size.

    Args:
        images: The training images.
        spec: Batch size, seed, augmentation, threads.
        learning: Moves labels, and makes targets of them.
        input: Preprocessing of the images.
        device: Device of the batches.
    """

    def __init__(
        self,
        images: LabelledImages | Sequence[LabelledImage],
        spec: TrainingSpec,
        learning: Learning,
        input: Input,
        device: torch.device,
    ) -> None:
        self._images = images
        self._learning = learning
        self._input = input
        self._spec = spec
        self._device = device
        # One thread less than cores: the caller augments images, too.
        self._pool = ThreadPoolExecutor(max_workers=max(1, torch.get_num_threads() - 1))

    def __len__(self) -> int:
        """Batches per epoch. Images that do not fill a batch are left to the next shuffle."""
        return max(1, len(self._images) // self._spec.batch_size)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """The batches of epoch number ``epoch``, from 0."""
        order = self._order(epoch)
        ahead = PREFETCH_ON_GPU if self._device.type == "cuda" else 0
        pending: list[list[_Job]] = []
        for number in range(len(self) + ahead):
            if number < len(self):
                pending.append(self._submit(epoch, number, order))
            if number >= ahead:
                yield self._assemble(_results(pending.pop(0)))

    def close(self) -> None:
        """Stop the threads."""
        self._pool.shutdown(cancel_futures=True)

    def _order(self, epoch: int) -> np.ndarray:
        rng = np.random.default_rng([self._spec.seed, epoch])
        order = rng.permutation(len(self._images))
        return np.resize(order, len(self) * self._spec.batch_size)

    def _submit(self, epoch: int, number: int, order: np.ndarray) -> list[_Job]:
        spec = self._spec
        allow_mosaic = epoch < spec.epochs - spec.plain_epochs
        slots = range(number * spec.batch_size, (number + 1) * spec.batch_size)

        def augmented(slot: int) -> LabelledImage:
            rng = np.random.default_rng([spec.seed, epoch, slot])
            return augment(
                self._images,
                int(order[slot]),
                spec.augmentation,
                self._learning,
                self._input.padding,
                rng,
                allow_mosaic=allow_mosaic,
            )

        calls = [partial(augmented, slot) for slot in slots]
        return [_Job(call, self._pool.submit(call)) for call in calls]

    def _assemble(self, items: Sequence[LabelledImage]) -> Batch:
        stacked = torch.from_numpy(np.stack([item.image for item in items]))
        images = preprocessed(stacked.to(self._device, non_blocking=True), self._input)
        return Batch(images, self._learning.targets([item.labels for item in items]).to(self._device))


@dataclass(frozen=True)
class _Job:
    call: Callable[[], LabelledImage]
    future: Future[LabelledImage]


def _results(jobs: Sequence[_Job]) -> list[LabelledImage]:
    """Results of ``jobs``. The caller runs those that no thread has started, from the last one backwards.

    Right after a step only the core of the caller is free: torch's kernel threads spin on the others for
    milliseconds.
    """
    backwards = [job.call() if job.future.cancel() else job.future.result() for job in reversed(jobs)]
    return backwards[::-1]


def preprocessed(images: Tensor, input: Input) -> Tensor:
    """Convert images uint8 (N, H, W, 3) RGB to the input of a network: float32 (N, 3, H, W), channels_last."""
    # The view is channels_last. Dividing in place avoids a second batch of floats, whose new pages cost more
    # than the division.
    values = images.permute(0, 3, 1, 2).float().div_(255)
    if input.is_plain:
        return values
    if input.channels == "bgr":
        values = values.flip(1)
    mean, std = (torch.tensor(numbers, device=values.device).view(3, 1, 1) for numbers in (input.mean, input.std))
    return values.sub_(mean).div_(std).contiguous(memory_format=torch.channels_last)
