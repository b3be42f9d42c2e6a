"""What each layer loses when it alone is quantized, and the few that are better left in float. Needs no torch.

Measured on the validation split, never on the test split: the gates of the engines are on test, and what is chosen
by a split cannot be judged on it. The graph runs in ONNX Runtime as it is written, with its optimizations off, so that
the answer is that of the Q/DQ graph and not of one processor's kernels. No time is measured here, since times differ
from run to run: what a layer in float costs is counted in the multiply-accumulates that the CPU target then runs in
float, and the same inputs give the same bytes.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robot_assets.core.digests import md5_of
from robot_assets.core.progress import report
from robot_assets.core.publishing import publishing_directory
from robot_assets.engines.onnx_artifact import read_export
from robot_assets.export.parity import CARD, MODEL, REFERENCE, plain_session, read_input
from robot_assets.export.preflight import preflight
from robot_assets.export.qdq_layers import (
    Layer,
    float_weights,
    keep_quantized,
    layers_of,
    load_weights,
    multiply_accumulates,
)
from robot_assets.models.spec import NetworkSpec
from robot_assets.sensitivity.search import Chosen, search
from robot_assets.sensitivity.spec import SensitivitySpec

if TYPE_CHECKING:
    from onnx import ModelProto
    from onnxruntime import InferenceSession

    from robot_assets.data.packed import PackedSplit

SENSITIVITY = "sensitivity.json"
_FORMAT = 1
_NOISE_POINTS_DIGITS = 1
"""Losses are told apart in tenths of a point of mAP; below that the movement of the heads decides."""

Heads = list[NDArray[np.floating[Any]]]


@dataclass(frozen=True)
class LayerLoss:
    """What one layer loses when it alone is quantized.

    Attributes:
        layer: Which.
        drop_points: mAP@50 points (of 100) below float; negative where it gained.
        output_error: How far the heads move: root mean square of the difference over that of the float heads, with
            logits taken as scores; mean over the heads.
        cost: Share of all multiply-accumulates that run in float on the CPU target because this layer does.
    """

    layer: Layer
    drop_points: float
    output_error: float
    cost: float


@dataclass(frozen=True)
class Sensitivity:
    """What was found; mAP@50 on val, in [0, 1].

    Attributes:
        layers: One for each layer of the graph, in the order they run.
        float_map50: Nothing quantized.
        int8_map50: Everything quantized.
        chosen: The layers to leave in float, and how they were found.
        bound: mAP@50 points that may be lost against float.
        images: How many of val were looked at.
    """

    layers: tuple[LayerLoss, ...]
    float_map50: float
    int8_map50: float
    chosen: Chosen
    bound: float
    images: int

    @property
    def int8_drop_points(self) -> float:
        """mAP@50 points that are lost with everything quantized."""
        return 100 * (self.float_map50 - self.int8_map50)

    @property
    def worst(self) -> LayerLoss:
        """The layer that loses most."""
        return max(self.layers, key=_badness)

    def as_json(self) -> dict[str, Any]:
        """Plain data for the artifact, rounded so that it reads well."""
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
    """Quantize each layer alone, then look for the few that bring the accuracy back when they stay in float.

    Args:
        onnx: A directory that ``export_onnx`` wrote.
        ptq: The directory that ``ptq`` wrote; it or ``qat`` has the float weights, as the graph was made from.
        qat: The directory that ``qat`` wrote.
        dataset: Its val split is looked at.
        spec: With a bound.
        out: Directory to publish: ``sensitivity.json``, and a whole ONNX artifact (``model.onnx``, ``model.json``,
            ``reference.safetensors``) with the chosen layers in float, from which engines can be built.

    Raises:
        EngineError: The ONNX artifact is not whole.
        ExportError: It is of other weights than those given.
        ValueError: ``spec`` has no bound.
    """
    if spec.drop_points_max is None:
        raise ValueError("a spec without drop_points_max; robot_assets.sensitivity.entry.resolved gives it one")
    card, model = read_export(onnx)
    method = card["choice"]["method"]
    weights = float_weights(model, load_weights({"ptq": ptq, "qat": qat}[method]))
    bench = _Bench(model, weights, NetworkSpec.model_validate(card["network"]), dataset, spec.images)
    losses = tuple(bench.alone(layer) for layer in bench.layers)
    chosen = search(
        [
            [one.layer.name for one in sorted(losses, key=_order(spec))],
            [one.layer.name for one in sorted(losses, key=lambda one: (-_gain(one), _order(spec)(one)))],
        ],
        bench.drop_with_in_float,
        bench.cost_with_in_float,
        spec.drop_points_max,
        spec.max_float_layers,
    )
    found = Sensitivity(
        layers=losses,
        float_map50=bench.map50(frozenset()),
        int8_map50=bench.map50(bench.names),
        chosen=chosen,
        bound=spec.drop_points_max,
        images=bench.images,
    )
    with publishing_directory(out) as staging:
        _write_mixed(staging, onnx, dataset, card, bench.mixed(frozenset(chosen.best.layers)), found)
    return found


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


def _badness(loss: LayerLoss) -> tuple[float, float]:
    return round(loss.drop_points, _NOISE_POINTS_DIGITS), round(loss.output_error, 6)


def _order(spec: SensitivitySpec) -> Callable[[LayerLoss], tuple[float, float]]:
    """What sorts the worst layer to the front."""
    if spec.metric == "output_error":
        return lambda loss: (-round(loss.output_error, 6), 0.0)
    return lambda loss: (-_badness(loss)[0], -_badness(loss)[1])


def _gain(loss: LayerLoss) -> float:
    """Movement of the heads that is saved, for what it costs; a hundredth of the work is the least that counts."""
    return round(loss.output_error / max(loss.cost, 0.01), 6)


class _Bench:
    """Variants of one graph on the same images; each is measured once."""

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
        self._split = _spread(dataset, images)
        self._counts = multiply_accumulates(model)
        self._costs: dict[frozenset[str], float] = {}
        self._map50: dict[frozenset[str], float] = {}
        self._float_heads = self._run(frozenset())

    @property
    def images(self) -> int:
        return len(self._split)

    def map50(self, quantized: frozenset[str]) -> float:
        """mAP@50 with only these layers quantized."""
        if quantized not in self._map50:
            self._run(quantized)
        return self._map50[quantized]

    def alone(self, layer: Layer) -> LayerLoss:
        """The loss of one layer."""
        only = frozenset({layer.name})
        heads = self._run(only)
        return LayerLoss(
            layer=layer,
            drop_points=self._drop(only),
            output_error=_output_error(self._float_heads, heads),
            cost=self.cost_with_in_float(only) - self.cost_with_in_float(frozenset()),
        )

    def drop_with_in_float(self, in_float: frozenset[str]) -> float:
        """Points lost with everything quantized but ``in_float``."""
        return self._drop(self.names - in_float)

    def cost_with_in_float(self, in_float: frozenset[str]) -> float:
        """Share of the multiply-accumulates in float on the CPU target with ``in_float`` left in float."""
        if in_float not in self._costs:
            self._costs[in_float] = float_share(self.mixed(in_float), self._counts)
        return self._costs[in_float]

    def mixed(self, in_float: frozenset[str]) -> ModelProto:
        return keep_quantized(self._model, self.names - in_float, self._weights)

    def _drop(self, quantized: frozenset[str]) -> float:
        return 100 * (self.map50(frozenset()) - self.map50(quantized))

    def _run(self, quantized: frozenset[str]) -> list[Heads]:
        """Evaluate a variant; returns its heads, image by image."""
        from robot_assets.training.evaluate import evaluate

        session = _as_written(keep_quantized(self._model, quantized, self._weights))
        seen: list[Heads] = []

        def infer(images: NDArray[np.float32]) -> Heads:
            seen.append(session.run(None, {"images": images}))
            return seen[-1]

        self._map50[quantized] = evaluate(infer, self._split, self._network).map50
        report("sensitivity", len(self._map50), max(len(self._map50), len(self.layers) + 2))
        return seen


def _spread(dataset: Path, images: int) -> PackedSplit:
    """At most ``images`` of the val split, evenly spread."""
    from robot_assets.data.packed import PackedSplit, open_split

    val = open_split(dataset, "val")
    if len(val) <= images:
        return val
    return PackedSplit(dataset / "val", sorted({int(index) for index in np.linspace(0, len(val) - 1, images)}))


def _as_written(model: ModelProto) -> InferenceSession:
    """A session that runs ``model`` as written."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, MODEL)
        path.write_bytes(model.SerializeToString(deterministic=True))
        return plain_session(path)


