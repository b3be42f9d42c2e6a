"""Checks that a graph gives the recorded answers of its model, in ONNX Runtime without optimizations. Needs no torch.

Single values may differ: a sum in another order can fall on the other side of a rounding boundary, and the int8 step
propagates. The gate is therefore on the share of differing values and on accuracy, not on the largest difference.
The artifact contains the answers on a few images of val, so that the check runs without the model: torch's for a
network that was trained here, those of the imported graph for a foreign one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from robot_assets.core.errors import ExportError
from robot_assets.core.validation import mistakes
from robot_assets.core.verdict import Verdict
from robot_assets.tasks.comparison import SCALES, differences
from robot_assets.tasks.interface import Head, Input, Interface
from robot_assets.tasks.registry import task_of

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

    from robot_assets.data.packed import PackedSplit

MODEL = "model.onnx"
CARD = "model.json"
PARITY = "parity.json"
REFERENCE = "reference.safetensors"

IMAGES_MAX = 8
DIFFERING_SHARE_MAX = 0.005
DROP_POINTS_MAX = 0.2

Heads = Sequence[NDArray[Any]]

_PHRASES = {
    "logits": "of a score",
    "exclusive_logits": "of a probability",
    "scores": "of a score",
    "cells": "cells",
    "pixels": "pixels",
    "fractions": "of the input",
    "labels": "in class index",
    "counts": "in rows",
    "values": "in value",
}
"""After a difference, by the meaning of the values."""


@dataclass(frozen=True)
class Parity:
    """Differences between the heads of two implementations on the same images.

    Attributes:
        images: How many were compared.
        differing_share: Share of head values beyond the tolerance of their meaning.
        largest: The largest difference by meaning, in its unit (``robot_assets.tasks.comparison``).
    """

    images: int
    differing_share: float
    largest: Mapping[str, float]

    @property
    def largest_in_words(self) -> str:
        """The largest differences with their units: ``0.003 of a score and 0.02 cells``."""
        return " and ".join(f"{value:.3g} {_PHRASES[meaning]}" for meaning, value in self.largest.items())

    def as_json(self) -> dict[str, Any]:
        """Plain data, with the tolerances."""
        return {
            "images": self.images,
            "differing_share": self.differing_share,
            "largest_differences": {meaning: round(value, 6) for meaning, value in self.largest.items()},
            "tolerances": {meaning: SCALES[meaning].tolerance for meaning in self.largest},
        }


def parity_of(pairs: Iterable[tuple[Heads, Heads]], heads: Sequence[Head]) -> Parity:
    """Compare the heads of two implementations image by image; only one image is kept in memory.

    Args:
        pairs: Values of ``heads`` in their order, of either implementation, for each image.
        heads: What they are.
    """
    images, beyond, values = 0, 0, 0
    largest: dict[str, float] = {part.meaning: 0.0 for head in heads for part in head.parts}
    for ours, theirs in pairs:
        images += 1
        for one in differences(heads, ours, theirs):
            beyond, values = beyond + one.beyond, values + one.values.size
            largest[one.meaning] = max(largest[one.meaning], float(np.fmax.reduce(one.values, axis=None, initial=0)))
    return Parity(images, beyond / max(1, values), largest)


def tolerances_of(heads: Sequence[Head]) -> dict[str, float]:
    """Tolerance of each meaning in ``heads``, in its unit."""
    return {part.meaning: SCALES[part.meaning].tolerance for head in heads for part in head.parts}


def check_parity(onnx_dir: Path, dataset: Path) -> Verdict:
    """Compare ``model.onnx`` of ``onnx_dir`` with its recorded answers, and its accuracy on val of ``dataset``.

    Raises:
        ExportError: The artifact is incomplete.
        ParamsError: Its task is not installed here.
    """
    from robot_assets.data.packed import open_split

    interface, recorded, expected = _read(onnx_dir)
    metric = task_of(interface.task).metric
    infer = runner(plain_session(onnx_dir / MODEL), interface)
    val = open_split(dataset, "val")
    parity = parity_of(
        ((infer(read_input(val, index, interface.input)), answer) for index, answer in recorded), interface.heads
    )
    score = _score(infer, val, interface)
    moved = 100 * abs(score - expected)
    passed = parity.differing_share <= DIFFERING_SHARE_MAX and moved <= DROP_POINTS_MAX
    summary = (
        f"{100 * parity.differing_share:.3f} % of the values differ from the recorded answers "
        f"(at most {100 * DIFFERING_SHARE_MAX:g} %), "
        f"{metric.name} on val moved by {moved:.3f} points (at most {DROP_POINTS_MAX:g})"
    )
    facts: dict[str, object] = {
        **parity.as_json(),
        "differing_share_max": DIFFERING_SHARE_MAX,
        f"{metric.key}_recorded": expected,
        f"{metric.key}_onnx": score,
        "moved_points": moved,
        "moved_points_max": DROP_POINTS_MAX,
    }
    return Verdict(passed, summary, "" if passed else _FIX, facts)


_FIX = (
    "rebuild the onnx asset; if parity fails again, an operator is exported or rewritten wrongly: compare the heads "
    "one by one with ONNX Runtime's optimizations off"
)


def reference_indices(images: int) -> list[int]:
    """Evenly spaced indices of at most :data:`IMAGES_MAX` of ``images`` images."""
    return sorted({int(index) for index in np.linspace(0, images - 1, min(IMAGES_MAX, images))})


def read_input(split: PackedSplit, index: int, input: Input) -> NDArray[np.float32]:
    """Image ``index`` of ``split`` as float32 (1, 3, H, W), preprocessed as ``input`` says."""
    from robot_assets.runtime.preprocess import fitted, to_input

    return to_input([fitted(split.image(index), input).image], input)


def plain_session(path: Path) -> InferenceSession:
    """Open a session that runs the graph as written, without optimizations: fused kernels round at other places."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def runner(session: InferenceSession, interface: Interface) -> Callable[[NDArray[np.float32]], list[NDArray[Any]]]:
    """A function that runs ``session``: images float32 (1, 3, H, W) -> the heads of ``interface`` in their order."""
    names, images = list(interface.head_names), interface.input.name

    def run(pixels: NDArray[np.float32]) -> list[NDArray[Any]]:
        heads: list[NDArray[Any]] = session.run(names, {images: pixels})
        return heads

    return run


def _score(infer: Callable[..., list[NDArray[Any]]], val: PackedSplit, interface: Interface) -> float:
    from robot_assets.training.evaluate import evaluate

    return evaluate(infer, val, interface).score


def _read(onnx_dir: Path) -> tuple[Interface, list[tuple[int, list[NDArray[Any]]]], float]:
    """The interface, the recorded heads with the index of their image in val, and the score of the model on val."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        card = json.loads((onnx_dir / CARD).read_bytes())
        interface = Interface.model_validate(card["interface"])
        choice = card["choice"]
        expected = float(choice["scores_val"][choice["method"]])
        reference = load((onnx_dir / REFERENCE).read_bytes())
        rows = [
            (int(index), [reference[name][row : row + 1] for name in interface.head_names])
            for row, index in enumerate(reference["indices"])
        ]
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        text = "; ".join(mistakes(error)) if isinstance(error, ValidationError) else f"{type(error).__name__}: {error}"
        raise ExportError(
            f"{onnx_dir} is not a complete ONNX artifact ({text})",
            needed=f"{MODEL}, {CARD}, {PARITY} and {REFERENCE}",
            fix="rebuild the onnx asset, or restore its directory from the store",
        ) from None
    return interface, rows, expected
