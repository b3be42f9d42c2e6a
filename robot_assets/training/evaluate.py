"""Evaluates anything that maps a batch of images to the heads of a network, by the metric of its task. No torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_assets.core.progress import report
from robot_assets.runtime.preprocess import fitted, to_input
from robot_assets.tasks.interface import Interface
from robot_assets.tasks.metrics import Metrics
from robot_assets.tasks.registry import task_of
from robot_assets.tasks.task import Split

Infer = Callable[[NDArray[np.float32]], Sequence[NDArray[Any]]]
"""Images float32 (N, 3, H, W), preprocessed as the interface says -> its heads, in their order."""


def evaluate(infer: Infer, split: Split, interface: Interface, batch_size: int = 1) -> Metrics:
    """Run ``infer`` on all images of ``split`` and score its predictions.

    Args:
        infer: Images float32 (N, 3, H, W) -> heads.
        split: A packed split.
        interface: Preprocessing of the images, heads and decoder; its task has the metric.
        batch_size: Images per call of ``infer``; the last call gets the remainder. 1 for engines of a fixed batch.
    """
    task = task_of(interface.task)
    decode, scorer = task.load_decoder(interface.decoder), task.load_scorer()(split)
    measured: list[Any] = []
    for start in range(0, len(split), batch_size):
        boxed = [
            fitted(split.image(index), interface.input) for index in range(start, min(start + batch_size, len(split)))
        ]
        heads = infer(to_input([item.image for item in boxed], interface.input))
        for prediction, item in zip(decode(heads, interface), boxed, strict=True):
            measured.append(scorer.measured(len(measured), prediction.in_image(item)))
        report("evaluate", len(measured), len(split))
    return scorer.metrics(measured)