def _output_error(ours: Sequence[Heads], theirs: Sequence[Heads]) -> float:
    """How far ``theirs`` is from ``ours``, relative; scores for class heads (even), cells for boxes (odd)."""
    errors = []
    for position in range(len(ours[0])):
        difference, size = 0.0, 0.0
        for one, other in zip(ours, theirs, strict=True):
            a, b = ((_scores(head) if position % 2 == 0 else head) for head in (one[position], other[position]))
            difference += float(np.square(b - a, dtype=np.float64).sum())
            size += float(np.square(a, dtype=np.float64).sum())
        errors.append((difference / size) ** 0.5 if size else 0.0)
    return float(np.mean(errors))


def _scores(logits: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Sigmoid, without overflow."""
    scores: NDArray[np.floating[Any]] = 0.5 * (1 + np.tanh(0.5 * logits))
    return scores


def _write_mixed(
    staging: Path, onnx: Path, dataset: Path, card: Mapping[str, Any], model: ModelProto, found: Sensitivity
) -> None:
    """An ONNX artifact as ``export_onnx`` writes it, and ``sensitivity.json``."""
    import onnx as onnx_library

    preflight(model, staging / MODEL)
    onnx_library.checker.check_model(model, full_check=True)
    (staging / MODEL).write_bytes(model.SerializeToString(deterministic=True))
    operators = [node.op_type for node in model.graph.node]
    about = {
        **card,
        "md5": md5_of(staging / MODEL),
        "nodes": {name: operators.count(name) for name in sorted(set(operators))},
        "float_layers": list(found.chosen.best.layers),
    }
    _write_json(staging / CARD, about)
    _write_json(staging / SENSITIVITY, found.as_json())
    _write_reference(staging, onnx, dataset, NetworkSpec.model_validate(card["network"]))


def _write_reference(staging: Path, onnx: Path, dataset: Path, network: NetworkSpec) -> None:
    """What the graph answers, as written, on the images that the exported one was compared with torch on."""
    from safetensors.numpy import load, save_file

    from robot_assets.data.packed import open_split
    from robot_assets.models.decode import output_names

    session, val = plain_session(staging / MODEL), open_split(dataset, "val")
    indices = load((onnx / REFERENCE).read_bytes())["indices"]
    rows = [session.run(None, {"images": read_input(val, int(index), network)}) for index in indices]
    heads = {name: np.concatenate([row[at] for row in rows]) for at, name in enumerate(output_names(network))}
    save_file({**heads, "indices": indices}, str(staging / REFERENCE))


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=2, sort_keys=True, allow_nan=False) + "\n")
