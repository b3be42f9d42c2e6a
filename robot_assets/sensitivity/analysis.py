"""Measures the accuracy that each layer loses when it alone is quantized, and chooses layers to leave in float.

Needs no torch. All measurements are on the validation split: the gates of engines are on the test split, and a choice
must not be judged on the split that it was made on. The graph runs in ONNX Runtime without optimizations, so that the
result is that of the Q/DQ graph and not of the kernels of one processor. No time is measured, since times differ from
run to run: the cost of a layer in float is the share of multiply-accumulates that the CPU target then runs in float.
The same inputs give the same bytes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robot_assets.core.digests import md5_of
from robot_assets.core.documents import write_json
from robot_assets.core.progress import report
from robot_assets.core.publishing import publishing_directory
from robot_assets.engines.onnx_artifact import interface_of, read_export
from robot_assets.export.parity import CARD, MODEL, REFERENCE, plain_session, read_input, runner
from robot_assets.export.preflight import preflight
from robot_assets.export.qdq_layers import (
    WEIGHTS,
    Layer,
    float_weights,
    keep_quantized,
    layers_of,
    load_weights,
    multiply_accumulates,
)
from robot_assets.sensitivity.search import SearchResult, search
from robot_assets.sensitivity.spec import SensitivitySpec
from robot_assets.tasks.comparison import channels_of, comparable
from robot_assets.tasks.registry import task_of

if TYPE_CHECKING:
    from onnx import ModelProto
    from onnxruntime import InferenceSession

    from robot_assets.data.packed import PackedSplit
    from robot_assets.tasks.interface import Head, Interface, Preprocessing
    from robot_assets.tasks.metrics import Metric

SENSITIVITY = "sensitivity.json"
_FORMAT = 2
_POINTS_DIGITS = 1
"""Losses are compared in tenths of a point, below which is noise; ties are ordered by the output error."""

_HEADS_BYTES_MAX = 2**29
"""Memory for the float heads that others are compared with."""

Heads = list[NDArray[Any]]


@dataclass(frozen=True)
class LayerLoss:
    """The loss of the network with one layer quantized.

    Attributes:
        layer: The layer.
        drop_points: Points (of 100) of the metric below float; negative for a gain.
        output_error: Root mean square of the difference to the float heads, relative to that of the float heads, each
            part in the unit in which it is compared (logits as scores); mean over the parts of the heads.
        cost: Share of all multiply-accumulates that run in float on the CPU target if this layer does.
    """

    layer: Layer
    drop_points: float
    output_error: float
    cost: float


@dataclass(frozen=True)
class Sensitivity:
    """The result of the analysis; scores are the metric of the task on val, in [0, 1].

    Attributes:
        metric: The metric of the task.
        layers: The loss of each layer of the graph, in execution order.
        float_score: Score with no layer quantized.
        int8_score: Score with all layers quantized.
        chosen: The layers to leave in float, and the trials of the search.
        bound: Points of the metric that may be lost against float.
        images: Number of images of val.
    """

    metric: Metric
    layers: tuple[LayerLoss, ...]
    float_score: float
    int8_score: float
    chosen: SearchResult
    bound: float
    images: int

    @property
    def int8_drop_points(self) -> float:
        """Points lost with all layers quantized."""
        return 100 * (self.float_score - self.int8_score)

    @property
    def worst(self) -> LayerLoss:
        """The layer with the largest loss."""
        return max(self.layers, key=_severity)

    def as_json(self) -> dict[str, Any]:
        """Plain data for the artifact, rounded."""
        return {
            "format": _FORMAT,
            "images": self.images,
            "split": "val",
            "metric": self.metric.key,
            "scores": {"float": round(self.float_score, 6), "int8": round(self.int8_score, 6)},
            "drop_points": {
                "int8": round(self.int8_drop_points, 4),
                "chosen": round(self.chosen.best.drop_points, 4),
                "max": self.bound,
            },
            "holds": self.chosen.holds,
            "float_layers": list(self.chosen.best.layers),
            "layers": {
                one.layer.name: {
                    "operator": one.layer.operator,
                    "drop_points": round(one.drop_points, 4),
                    "output_error": round(one.output_error, 6),
                    "float_share_added": round(one.cost, 6),
                }
                for one in self.layers
            },
            "trials": [
                {
                    "float_layers": list(trial.layers),
                    "drop_points": round(trial.drop_points, 4),
                    "float_share": round(trial.cost, 6),
                }
                for trial in self.chosen.trials
            ],
        }


def find_sensitive_layers(
    onnx: Path, weights: Mapping[str, Path], dataset: Path, spec: SensitivitySpec, out: Path
) -> Sensitivity:
    """Measure each layer, and search for a cheap set of layers in float with which the loss is within the bound.

    Args:
        onnx: A directory that ``export_onnx`` or ``import_onnx`` wrote.
        weights: By the method that the graph may have been quantized with (``ptq``, ``qat``): the directory that wrote
            the float weights. For any other method they are in the ONNX artifact; a graph that came with its Q/DQ nodes
            has none, and its layers in float get their int8 weights as floats.
        dataset: A packed data set; its val split is read.
        spec: Parameters, with a bound.
        out: Directory to publish: ``sensitivity.json``, and a complete ONNX artifact (``model.onnx``, ``model.json``,
            ``reference.safetensors``) with the chosen layers in float, from which engines can be built.

    Raises:
        EngineError: The ONNX artifact is incomplete.
        ExportError: The graph was exported from other weights.
        ValueError: ``spec`` has no bound.
    """
    if spec.drop_points_max is None:
        raise ValueError("a spec without drop_points_max; robot_assets.sensitivity.entry.resolved sets it")
    card, model = read_export(onnx)
    interface = interface_of(onnx, card)
    trained = _trained_weights(model, weights.get(card["choice"]["method"], onnx))
    variants = _Variants(model, trained, interface, dataset, spec.images)
    losses = tuple(variants.loss_of(layer) for layer in variants.layers)
    chosen = search(
        [
            [one.layer.name for one in sorted(losses, key=_order(spec))],
            [one.layer.name for one in sorted(losses, key=lambda one: (-_gain(one), _order(spec)(one)))],
        ],
        variants.drop_with_in_float,
        variants.cost_with_in_float,
        spec.drop_points_max,
        spec.max_float_layers,
    )
    result = Sensitivity(
        metric=task_of(interface.task).metric,
        layers=losses,
        float_score=variants.score(frozenset()),
        int8_score=variants.score(variants.names),
        chosen=chosen,
        bound=spec.drop_points_max,
        images=variants.images,
    )
    with publishing_directory(out) as staging:
        _write_artifact(staging, card, variants.graph(frozenset(chosen.best.layers)), result)
        _write_reference(staging, onnx, dataset, interface)
    return result


def _trained_weights(model: ModelProto, folder: Path) -> dict[str, NDArray[Any]]:
    """Float weights by layer, from a folder that may have none."""
    if not (folder / WEIGHTS).exists():
        return {}
    return float_weights(model, load_weights(folder))


def float_share(model: ModelProto, input: Preprocessing, counts: Mapping[str, int]) -> float:
    """Share of the multiply-accumulates that the CPU target runs in float.

    Args:
        model: A Q/DQ graph.
        input: Preprocessing of its images.
        counts: Multiply-accumulates by output of each convolution and matrix product.
    """
    from robot_assets.engines.onnxruntime.rewrite import float_layers, rewrite

    rewritten = deepcopy(model)
    rewrite(rewritten, input)
    in_float = sum(counts.get(node.output[0], 0) for node in float_layers(rewritten.graph))
    return in_float / max(1, sum(counts.values()))


def _severity(loss: LayerLoss) -> tuple[float, float]:
    return round(loss.drop_points, _POINTS_DIGITS), round(loss.output_error, 6)


def _order(spec: SensitivitySpec) -> Callable[[LayerLoss], tuple[float, float]]:
    """A sort key with the worst layer first."""
    if spec.metric == "output_error":
        return lambda loss: (-round(loss.output_error, 6), 0.0)
    return lambda loss: (-_severity(loss)[0], -_severity(loss)[1])


def _gain(loss: LayerLoss) -> float:
    """Output error per cost. A cost below 0.01 counts as 0.01."""
    return round(loss.output_error / max(loss.cost, 0.01), 6)


class _Variants:
    """Variants of one graph with different layers quantized, on the same images. Each is measured once."""

    def __init__(
        self,
        model: ModelProto,
        weights: Mapping[str, NDArray[Any]],
        interface: Interface,
        dataset: Path,
        images: int,
    ) -> None:
        self._model, self._weights, self._interface = model, weights, interface
        self.layers = layers_of(model)
        self.names = frozenset(layer.name for layer in self.layers)
        self._split = _sample_val(dataset, images)
        self._counts = multiply_accumulates(model)
        self._costs: dict[frozenset[str], float] = {}
        self._scores: dict[frozenset[str], float] = {}
        self._float_heads: list[Heads] = []
        self._run(frozenset(), self._keep)

    @property
    def images(self) -> int:
        return len(self._split)

    def score(self, quantized: frozenset[str]) -> float:
        """Score with only the layers ``quantized`` quantized."""
        if quantized not in self._scores:
            self._run(quantized, lambda index, heads: None)
        return self._scores[quantized]

    def loss_of(self, layer: Layer) -> LayerLoss:
        """The loss with only ``layer`` quantized."""
        only = frozenset({layer.name})
        error = _OutputError(self._interface.heads)

        def compare(index: int, heads: Heads) -> None:
            if index < len(self._float_heads):
                error.add(self._float_heads[index], heads)

        self._run(only, compare)
        return LayerLoss(
            layer=layer,
            drop_points=self._drop(only),
            output_error=error.value,
            cost=self.cost_with_in_float(only) - self.cost_with_in_float(frozenset()),
        )

    def drop_with_in_float(self, in_float: frozenset[str]) -> float:
        """Points lost with all layers quantized except ``in_float``."""
        return self._drop(self.names - in_float)

    def cost_with_in_float(self, in_float: frozenset[str]) -> float:
        """Share of the multiply-accumulates in float on the CPU target with ``in_float`` in float."""
        if in_float not in self._costs:
            self._costs[in_float] = float_share(self.graph(in_float), self._interface.input, self._counts)
        return self._costs[in_float]

    def graph(self, in_float: frozenset[str]) -> ModelProto:
        """The graph with all layers quantized except ``in_float``."""
        return keep_quantized(self._model, self.names - in_float, self._weights)

    def _drop(self, quantized: frozenset[str]) -> float:
        return 100 * (self.score(frozenset()) - self.score(quantized))

    def _keep(self, index: int, heads: Heads) -> None:
        """Keep the float heads of as many images as fit into memory; output errors are of these."""
        if (index + 1) * sum(head.nbytes for head in heads) <= _HEADS_BYTES_MAX:
            self._float_heads.append(heads)

    def _run(self, quantized: frozenset[str], see: Callable[[int, Heads], None]) -> None:
        """Evaluate a variant; ``see`` gets the index in the sample and the heads of each image."""
        from robot_assets.training.evaluate import evaluate

        graph = keep_quantized(self._model, quantized, self._weights)
        run, numbers = runner(_open_session(graph), self._interface), count()

        def infer(images: NDArray[np.float32]) -> Heads:
            heads = run(images)
            see(next(numbers), heads)
            return heads

        self._scores[quantized] = evaluate(infer, self._split, self._interface).score
        report("sensitivity", len(self._scores), max(len(self._scores), len(self.layers) + 2))


def _sample_val(dataset: Path, images: int) -> PackedSplit:
    """At most ``images`` of the val split, evenly spaced."""
    from robot_assets.data.packed import PackedSplit, open_split

    val = open_split(dataset, "val")
    if len(val) <= images:
        return val
    return PackedSplit(dataset / "val", sorted({int(index) for index in np.linspace(0, len(val) - 1, images)}))


def _open_session(model: ModelProto) -> InferenceSession:
    """Open a session of ``model`` without optimizations."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, MODEL)
        path.write_bytes(model.SerializeToString(deterministic=True))
        return plain_session(path)


