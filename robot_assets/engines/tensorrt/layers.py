"""Reads the layers of a built engine from TensorRT's engine inspector."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from robot_assets.core.errors import EngineError
from robot_assets.engines.tensorrt.manifest import Layers
from robot_assets.runtime.manifest import Arithmetic, Layer

_MOVERS = ("reformat", "shuffle", "noop", "copy", "constant", "slice", "concat", "resize", "cast", "quantize")
"""Parts of the kinds of layers that only move or convert data."""
_TYPES: tuple[tuple[Arithmetic, str], ...] = (
    ("int8", r"int8"),
    ("float16", r"fp16|half|float16"),
    ("float32", r"fp32|float"),
)


@dataclass(frozen=True)
class Inspected:
    """Layers of an engine.

    Attributes:
        layers: In the order they run.
        document: The inspector's output, for ``layers.json``.
    """

    layers: tuple[Layer, ...]
    document: dict[str, Any]

    def counts(self) -> Layers:
        """Layers by arithmetic and kind."""
        groups: dict[str, Counter[str]] = {name: Counter() for name in Layers.model_fields}
        for layer in self.layers:
            groups[layer.arithmetic][layer.kind] += 1
        return Layers(**{name: dict(sorted(counts.items())) for name, counts in groups.items()})


def read_layers(text: str) -> Inspected:
    """Read the JSON of ``EngineInspector.get_engine_information`` for an engine with detailed verbosity.

    Raises:
        EngineError: The text has another form.
    """
    try:
        document: dict[str, Any] = json.loads(text)
        layers = tuple(_layer(entry) for entry in document["Layers"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EngineError(
            f"the output of TensorRT's engine inspector is unreadable ({type(error).__name__}: {error})",
            needed='JSON with "Layers", each with its name, type and tensors',
            fix="report it with the version of TensorRT; the log of the run has TensorRT's messages",
        ) from None
    return Inspected(layers, document)


def _layer(entry: dict[str, Any]) -> Layer:
    kind = str(entry.get("ParameterType") or entry["LayerType"])
    return Layer(name=str(entry["Name"]), kind=kind, arithmetic=_arithmetic(entry, kind))


def _arithmetic(entry: dict[str, Any], kind: str) -> Arithmetic:
    """By the type of the inputs: an int8 convolution may write float."""
    if "DLA" in str(entry["LayerType"]).upper():
        return "dla"
    if any(mover in kind.lower() for mover in _MOVERS):
        return "data_movement"
    return _type_of(entry)


def _type_of(entry: dict[str, Any]) -> Arithmetic:
    for tensors in (entry.get("Inputs"), entry.get("Outputs")):
        for text in _datatypes(tensors or ()):
            for name, pattern in _TYPES:
                if re.search(pattern, text, re.IGNORECASE):
                    return name
    return "float32"


def _datatypes(tensors: Iterable[dict[str, Any]]) -> Iterable[str]:
    for tensor in tensors:
        yield " ".join(str(value) for key, value in tensor.items() if "datatype" in key.lower())
