"""Makes the artifact ``MODEL/onnx`` of a graph that was trained elsewhere.

The artifact is that of ``robot_assets.export``, with three files more:

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
from robot_assets.core.errors import ExportError
from robot_assets.core.progress import report
from robot_assets.core.publishing import publishing_directory
from robot_assets.core.spec import Spec
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
    read_input,
    reference_indices,
)
from robot_assets.export.preflight import IR_VERSION, OPSET, graph_problems, quantization_problems
from robot_assets.foreign.conversion import Converted, convert
from robot_assets.foreign.errors import refused
from robot_assets.foreign.interface import interface_of, with_heads
from robot_assets.foreign.placement import Placement, place
from robot_assets.foreign.quantize import collect_histograms, float_weights, merged, quantized
from robot_assets.foreign.reading import find_file, read_model
from robot_assets.foreign.spec import OnnxSource
from robot_assets.quantization.calibration import best_of, scales_of
from robot_assets.quantization.spec import PtqSpec
from robot_assets.tasks.interface import Interface, Preprocessing
from robot_assets.tasks.metrics import Metric, Metrics
from robot_assets.tasks.registry import task_of

if TYPE_CHECKING:
    from onnx import ModelProto

    from robot_assets.data.packed import PackedSplit
    from robot_assets.training.evaluate import Infer

    Heads = list[NDArray[Any]]

METRICS = "metrics.json"
ORIGINAL = "original.safetensors"
WEIGHTS = "model.safetensors"
_GIVEN = "given"


class ForeignSpec(Spec):
    """What the import reads of params.yaml."""

    task: str
    source: OnnxSource
    input: Preprocessing = Preprocessing()
    ptq: PtqSpec = PtqSpec()
    float_layers: tuple[str, ...] = ()


@dataclass(frozen=True)
class ForeignSummary:
    """The result of an import; scores are the metric of the task, in [0, 1].

    Attributes:
        metric: What the scores are of.
        val: Metrics on val by name: ``float`` and each calibrator; ``given`` for a graph with Q/DQ nodes.
        test: Metrics on test of the graph as it was given.
        method: ``ptq``, or ``given`` for a graph with Q/DQ nodes.
        calibrator: The best calibrator; empty for a graph with Q/DQ nodes.
        changes: What the conversion changed, one sentence each.
        in_float: Layers that stay in float, with the reason.
        quantized_layers: Layers with int8 weights.
        differing_share: Share of values that conversion moved beyond their tolerance.
        model_md5: Md5 of ``model.onnx``.
        model_size_bytes: Size of ``model.onnx``.
        nodes: Number of nodes by operator.
        declared: What the owner declares of its training.
    """

    metric: Metric
    val: Mapping[str, Metrics]
    test: Metrics
    method: str
    calibrator: str
    changes: tuple[str, ...]
    in_float: Mapping[str, str]
    quantized_layers: int
    differing_share: float
    model_md5: str
    model_size_bytes: int
    nodes: Mapping[str, int]
    declared: Mapping[str, Any] = field(default_factory=dict)

    @property
    def score(self) -> float:
        """The score on val of what was exported."""
        return self.val[self.calibrator or _GIVEN].score

    @property
    def drop_points(self) -> float:
        """Points (of 100) that quantization lost on val; negative for a gain; 0 for a graph with Q/DQ nodes."""
        return 100 * (self.val["float" if self.calibrator else _GIVEN].score - self.score)

    @property
    def because(self) -> str:
        """What was exported, and why, in one sentence."""
        if not self.calibrator:
            return "the Q/DQ nodes of the given graph, as they are"
        return f"PTQ {self.calibrator}: {-self.drop_points:+z.2f} {self.metric.name} points against float on val"


def import_onnx(source: Path, dataset: Path, spec: ForeignSpec, out: Path) -> ForeignSummary:
    """Convert, evaluate and quantize a graph that was trained elsewhere.

    Args:
        source: The file, or a folder with one and its external data.
        dataset: A packed data set: its calibration images, val and test are read.
        spec: Decoder, preprocessing, calibrators.
        out: Directory to publish.

    Raises:
        ExportError: The graph cannot be read, converted or built; or its answers change when it is converted.
        QuantizationError: It cannot be calibrated.
        ParamsError: The decoder or its options are unknown.
    """
    from robot_assets.data.packed import open_split

    origin = spec.source.artifact
    given = read_model(source)
    converted = convert(given, origin, spec.source.input_height, spec.source.input_width)
    val = open_split(dataset, "val")
    interface = interface_of(converted.model, task_of(spec.task), spec.source, spec.input, val.classes, origin)
    model, unread = with_heads(converted.model, interface.heads)
    _refuse_unbuildable(model, origin)
    original = _answers(_original_runner(given, converted, interface), val, interface)
    moved = _refuse_moved(model, original, val, interface, origin)
    metrics = {split: _evaluate(model, open_split(dataset, split), interface) for split in ("val", "test")}
    made = _quantize(model, converted, dataset, interface, spec, metrics["val"])
    with publishing_directory(out) as staging:
        staging_summary = _write(staging, made, given, source, converted, unread, original, moved, metrics, val, spec)
    return staging_summary


@dataclass(frozen=True)
class _Made:
    """What is exported: the Q/DQ graph, its metrics on val with those of the rest, and where its numbers are from."""

    model: ModelProto
    interface: Interface
    val: Mapping[str, Metrics]
    calibrator: str
    weights: Mapping[str, NDArray[np.float32]]
    placement: Placement | None


def _refuse_unbuildable(model: ModelProto, origin: str) -> None:
    problems = [*graph_problems(model), *quantization_problems(model)]
    if problems:
        raise refused(
            origin,
            problems,
            needed=f"opset {OPSET}, operators of TensorRT 8.6 to 11, and Q/DQ nodes of symmetric int8, if any",
            fix="change the export script so that the graph has none of these, then add the new file: dvc add FILE",
        )


def _quantize(
    model: ModelProto, converted: Converted, dataset: Path, interface: Interface, spec: ForeignSpec, float_val: Metrics
) -> _Made:
    """Let the calibrators compete on val; a graph with Q/DQ nodes is taken as it is."""
    from robot_assets.data.packed import open_split

    if converted.is_quantized:
        return _Made(model, interface, {_GIVEN: float_val}, "", {}, None)
    placement = place(_with_shapes(model), spec.float_layers)
    histograms = collect_histograms(model, placement.tensors, dataset, interface.input)
    shared = merged(histograms, placement.groups)
    graphs: dict[str, ModelProto] = {}
    metrics = {"float": float_val}
    for done, calibrator in enumerate(spec.ptq.calibrators):
        report("ptq", done, len(spec.ptq.calibrators), calibrator)
        graphs[calibrator] = quantized(model, placement, scales_of(calibrator, shared, spec.ptq))
        metrics[calibrator] = _evaluate(graphs[calibrator], open_split(dataset, "val"), interface)
    report("ptq", len(spec.ptq.calibrators), len(spec.ptq.calibrators))
    best = best_of({name: metrics[name].score for name in graphs})
    _refuse_unbuildable(graphs[best], spec.source.artifact)
    return _Made(graphs[best], interface, metrics, best, float_weights(model, placement), placement)


def _with_shapes(model: ModelProto) -> ModelProto:
    import onnx

    return onnx.shape_inference.infer_shapes(model, data_prop=True)


def _runner(model: bytes, names: Sequence[str], given: str, *, is_nhwc: bool = False) -> Infer:
    """Runs a graph as it is written, without optimizations: fused kernels round at other places."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def run(images: NDArray[np.float32]) -> Heads:
        pixels = np.ascontiguousarray(images.transpose(0, 2, 3, 1)) if is_nhwc else images
        heads: Heads = session.run(list(names), {given: pixels})
        return heads

    return run


