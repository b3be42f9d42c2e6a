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
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robot_assets.core.digests import md5_of
from robot_assets.core.documents import write_json
from robot_assets.core.progress import report
from robot_assets.core.publishing import publishing_directory
from robot_assets.engines.onnx_artifact import read_export
from robot_assets.export.parity import CARD, MODEL, REFERENCE, plain_session, read_input, scores_of
from robot_assets.export.preflight import preflight
from robot_assets.export.qdq_layers import (
    Layer,
    float_weights,
    keep_quantized,
    layers_of,
    load_weights,
    multiply_accumulates,
)
from robot_assets.sensitivity.search import SearchResult, search
from robot_assets.sensitivity.spec import SensitivitySpec
from robot_assets.tasks.detection.spec import NetworkSpec

if TYPE_CHECKING:
    from onnx import ModelProto
    from onnxruntime import InferenceSession

    from robot_assets.data.packed import PackedSplit

SENSITIVITY = "sensitivity.json"
_FORMAT = 1
_POINTS_DIGITS = 1
"""Losses are compared in tenths of a point of mAP, below which is noise; ties are ordered by the output error."""

Heads = list[NDArray[np.floating[Any]]]


@dataclass(frozen=True)
class LayerLoss:
    """The loss of the network with one layer quantized.

    Attributes:
        layer: The layer.
        drop_points: mAP@50 points (of 100) below float; negative for a gain.
        output_error: Root mean square of the difference to the float heads, relative to that of the float heads, with
            logits as scores; mean over the heads.
        cost: Share of all multiply-accumulates that run in float on the CPU target if this layer does.
    """

    layer: Layer
    drop_points: float
    output_error: float
    cost: float


