"""Builds an engine for ONNX Runtime from the Q/DQ graph. Needs onnx, not torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from robot_assets.core.errors import EngineError
from robot_assets.core.publishing import publishing_directory
from robot_assets.engines.kind import BuildSummary
from robot_assets.engines.onnx_artifact import interface_of, manifest_fields, read_export
from robot_assets.engines.onnxruntime.layers import count_kernels, unfused_weights
from robot_assets.engines.onnxruntime.manifest import ENGINE, OnnxRuntimeManifest
from robot_assets.engines.onnxruntime.rewrite import rewrite, store_in_float
from robot_assets.runtime.manifest import save_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onnx import ModelProto

    from robot_assets.engines.onnxruntime.spec import OnnxRuntimeTarget


def build_engine(onnx: Path, target: OnnxRuntimeTarget, out: Path) -> BuildSummary[OnnxRuntimeManifest]:
    """Build an engine for this device; the same graph on the same platform gives the same bytes.

    Args:
        onnx: A directory that ``export_onnx`` wrote.
        target: How many threads it runs on.
        out: Directory to publish: ``engine.onnx`` and ``manifest.json``.

    Raises:
        EngineError: The graph does not load, or has no quantized layer.
    """
    card, model = read_export(onnx)
    if all(node.op_type != "QuantizeLinear" for node in model.graph.node):
        raise EngineError(
            f"nothing in {onnx} is quantized",
            needed="a graph with Q/DQ nodes around its layers",
            fix="export a quantized model; this looks like a float one",
        )
    rewritten = rewrite(model, interface_of(onnx, card).input)
    with publishing_directory(out) as staging:
        path = staging / ENGINE
        _write(model, path, target.threads)
        manifest = OnnxRuntimeManifest(
            kind=target.kind,
            **manifest_fields(onnx, card, path),
            threads=target.threads,
            kernels=count_kernels(path, target.threads),
            activations_from_zero=rewritten.from_zero,
            activations_shifted=rewritten.shifted,
        )
        save_manifest(staging, manifest)
    return BuildSummary(manifest, tuple(_notes(manifest)))


def _write(model: ModelProto, path: Path, threads: int) -> None:
    """Write the graph with the weights in float that ONNX Runtime would dequantize at every inference."""
    path.write_bytes(model.SerializeToString(deterministic=True))
    if unfused := unfused_weights(path, threads):
        readers = {node.output[0] for node in model.graph.node if node.input[0] in unfused}
        store_in_float(model.graph, readers)
        path.write_bytes(model.SerializeToString(deterministic=True))


def _notes(manifest: OnnxRuntimeManifest) -> Iterator[str]:
    int8, in_float = manifest.kernels.int8_convolutions, manifest.kernels.float_convolutions
    if in_float > int8:
        yield (
            f"{in_float} of {int8 + in_float} convolutions run in float: ONNX Runtime has int8 kernels only for "
            "convolutions whose output is quantized, directly or after ReLU or a clipping, not before SiLU or Hardswish"
        )