def _original_runner(given: ModelProto, converted: Converted, interface: Interface) -> Infer:
    """Runs the given file, unconverted.

    Raises:
        ExportError: ONNX Runtime does not load it.
    """
    try:
        payload = given.SerializeToString()
        return _runner(payload, interface.head_names, interface.input.name, is_nhwc=converted.is_nhwc)
    except Exception as error:  # ONNX Runtime has a class of its own for each status
        reason = str(error).strip().splitlines()[0][-300:]
        raise ExportError(
            escaped(f"ONNX Runtime cannot load the given graph: {reason}"),
            needed="a graph that ONNX Runtime runs: its answers are recorded there",
            fix="export the network again for ONNX Runtime, then: dvc add FILE",
        ) from None


def _model_runner(model: ModelProto, interface: Interface) -> Infer:
    return _runner(model.SerializeToString(), interface.head_names, interface.input.name)


def _answers(infer: Infer, val: PackedSplit, interface: Interface) -> list[Heads]:
    """The heads on each reference image."""
    return [list(infer(read_input(val, index, interface.input))) for index in reference_indices(len(val))]


def _refuse_moved(
    model: ModelProto, original: list[Heads], val: PackedSplit, interface: Interface, origin: str
) -> Parity:
    """Compare the converted graph with the given one on the reference images."""
    found = parity_of(
        zip(_answers(_model_runner(model, interface), val, interface), original, strict=True), interface.heads
    )
    if found.differing_share > DIFFERING_SHARE_MAX:
        raise ExportError(
            f"{origin}: {100 * found.differing_share:.2f} % of the values differ after its conversion, the largest by "
            f"{found.largest_in_words}",
            needed=f"the answers of the given file, but for {100 * DIFFERING_SHARE_MAX:g} % of the values",
            fix=f"export the network again with opset_version={OPSET}, so that nothing is converted",
        )
    return found


