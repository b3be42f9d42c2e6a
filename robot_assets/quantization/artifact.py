"""The files of a quantized model: folded weights, configuration, and ``quantization.json``. Light to import.

``quantization.json`` holds the activation scales and every figure that decided something. Weight scales are not
in it: they are ``max(abs(w)) / 127`` of each output channel, so the weights determine them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from robot_assets.core.errors import QuantizationError

if TYPE_CHECKING:
    from torch.fx import GraphModule

    from robot_assets.models.checkpoint import CheckpointConfig

QUANTIZATION = "quantization.json"
_FORMAT = 1

Method = Literal["ptq", "qat"]


@dataclass(frozen=True)
class Quantization:
    """The content of ``quantization.json``.

    Attributes:
        method: How the weights came to be.
        calibrator: The rule that gave the activation scales.
        scales: Step of the int8 grid of each quantized activation, by tensor name of the graph.
        val: Metrics on the validation split by what was measured: ``checkpoint``, a calibrator, ``qat``,
            ``fp32_control``. Each is ``DetectionMetrics.as_json()``.
        training: QAT only: epochs, learning rate, and the figure of each epoch.
    """

    method: Method
    calibrator: str
    scales: dict[str, float]
    val: dict[str, dict[str, Any]]
    training: dict[str, Any] = field(default_factory=dict)

    @property
    def map50(self) -> float:
        """mAP@50 on val, in [0, 1], of the quantized model that this describes."""
        return float(self.val["qat" if self.method == "qat" else self.calibrator]["map50"])


def save_quantized(folder: Path, prepared: GraphModule, config: CheckpointConfig, quantization: Quantization) -> None:
    """Write weights, ``config.json`` and ``quantization.json`` into ``folder``, which the caller publishes."""
    from robot_assets.models.checkpoint import save_checkpoint
    from robot_assets.quantization.graph import folded_weights

    save_checkpoint(folder, folded_weights(prepared), config.network, config.classes)
    document = {
        "format": _FORMAT,
        "method": quantization.method,
        "calibrator": quantization.calibrator,
        "weights": "int8, symmetric, scale of an output channel = max(abs(w)) / 127",
        "activations": "int8, symmetric, one scale a tensor",
        "scales": quantization.scales,
        "val": quantization.val,
        "training": quantization.training,
    }
    text = json.dumps(document, indent=2, sort_keys=True, allow_nan=False)
    (folder / QUANTIZATION).write_text(text + "\n")


def load_quantization(folder: Path) -> Quantization:
    """Read ``quantization.json`` of ``folder``.

    Raises:
        QuantizationError: It is missing, or not what :func:`save_quantized` writes.
    """
    path = folder / QUANTIZATION
    fix = "run the quantization asset again"
    try:
        document = json.loads(path.read_bytes())
        if document["format"] != _FORMAT:
            raise QuantizationError(f"{path}: format {document['format']}", needed=f"format {_FORMAT}", fix=fix)
        found = Quantization(
            method=document["method"],
            calibrator=str(document["calibrator"]),
            scales={str(name): float(scale) for name, scale in document["scales"].items()},
            val=dict(document["val"]),
            training=dict(document["training"]),
        )
        _ = found.map50
    except FileNotFoundError:
        raise QuantizationError(f"no {path}", needed="a quantized model's directory", fix=fix) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise QuantizationError(
            f"{path} does not describe a quantized model ({type(error).__name__}: {error})",
            needed="the file that quantization wrote",
            fix=fix,
        ) from None
    return found


def load_quantized(folder: Path) -> tuple[GraphModule, CheckpointConfig, Quantization]:
    """Rebuild the prepared graph of ``folder``, with its weights and scales, fake-quantizing; no pickle is read.

    Its outputs are those of the graph that was saved, bit for bit.

    Raises:
        QuantizationError: The files do not fit each other or the network.
    """
    from robot_assets.models.checkpoint import WEIGHTS, load_config, read_weights
    from robot_assets.models.network import build_network
    from robot_assets.quantization.graph import apply_scales, load_folded_weights, prepare, set_mode

    quantization, config = load_quantization(folder), load_config(folder)
    prepared = prepare(build_network(config.network, len(config.classes)), config.network)
    load_folded_weights(prepared, read_weights(folder / WEIGHTS))
    apply_scales(prepared, quantization.scales)
    set_mode(prepared, "quantize")
    return prepared, config, quantization


def checkpoint_val_metrics(checkpoint: Path) -> dict[str, Any]:
    """The checkpoint's own figures on the validation split, from its ``metrics.json``."""
    return read_metrics(checkpoint, "val")


def read_metrics(checkpoint: Path, split: str) -> dict[str, Any]:
    """Metrics of ``checkpoint`` on ``split``, as ``DetectionMetrics.as_json()`` wrote them.

    Raises:
        QuantizationError: ``metrics.json`` is missing or does not hold them.
    """
    path = checkpoint / "metrics.json"
    try:
        metrics: Mapping[str, Any] = json.loads(path.read_bytes())[split]
        float(metrics["map50"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise QuantizationError(
            f"{path} has no mAP@50 of the {split} split ({type(error).__name__})",
            needed="the metrics.json that training writes",
            fix="train the checkpoint again",
        ) from None
    return dict(metrics)
