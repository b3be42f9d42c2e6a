"""Measures the latency of layers in float on the CPU target. Not part of the artifact: times differ from run to run."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from robot_assets.engines.benchmark import Latencies, interleave
from robot_assets.engines.onnx_artifact import interface_of, read_export
from robot_assets.engines.onnxruntime.run import open_session
from robot_assets.export.qdq_layers import keep_quantized, layers_of

if TYPE_CHECKING:
    from onnx import ModelProto

    from robot_assets.tasks.interface import Input

_INT8, _CHOSEN, _FLOAT = "(all int8)", "(chosen in float)", "(all float)"


@dataclass(frozen=True)
class VariantLatencies:
    """Latencies of variants of one graph, interleaved in one run.

    They are compared by their fastest inference: builds often share a machine with other processes, which change the
    median by more than the few per cent to measure.

    Attributes:
        int8: All layers quantized.
        chosen: The chosen layers in float.
        float32: No layer quantized.
        alone: All layers quantized but one, by the name of that layer.
    """

    int8: Latencies
    chosen: Latencies
    float32: Latencies
    alone: dict[str, Latencies]

    @property
    def added_by_chosen(self) -> float:
        """Relative increase of the latency with the chosen layers in float."""
        return _fastest(self.chosen) / _fastest(self.int8) - 1

    def added(self, layer: str) -> float:
        """Relative increase of the latency with only ``layer`` in float."""
        return _fastest(self.alone[layer]) / _fastest(self.int8) - 1

    def as_json(self) -> dict[str, Any]:
        """The fastest inference of each variant, in milliseconds."""
        return {
            "int8": round(_fastest(self.int8), 3),
            "chosen": round(_fastest(self.chosen), 3),
            "float32": round(_fastest(self.float32), 3),
            "one_layer_in_float": {name: round(_fastest(one), 3) for name, one in self.alone.items()},
        }


def measure_variants(
    onnx: Path, in_float: Sequence[str], threads: int = 1, inferences: int = 60, warmup: int = 5
) -> VariantLatencies:
    """Time CPU engines of the graph in ``onnx``: all int8, with ``in_float`` in float, and with each layer in float.

    Raises:
        EngineError: The ONNX artifact is incomplete, or ONNX Runtime rejects a variant.
    """
    card, model = read_export(onnx)
    input = interface_of(onnx, card).input
    images = np.random.default_rng(0).random(input.shape, dtype=np.float32)
    names = [layer.name for layer in layers_of(model)]
    variants = {_INT8: (), _CHOSEN: tuple(in_float), _FLOAT: tuple(names), **{name: (name,) for name in names}}
    calls: dict[str, Callable[[], object]] = {}
    for name, layers in variants.items():
        session = _open_session(keep_quantized(model, set(names) - set(layers)), input, threads)
        calls[name] = lambda session=session: session.run(None, {input.name: images})  # type: ignore[misc]
    timed = interleave(calls, inferences, warmup)
    return VariantLatencies(timed[_INT8], timed[_CHOSEN], timed[_FLOAT], {name: timed[name] for name in names})


def _fastest(latencies: Latencies) -> float:
    return min(latencies.milliseconds)


def _open_session(model: ModelProto, input: Input, threads: int) -> Any:
    from robot_assets.engines.onnxruntime.rewrite import rewrite

    rewrite(model, input)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "variant.onnx")
        path.write_bytes(model.SerializeToString(deterministic=True))
        return open_session(path, threads)