def _evaluate(model: ModelProto, split: PackedSplit, interface: Interface) -> Metrics:
    from robot_assets.training.evaluate import evaluate

    return evaluate(_model_runner(model, interface), split, interface)


def _write(
    staging: Path,
    made: _Made,
    given: ModelProto,
    source: Path,
    converted: Converted,
    unread: tuple[str, ...],
    original: list[Heads],
    moved: Parity,
    metrics: Mapping[str, Metrics],
    val: PackedSplit,
    spec: ForeignSpec,
) -> ForeignSummary:
    """Write every file of the artifact."""
    from robot_assets.export.onnx_export import save_onnx

    made.model.graph.name = made.interface.task
    save_onnx(made.model, staging / MODEL)
    answers = _answers(_model_runner(made.model, made.interface), val, made.interface)
    indices = reference_indices(len(val))
    _save_heads(staging / REFERENCE, answers, indices, made.interface)
    _save_heads(staging / ORIGINAL, original, indices, made.interface)
    if made.weights:
        _save(staging / WEIGHTS, dict(made.weights))
    changes = (*converted.changes, *(f"output {name!r} removed: the decoder does not read it" for name in unread))
    summary = ForeignSummary(
        metric=metrics["val"].metric,
        val=made.val,
        test=metrics["test"],
        method="ptq" if made.calibrator else _GIVEN,
        calibrator=made.calibrator,
        changes=changes,
        in_float=made.placement.in_float if made.placement else {},
        quantized_layers=len(made.placement.weighted) if made.placement else 0,
        differing_share=moved.differing_share,
        model_md5=md5_of(staging / MODEL),
        model_size_bytes=(staging / MODEL).stat().st_size,
        nodes=_operators(made.model),
        declared=spec.source.declaration,
    )
    write_json(staging / CARD, _card(summary, made, given, find_file(source)))
    write_json(staging / METRICS, _metrics(summary))
    write_json(staging / PARITY, _parity(parity_of(zip(answers, original, strict=True), made.interface.heads), moved))
    return summary


def _save_heads(path: Path, answers: list[Heads], indices: list[int], interface: Interface) -> None:
    tensors = {
        name: np.concatenate([heads[position] for heads in answers])
        for position, name in enumerate(interface.head_names)
    }
    _save(path, {**tensors, "indices": np.array(indices, np.int64)})


def _save(path: Path, tensors: dict[str, NDArray[Any]]) -> None:
    from safetensors.numpy import save_file

    save_file({name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)}, str(path))


def _card(summary: ForeignSummary, made: _Made, given: ModelProto, file: Path) -> dict[str, Any]:
    scores = {name: round(found.score, 6) for name, found in made.val.items()}
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
            "md5": md5_of(file),
            "opset": {one.domain or "ai.onnx": one.version for one in given.opset_import},
            "ir_version": given.ir_version,
            "producer": escaped(f"{given.producer_name} {given.producer_version}").strip(),
            "changes": list(summary.changes),
            "float_layers": dict(summary.in_float),
        },
        "md5": summary.model_md5,
        "nodes": dict(summary.nodes),
        "opset": OPSET,
        "ir_version": IR_VERSION,
    }


def _metrics(summary: ForeignSummary) -> dict[str, Any]:
    """The float graph is the baseline of the accuracy gate; a graph with Q/DQ nodes is its own."""
    val = {name: found.as_json() for name, found in summary.val.items()}
    test = summary.test.as_json()
    is_float = bool(summary.calibrator)
    return {
        "metric": summary.metric.key,
        "val": val if is_float else val[_GIVEN],
        "test": {"float": test} if is_float else test,
    }


def _parity(quantized: Parity, moved: Parity) -> dict[str, Any]:
    return {
        "differing_share_max": DIFFERING_SHARE_MAX,
        "moved_points_max": DROP_POINTS_MAX,
        "compared_with": "ONNX Runtime, graph optimizations off",
        "conversion": moved.as_json(),
        "quantization": quantized.as_json(),
    }


def _shape(value: Any) -> list[int]:
    return [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]


def _operators(model: ModelProto) -> dict[str, int]:
    names = [node.op_type for node in model.graph.node]
    return {name: names.count(name) for name in sorted(set(names))}
