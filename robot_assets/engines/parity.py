"""Compares the heads of an engine with those of the exported graph. Needs neither torch nor ONNX Runtime.

The ONNX artifact has recorded heads on a few images of val: those of the quantized model that was exported. The gate of
the ONNX compares the Q/DQ graph with them, in ONNX Runtime with graph optimizations off, before any engine is built
from it. So a device compares its engine with the graph without running the graph, which a Jetson may not be able to do.
The tolerances are those of the export, in scores and cells (docs/decisions/004).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robot_assets.core.errors import ExportError
from robot_assets.export.parity import BOX_TOLERANCE, REFERENCE, SCORE_TOLERANCE, differing_share
from robot_assets.tasks.detection.decode import output_names

if TYPE_CHECKING:
    from robot_assets.tasks.detection.spec import NetworkSpec

Heads = Sequence[NDArray[np.floating]]


@dataclass(frozen=True)
class Parity:
    """Differences between the heads of two networks on the same images.

    Attributes:
        images: How many were compared.
        differing_share: Share of head values beyond the tolerances.
        largest_score_difference: Of class heads, as scores in [0, 1].
        largest_box_difference_cells: Of box heads.
    """

    images: int
    differing_share: float
    largest_score_difference: float
    largest_box_difference_cells: float

    def as_json(self) -> dict[str, float | int]:
        """Plain data, with the tolerances."""
        return {**asdict(self), "score_tolerance": SCORE_TOLERANCE, "box_tolerance_cells": BOX_TOLERANCE}


@dataclass(frozen=True)
class Recorded:
    """The recorded heads of an ONNX artifact.

    Attributes:
        indices: Images of val.
        heads: Heads of each image, (1, channels, rows, columns), in the order of ``output_names``.
    """

    indices: tuple[int, ...]
    heads: tuple[Heads, ...]


def read_recorded(onnx: Path, network: NetworkSpec) -> Recorded:
    """Read the recorded heads of the ONNX artifact ``onnx``.

    Raises:
        ExportError: It has none, or they are of another network.
    """
    names = output_names(network)
    reference = _read(onnx / REFERENCE, names)
    indices = tuple(int(index) for index in reference["indices"])
    heads = tuple([reference[name][row : row + 1] for name in names] for row in range(len(indices)))
    return Recorded(indices, heads)


def parity_of(pairs: Sequence[tuple[Heads, Heads]], network: NetworkSpec) -> Parity:
    """Compare the heads of two networks image by image, in the order of ``output_names``."""
    names = output_names(network)
    scores, boxes = [0.0], [0.0]
    for ours, theirs in pairs:
        for name, one, other in zip(names, ours, theirs, strict=True):
            if name.startswith("cls"):
                scores.append(float(np.abs(_sigmoid(one) - _sigmoid(other)).max()))
            else:
                boxes.append(float(np.abs(one - other).max()))
    share = differing_share(
        names * len(pairs),
        [head for ours, _ in pairs for head in ours],
        [head for _, theirs in pairs for head in theirs],
    )
    return Parity(len(pairs), share, max(scores), max(boxes))


def _sigmoid(logits: NDArray[np.floating]) -> NDArray[np.floating]:
    scores: NDArray[np.floating] = 0.5 * (1 + np.tanh(0.5 * logits))
    return scores


def _read(path: Path, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        reference: dict[str, NDArray[Any]] = load(path.read_bytes())
    except (OSError, ValueError, SafetensorError) as error:
        raise _incomplete(path, f"{type(error).__name__}: {error}") from None
    if missing := sorted({"indices", *names} - reference.keys()):
        raise _incomplete(path, f"it has no {', '.join(missing)}")
    return reference


def _incomplete(path: Path, why: str) -> ExportError:
    return ExportError(
        f"{path} does not have the heads of the exported model ({why})",
        needed="the ONNX artifact that the engine was built from",
        fix="export again, or restore the whole directory from the store",
    )