@dataclass(frozen=True)
class Sensitivity:
    """The result of the analysis; mAP@50 on val, in [0, 1].

    Attributes:
        layers: The loss of each layer of the graph, in execution order.
        float_map50: mAP@50 with no layer quantized.
        int8_map50: mAP@50 with all layers quantized.
        chosen: The layers to leave in float, and the trials of the search.
        bound: mAP@50 points that may be lost against float.
        images: Number of images of val.
    """

    layers: tuple[LayerLoss, ...]
    float_map50: float
    int8_map50: float
    chosen: SearchResult
    bound: float
    images: int

    @property
    def int8_drop_points(self) -> float:
        """mAP@50 points lost with all layers quantized."""
        return 100 * (self.float_map50 - self.int8_map50)

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
            "map50": {"float": round(self.float_map50, 6), "int8": round(self.int8_map50, 6)},
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
    onnx: Path, ptq: Path, qat: Path, dataset: Path, spec: SensitivitySpec, out: Path
) -> Sensitivity:
    """Measure each layer, and search for a cheap set of layers in float with which the loss is within the bound.

    Args:
        onnx: A directory that ``export_onnx`` wrote.
        ptq: The directory that ``ptq`` wrote. The float weights are read from it or from ``qat``, whichever the graph
            was exported from.
        qat: The directory that ``qat`` wrote.
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
    method = card["choice"]["method"]
    weights = float_weights(model, load_weights({"ptq": ptq, "qat": qat}[method]))
    variants = _Variants(model, weights, NetworkSpec.model_validate(card["network"]), dataset, spec.images)
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
        layers=losses,
        float_map50=variants.map50(frozenset()),
        int8_map50=variants.map50(variants.names),
        chosen=chosen,
        bound=spec.drop_points_max,
        images=variants.images,
    )
    with publishing_directory(out) as staging:
        _write_artifact(staging, onnx, dataset, card, variants.graph(frozenset(chosen.best.layers)), result)
    return result


def float_share(model: ModelProto, counts: Mapping[str, int]) -> float:
    """Share of the multiply-accumulates that the CPU target runs in float.

    Args:
        model: A Q/DQ graph.
        counts: Multiply-accumulates by output of each convolution.
    """
    from robot_assets.engines.onnxruntime.rewrite import float_convolutions, rewrite

    rewritten = deepcopy(model)
    rewrite(rewritten)
    return sum(counts[node.output[0]] for node in float_convolutions(rewritten.graph)) / sum(counts.values())


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
        network: NetworkSpec,
        dataset: Path,
        images: int,
    ) -> None:
        self._model, self._weights, self._network = model, weights, network
        self.layers = layers_of(model)
        self.names = frozenset(layer.name for layer in self.layers)
        self._split = _sample_val(dataset, images)
        self._counts = multiply_accumulates(model)
        self._costs: dict[frozenset[str], float] = {}
        self._map50: dict[frozenset[str], float] = {}
        self._float_heads = self._run(frozenset())

    @property
    def images(self) -> int:
        return len(self._split)

    def map50(self, quantized: frozenset[str]) -> float:
        """mAP@50 with only the layers ``quantized`` quantized."""
        if quantized not in self._map50:
            self._run(quantized)
        return self._map50[quantized]

    def loss_of(self, layer: Layer) -> LayerLoss:
        """The loss with only ``layer`` quantized."""
        only = frozenset({layer.name})
        heads = self._run(only)
        return LayerLoss(
            layer=layer,
            drop_points=self._drop(only),
            output_error=_output_error(self._float_heads, heads),
            cost=self.cost_with_in_float(only) - self.cost_with_in_float(frozenset()),
        )

    def drop_with_in_float(self, in_float: frozenset[str]) -> float:
        """Points lost with all layers quantized except ``in_float``."""
        return self._drop(self.names - in_float)

    def cost_with_in_float(self, in_float: frozenset[str]) -> float:
        """Share of the multiply-accumulates in float on the CPU target with ``in_float`` in float."""
        if in_float not in self._costs:
            self._costs[in_float] = float_share(self.graph(in_float), self._counts)
        return self._costs[in_float]

    def graph(self, in_float: frozenset[str]) -> ModelProto:
        """The graph with all layers quantized except ``in_float``."""
        return keep_quantized(self._model, self.names - in_float, self._weights)

    def _drop(self, quantized: frozenset[str]) -> float:
        return 100 * (self.map50(frozenset()) - self.map50(quantized))

    def _run(self, quantized: frozenset[str]) -> list[Heads]:
        """Evaluate a variant and return its heads of each image."""
        from robot_assets.training.evaluate import evaluate

        session = _open_session(keep_quantized(self._model, quantized, self._weights))
        outputs: list[Heads] = []

        def infer(images: NDArray[np.float32]) -> Heads:
            outputs.append(session.run(None, {"images": images}))
            return outputs[-1]

        self._map50[quantized] = evaluate(infer, self._split, self._network).map50
        report("sensitivity", len(self._map50), max(len(self._map50), len(self.layers) + 2))
        return outputs


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


def _output_error(ours: Sequence[Heads], theirs: Sequence[Heads]) -> float:
    """Relative error of ``theirs`` against ``ours``: scores for class heads (even positions), cells for boxes (odd)."""
    errors = []
    for position in range(len(ours[0])):
        difference, size = 0.0, 0.0
        for one, other in zip(ours, theirs, strict=True):
            a, b = ((scores_of(head) if position % 2 == 0 else head) for head in (one[position], other[position]))
            difference += float(np.square(b - a, dtype=np.float64).sum())
            size += float(np.square(a, dtype=np.float64).sum())
        errors.append((difference / size) ** 0.5 if size else 0.0)
    return float(np.mean(errors))


def _write_artifact(
    staging: Path, onnx: Path, dataset: Path, card: Mapping[str, Any], model: ModelProto, result: Sensitivity
) -> None:
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
    _write_reference(staging, onnx, dataset, NetworkSpec.model_validate(card["network"]))


def _write_reference(staging: Path, onnx: Path, dataset: Path, network: NetworkSpec) -> None:
    """Record the outputs of the graph on the images on which the exported graph was compared with torch."""
    from safetensors.numpy import load, save_file

    from robot_assets.data.packed import open_split
    from robot_assets.tasks.detection.decode import output_names

    session, val = plain_session(staging / MODEL), open_split(dataset, "val")
    indices = load((onnx / REFERENCE).read_bytes())["indices"]
    rows = [session.run(None, {"images": read_input(val, int(index), network)}) for index in indices]
    heads = {name: np.concatenate([row[at] for row in rows]) for at, name in enumerate(output_names(network))}
    save_file({**heads, "indices": indices}, str(staging / REFERENCE))