class _OutputError:
    """The relative error of some heads against others, mean over the parts of the heads."""

    def __init__(self, heads: Sequence[Head]) -> None:
        self._parts = [(position, part) for position, head in enumerate(heads) for part in head.parts]
        self._sums = np.zeros((len(self._parts), 2))

    def add(self, ours: Heads, theirs: Heads) -> None:
        """Add the heads of one image."""
        for number, (position, part) in enumerate(self._parts):
            a, b = (
                np.asarray(comparable(part, channels_of(part, heads[position])), np.float64) for heads in (ours, theirs)
            )
            self._sums[number] += np.square(b - a).sum(), np.square(a).sum()

    @property
    def value(self) -> float:
        """The mean error so far."""
        difference, size = self._sums.T
        return float(np.sqrt(difference / np.where(size > 0, size, np.inf)).mean())


def _write_artifact(staging: Path, card: Mapping[str, Any], model: ModelProto, result: Sensitivity) -> None:
    """Write an ONNX artifact of ``model`` as ``export_onnx`` does, and ``sensitivity.json``."""
    import onnx as onnx_library

    preflight(model, staging / MODEL)
    onnx_library.checker.check_model(model, full_check=True)
    (staging / MODEL).write_bytes(model.SerializeToString(deterministic=True))
    operators = [node.op_type for node in model.graph.node]
    changes = {
        "md5": md5_of(staging / MODEL),
        "nodes": {name: operators.count(name) for name in sorted(set(operators))},
        "float_layers": list(result.chosen.best.layers),
    }
    write_json(staging / CARD, {**card, **changes})
    write_json(staging / SENSITIVITY, result.as_json())


def _write_reference(staging: Path, onnx: Path, dataset: Path, interface: Interface) -> None:
    """Record the outputs of the graph on the images on which the exported graph was compared with its model."""
    from safetensors.numpy import load, save_file

    from robot_assets.data.packed import open_split

    infer, val = runner(plain_session(staging / MODEL), interface), open_split(dataset, "val")
    indices = load((onnx / REFERENCE).read_bytes())["indices"]
    rows = [infer(read_input(val, int(index), interface.input)) for index in indices]
    heads = {name: np.concatenate([row[at] for row in rows]) for at, name in enumerate(interface.head_names)}
    save_file({**heads, "indices": indices}, str(staging / REFERENCE))
