"""Builds an engine for ONNX Runtime from the Q/DQ graph. Needs onnx, not torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from robot_assets.core.errors import EngineError
from robot_assets.core.publishing import publishing_directory
from robot_assets.engines.kind import BuildSummary
from robot_assets.engines.onnx_artifact import manifest_fields, read_export
from robot_assets.engines.onnxruntime.layers import count_kernels
from robot_assets.engines.onnxruntime.manifest import ENGINE, OnnxRuntimeManifest
from robot_assets.engines.onnxruntime.rewrite import rewrite
from robot_assets.runtime.manifest import save_manifest

if TYPE_CHECKING:
    from robot_assets.engines.onnxruntime.spec import OnnxRuntimeTarget


def build_engine(onnx: Path, target: OnnxRuntimeTarget, out: Path) -> BuildSummary[OnnxRuntimeManifest]:
    """Build an engine for this device; the same graph on the same platform gives the same bytes.

    Args:
        onnx: A directory that ``export_onnx`` wrote.
        target: How many threads it runs on.
        out: Directory to publish: ``engine.onnx`` and ``manifest.json``.

    Raises:
        EngineError: The graph does not load, or ONNX Runtime runs none of its convolutions in int8.
    """
    card, model = read_export(onnx)
    rewritten = rewrite(model)
    with publishing_directory(out) as staging:
        path = staging / ENGINE
        path.write_bytes(model.SerializeToString(deterministic=True))
        kernels = count_kernels(path, target.threads)
        if not kernels.int8_convolutions:
            raise EngineError(
                f"none of the {kernels.float_convolutions} convolutions of {onnx} runs in int8",
                needed="a graph with Q/DQ nodes around its convolutions",
                fix="export a quantized model; this looks like a float one",
            )
        manifest = OnnxRuntimeManifest(
            kind=target.kind,
            **manifest_fields(onnx, card, path),
            threads=target.threads,
            kernels=kernels,
            activations_from_zero=rewritten.from_zero,
            activations_shifted=rewritten.shifted,
        )
        save_manifest(staging, manifest)
    return BuildSummary(manifest)
