"""Checks that the exported ONNX gives torch's outputs, in ONNX Runtime without optimizations. Needs no torch.

Single values may differ: a sum in another order can fall on the other side of a rounding boundary, and the int8 step
propagates. The gate is therefore on the share of differing values and on accuracy, not on the largest difference.
The artifact contains torch's outputs on a few images of val, so that the check runs without torch.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robot_assets.core.errors import ExportError
from robot_assets.core.verdict import Verdict

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

    from robot_assets.data.packed import PackedSplit
    from robot_assets.tasks.detection.spec import NetworkSpec

MODEL = "model.onnx"
CARD = "model.json"
PARITY = "parity.json"
REFERENCE = "reference.safetensors"

IMAGES_MAX = 8
SCORE_TOLERANCE = 0.025
"""Class heads are compared by score. Background logits are below -10, where one int8 step is a large difference of
logits and a negligible one of scores: in a trained detector 10 % of the logits differed by more than 0.1, and no
score by more than 0.022."""
BOX_TOLERANCE = 0.1
"""Cells; 0.8 pixels at stride 8."""
DIFFERING_SHARE_MAX = 0.005
DROP_POINTS_MAX = 0.2


def check_parity(onnx_dir: Path, dataset: Path) -> Verdict:
    """Compare ``model.onnx`` of ``onnx_dir`` with torch's recorded outputs, and its mAP@50 on val of ``dataset``.

    Raises:
        ExportError: The artifact is incomplete.
    """
    from robot_assets.data.packed import open_split

    card, reference = _read(onnx_dir)
    network = _network(card)
    session = plain_session(onnx_dir / MODEL)
    val = open_split(dataset, "val")
    share, largest = _compare(session, val, network, reference)
    torch_map50 = float(card["choice"]["map50_val"][card["choice"]["method"]])
    onnx_map50 = _map50(session, val, network)
    moved = 100 * abs(onnx_map50 - torch_map50)
    passed = share <= DIFFERING_SHARE_MAX and moved <= DROP_POINTS_MAX
    summary = (
        f"{100 * share:.3f} % of the values differ from torch (at most {100 * DIFFERING_SHARE_MAX:g} %), "
        f"mAP@50 on val moved by {moved:.3f} points (at most {DROP_POINTS_MAX:g})"
    )
    facts: dict[str, object] = {
        "differing_share": share,
        "differing_share_max": DIFFERING_SHARE_MAX,
        "largest_score_difference": largest["cls"],
        "largest_box_difference_cells": largest["box"],
        "score_tolerance": SCORE_TOLERANCE,
        "box_tolerance_cells": BOX_TOLERANCE,
        "images": len(reference["indices"]),
        "map50_torch": torch_map50,
        "map50_onnx": onnx_map50,
        "moved_points": moved,
        "moved_points_max": DROP_POINTS_MAX,
    }
    fix = (
        ""
        if passed
        else (
            "rebuild the onnx asset; if parity fails again, an operator is exported wrongly: compare the heads one by "
            "one with ONNX Runtime's optimizations off"
        )
    )
    return Verdict(passed, summary, fix, facts)


def reference_indices(images: int) -> list[int]:
    """Evenly spaced indices of at most :data:`IMAGES_MAX` of ``images`` images."""
    return sorted({int(index) for index in np.linspace(0, images - 1, min(IMAGES_MAX, images))})


def differing_share(
    names: Sequence[str], ours: Sequence[NDArray[np.floating]], theirs: Sequence[NDArray[np.floating]]
) -> float:
    """Share of head values that differ by more than the tolerance of their kind; a NaN always differs.

    Args:
        names: Name of each head: ``cls_...`` for logits, ``box_...`` for raw boxes.
        ours: Heads.
        theirs: The same heads of another implementation.
    """
    differing = sum(
        int((~(difference <= (SCORE_TOLERANCE if name.startswith("cls") else BOX_TOLERANCE))).sum())
        for name, difference in zip(names, _differences(names, ours, theirs), strict=True)
    )
    return differing / max(1, sum(one.size for one in ours))


def _differences(
    names: Sequence[str], ours: Sequence[NDArray[np.floating]], theirs: Sequence[NDArray[np.floating]]
) -> list[NDArray[np.floating]]:
    """Absolute differences of two outputs: in scores for class heads, in cells for boxes."""
    return [
        np.abs(scores_of(one) - scores_of(other)) if name.startswith("cls") else np.abs(one - other)
        for name, one, other in zip(names, ours, theirs, strict=True)
    ]


def scores_of(logits: NDArray[np.floating]) -> NDArray[np.floating]:
    """Sigmoid of logits of any shape, without overflow."""
    scores: NDArray[np.floating] = 0.5 * (1 + np.tanh(0.5 * logits))
    return scores


def _compare(
    session: InferenceSession, val: PackedSplit, network: NetworkSpec, reference: dict[str, NDArray[Any]]
) -> tuple[float, dict[str, float]]:
    """The share of differing values, and the largest difference of each kind of head."""
    from robot_assets.tasks.detection.decode import output_names

    names = output_names(network)
    labels: list[str] = []
    ours: list[NDArray[np.floating]] = []
    theirs: list[NDArray[np.floating]] = []
    for row, index in enumerate(reference["indices"].tolist()):
        labels += names
        ours += session.run(None, {"images": read_input(val, index, network)})
        theirs += [reference[name][row : row + 1] for name in names]
    differences = _differences(labels, ours, theirs)
    largest = {
        kind: max(float(one.max()) for label, one in zip(labels, differences, strict=True) if label.startswith(kind))
        for kind in ("cls", "box")
    }
    return differing_share(labels, ours, theirs), largest


def read_input(split: PackedSplit, index: int, network: NetworkSpec) -> NDArray[np.float32]:
    """Image ``index`` of ``split`` as float32 (1, 3, H, W) RGB in [0, 1]."""
    from robot_assets.runtime.preprocess import letterbox, to_input

    return to_input([letterbox(split.image(index), network.input_height, network.input_width).image])


def _map50(session: InferenceSession, val: PackedSplit, network: NetworkSpec) -> float:
    from robot_assets.training.evaluate import evaluate

    return evaluate(lambda images: session.run(None, {"images": images}), val, network).map50


def plain_session(path: Path) -> InferenceSession:
    """Open a session that runs the graph as written, without optimizations: fused kernels round at other places."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _network(card: dict[str, Any]) -> NetworkSpec:
    from robot_assets.tasks.detection.spec import NetworkSpec

    return NetworkSpec.model_validate(card["network"])


def _read(onnx_dir: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        card = json.loads((onnx_dir / CARD).read_bytes())
        return card, load((onnx_dir / REFERENCE).read_bytes())
    except (OSError, ValueError, SafetensorError) as error:
        raise ExportError(
            f"{onnx_dir} is not a complete ONNX artifact ({type(error).__name__}: {error})",
            needed=f"{MODEL}, {CARD}, {PARITY} and {REFERENCE}",
            fix="rebuild the onnx asset, or restore its directory from the store",
        ) from None
