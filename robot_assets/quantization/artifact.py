"""The files of a quantized model: folded weights, ``config.json`` and ``quantization.json``. Light to import.

``quantization.json`` contains the activation scales and the metrics of all candidates. Weight scales are not in it:
they are ``max(abs(w)) / 127`` of each output channel, so the weights determine them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from robot_assets.core.documents import write_json
from robot_assets.core.errors import QuantizationError

if TYPE_CHECKING:
    from torch.fx import GraphModule

    from robot_assets.tasks.checkpoint import CheckpointConfig

QUANTIZATION = "quantization.json"
_FORMAT = 2

Method = Literal["ptq", "qat"]


@dataclass(frozen=True)
class Quantization:
    """The content of ``quantization.json``.

    Attributes:
        method: How the model was quantized.
        calibrator: The rule of the activation scales.
        scales: Step of the int8 grid of each quantized activation, by tensor name of the graph.
        metric: Key of the metric that the task is judged by, such as ``map50``.
        val: Metrics on the validation split, as ``Metrics.as_json()``, of ``checkpoint``, each calibrator, ``qat`` and
            ``fp32_control``.
        float_layers: Patterns of the layers that were left in float.
        training: QAT only: epochs, learning rate, and the history of QAT and its float control.
    """

    method: Method
    calibrator: str
    scales: dict[str, float]
    metric: str
    val: dict[str, dict[str, Any]]
    float_layers: tuple[str, ...] = ()
    training: dict[str, Any] = field(default_factory=dict)

    def score_of(self, name: str) -> float:
        """The metric of one of ``val``, in [0, 1]."""
        return float(self.val[name][self.metric])

    @property
    def score(self) -> float:
        """The metric of the quantized model on val, in [0, 1]."""
        return self.score_of("qat" if self.method == "qat" else self.calibrator)


def save_quantized(folder: Path, prepared: GraphModule, config: CheckpointConfig, quantization: Quantization) -> None:
    """Write weights, ``config.json`` and ``quantization.json`` into ``folder``, which the caller publishes."""
    from robot_assets.quantization.graph import folded_weights
    from robot_assets.tasks.checkpoint import save_checkpoint

    save_checkpoint(folder, folded_weights(prepared), config)
    document = {
        "format": _FORMAT,
        "method": quantization.method,
        "calibrator": quantization.calibrator,
        "weights": "int8, symmetric, scale of an output channel = max(abs(w)) / 127",
        "activations": "int8, symmetric, one scale a tensor",
        "scales": quantization.scales,
        "metric": quantization.metric,
        "val": quantization.val,
        "float_layers": list(quantization.float_layers),
        "training": quantization.training,
    }
    write_json(folder / QUANTIZATION, document)


def load_quantization(folder: Path) -> Quantization:
    """Read ``quantization.json`` of ``folder``.

    Raises:
        QuantizationError: It is missing or invalid.
    """
    path = folder / QUANTIZATION
    fix = "rebuild the quantized model (ptq or qat)"
    try:
        document = json.loads(path.read_bytes())
        if document["format"] != _FORMAT:
            raise QuantizationError(f"{path}: format {document['format']}", needed=f"format {_FORMAT}", fix=fix)
        quantization = Quantization(
            method=document["method"],
            calibrator=str(document["calibrator"]),
            scales={str(name): float(scale) for name, scale in document["scales"].items()},
            metric=str(document["metric"]),
            val=dict(document["val"]),
            float_layers=tuple(str(pattern) for pattern in document["float_layers"]),
            training=dict(document["training"]),
        )
        _ = quantization.score
    except FileNotFoundError:
        raise QuantizationError(f"no {path}", needed="the directory of a quantized model", fix=fix) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise QuantizationError(
            f"{path} does not describe a quantized model ({type(error).__name__}: {error})",
            needed="the file that quantization wrote",
            fix=fix,
        ) from None
    return quantization


def load_quantized(folder: Path) -> tuple[GraphModule, CheckpointConfig, Quantization]:
    """Rebuild the prepared graph of ``folder`` with its weights and scales, fake-quantizing; reads no pickle.

    Its outputs equal those of the saved graph, bit for bit.

    Raises:
        QuantizationError: The files do not match each other or the network.
    """
    from robot_assets.quantization.graph import apply_scales, load_folded_weights, prepare, set_mode
    from robot_assets.tasks.building import build
    from robot_assets.tasks.checkpoint import WEIGHTS, load_config, read_weights

    quantization, config = load_quantization(folder), load_config(folder)
    prepared = prepare(build(config.network, config.interface), config.interface.input, quantization.float_layers)
    load_folded_weights(prepared, read_weights(folder / WEIGHTS))
    apply_scales(prepared, quantization.scales)
    set_mode(prepared, "quantize")
    return prepared, config, quantization


def checkpoint_val_metrics(checkpoint: Path) -> tuple[str, dict[str, Any]]:
    """The metric of ``checkpoint``'s task, and its metrics on the validation split, from its ``metrics.json``."""
    return read_metrics(checkpoint, "val")


def read_metrics(checkpoint: Path, split: str) -> tuple[str, dict[str, Any]]:
    """The metric of a task by its key, and the metrics of ``checkpoint`` on ``split``, as ``Metrics.as_json()``.

    Raises:
        QuantizationError: ``metrics.json`` is missing or does not contain them.
    """
    path = checkpoint / "metrics.json"
    try:
        document: Mapping[str, Any] = json.loads(path.read_bytes())
        metric, metrics = str(document["metric"]), dict(document[split])
        float(metrics[metric])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise QuantizationError(
            f"{path} has no metrics of the {split} split ({type(error).__name__})",
            needed="the metrics.json that training writes",
            fix="rebuild the checkpoint",
        ) from None
    return metric, metrics
