"""The files of ``MODEL/onnx`` of a graph that was trained elsewhere.

Those of ``robot_assets.export``, and three more:

- ``metrics.json``: the graph as it was given, in float, on val and test, and the calibrators on val;
- ``original.safetensors``: the answers of the given file, before any conversion, on the reference images;
- ``model.safetensors``: the float weights of the quantized layers; absent where the given graph has Q/DQ nodes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robot_assets.core.digests import md5_of
from robot_assets.core.documents import write_json
from robot_assets.core.text import escaped
from robot_assets.export.parity import (
    CARD,
    DIFFERING_SHARE_MAX,
    DROP_POINTS_MAX,
    MODEL,
    PARITY,
    REFERENCE,
    Parity,
    parity_of,
)
from robot_assets.export.preflight import IR_VERSION, OPSET
from robot_assets.tasks.interface import Interface
from robot_assets.tasks.metrics import Metric, Metrics

if TYPE_CHECKING:
    from onnx import ModelProto

    Heads = list[NDArray[Any]]

METRICS = "metrics.json"
ORIGINAL = "original.safetensors"
WEIGHTS = "model.safetensors"
FLOAT = "float"
GIVEN = "given"


@dataclass(frozen=True)
class Given:
    """What was imported.

    Attributes:
        md5: Md5 of the file.
        opset: Version of each operator set.
        ir_version: Version of the format.
        producer: What wrote it.
        changes: What the conversion changed, one sentence each.
        moved: How the answers differ after the conversion.
        answers: The heads of the unconverted graph on each reference image.
        indices: Index in val of each reference image.
    """

    md5: str
    opset: Mapping[str, int]
    ir_version: int
    producer: str
    changes: tuple[str, ...]
    moved: Parity
    answers: Sequence[Heads]
    indices: Sequence[int]


@dataclass(frozen=True)
class Made:
    """What is exported, and its metrics.

    Attributes:
        model: The Q/DQ graph.
        interface: Of the graph.
        answers: Its heads on each reference image.
        calibrator: The best calibrator; empty for a graph that was given with Q/DQ nodes.
        val: Metrics on val by name: ``float`` and each calibrator, or ``given``.
        test: Metrics on test of the graph as it was given.
        weights: Float weights of the quantized layers by name.
        in_float: Layers that stay in float, with the reason.
        quantized_layers: Layers with int8 weights.
    """

    model: ModelProto
    interface: Interface
    answers: Sequence[Heads]
    calibrator: str
    val: Mapping[str, Metrics]
    test: Metrics
    weights: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    in_float: Mapping[str, str] = field(default_factory=dict)
    quantized_layers: int = 0


@dataclass(frozen=True)
class ForeignSummary:
    """The result of an import; scores are the metric of the task, in [0, 1].

    Attributes:
        metric: What the scores are of.
        scores: Score on val by name: ``float`` and each calibrator; ``given`` for a graph with Q/DQ nodes.
        test_score: Score on test of the graph as it was given.
        calibrator: The best calibrator; empty for a graph with Q/DQ nodes.
        changes: What the conversion changed, one sentence each.
        in_float: Layers that stay in float, with the reason.
        quantized_layers: Layers with int8 weights.
        differing_share: Share of values that conversion moved beyond their tolerance.
        model_md5: Md5 of ``model.onnx``.
        model_size_bytes: Size of ``model.onnx``.
        nodes: Number of nodes by operator.
    """

    metric: Metric
    scores: Mapping[str, float]
    test_score: float
    calibrator: str
    changes: tuple[str, ...]
    in_float: Mapping[str, str]
    quantized_layers: int
    differing_share: float
    model_md5: str
    model_size_bytes: int
    nodes: Mapping[str, int]

    @property
    def method(self) -> str:
        """``ptq``, or ``given`` for a graph with Q/DQ nodes."""
        return "ptq" if self.calibrator else GIVEN

    @property
    def score(self) -> float:
        """The score on val of what was exported."""
        return self.scores[self.calibrator or GIVEN]

    @property
    def drop_points(self) -> float:
        """Points (of 100) that quantization lost on val; negative for a gain; 0 for a graph with Q/DQ nodes."""
        return 100 * (self.scores[FLOAT if self.calibrator else GIVEN] - self.score)

    @property
    def because(self) -> str:
        """What was exported, and why, in one sentence."""
        if not self.calibrator:
            return "the Q/DQ nodes of the given graph, as they are"
        return f"PTQ {self.calibrator}: {-self.drop_points:+z.2f} {self.metric.name} points against float on val"


def write_artifact(folder: Path, made: Made, given: Given) -> ForeignSummary:
    """Write every file into ``folder``, which the caller publishes.

    Raises:
        ExportError: The ONNX checker rejects the graph.
    """
    from robot_assets.export.onnx_export import save_onnx

    made.model.graph.name = made.interface.task
    save_onnx(made.model, folder / MODEL)
    _save_heads(folder / REFERENCE, made.answers, given.indices, made.interface)
    _save_heads(folder / ORIGINAL, given.answers, given.indices, made.interface)
    if made.weights:
        _save(folder / WEIGHTS, made.weights)
    summary = _summary(folder, made, given)
    write_json(folder / CARD, _card(summary, made, given))
    write_json(folder / METRICS, _metrics(made))
    write_json(folder / PARITY, _parity(made, given))
    return summary


def _summary(folder: Path, made: Made, given: Given) -> ForeignSummary:
    return ForeignSummary(
        metric=made.test.metric,
        scores={name: found.score for name, found in made.val.items()},
        test_score=made.test.score,
        calibrator=made.calibrator,
        changes=given.changes,
        in_float=made.in_float,
        quantized_layers=made.quantized_layers,
        differing_share=given.moved.differing_share,
        model_md5=md5_of(folder / MODEL),
        model_size_bytes=(folder / MODEL).stat().st_size,
        nodes=_operators(made.model),
    )


def _save_heads(path: Path, answers: Sequence[Heads], indices: Sequence[int], interface: Interface) -> None:
    tensors = {
        name: np.concatenate([heads[position] for heads in answers])
        for position, name in enumerate(interface.head_names)
    }
    _save(path, {**tensors, "indices": np.array(indices, np.int64)})


def _save(path: Path, tensors: Mapping[str, NDArray[Any]]) -> None:
    from safetensors.numpy import save_file

    save_file({name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)}, str(path))


def _card(summary: ForeignSummary, made: Made, given: Given) -> dict[str, Any]:
    scores = {name: round(score, 6) for name, score in summary.scores.items()}
    return {
        "interface": made.interface.model_dump(mode="json"),
        "inputs": {value.name: _shape(value) for value in made.model.graph.input},
        "outputs": {value.name: _shape(value) for value in made.model.graph.output},
        "choice": {
            "method": summary.method,
            "calibrator": summary.calibrator,
            "because": summary.because,
            "scores_val": {**scores, summary.method: round(summary.score, 6)},
        },
        "source": {
            "md5": given.md5,
            "opset": dict(given.opset),
            "ir_version": given.ir_version,
            "producer": escaped(given.producer),
            "changes": list(summary.changes),
            "float_layers": dict(summary.in_float),
        },
        "md5": summary.model_md5,
        "nodes": dict(summary.nodes),
        "opset": OPSET,
        "ir_version": IR_VERSION,
    }


def _metrics(made: Made) -> dict[str, Any]:
    """The float graph is the baseline of the accuracy gate; a graph with Q/DQ nodes is its own."""
    val, test = {name: found.as_json() for name, found in made.val.items()}, made.test.as_json()
    if made.calibrator:
        return {"metric": made.test.metric.key, "val": val, "test": {FLOAT: test}}
    return {"metric": made.test.metric.key, "val": val[GIVEN], "test": test}


def _parity(made: Made, given: Given) -> dict[str, Any]:
    quantization = parity_of(zip(made.answers, given.answers, strict=True), made.interface.heads)
    return {
        "differing_share_max": DIFFERING_SHARE_MAX,
        "moved_points_max": DROP_POINTS_MAX,
        "compared_with": "ONNX Runtime, graph optimizations off",
        "conversion": given.moved.as_json(),
        "quantization": quantization.as_json(),
    }


def _shape(value: Any) -> list[int]:
    return [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]


def _operators(model: ModelProto) -> dict[str, int]:
    names = [node.op_type for node in model.graph.node]
    return {name: names.count(name) for name in sorted(set(names))}
