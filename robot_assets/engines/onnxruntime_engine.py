"""Build an engine for ONNX Runtime from the Q/DQ graph, and load one. Needs no torch."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robot_assets.core.digests import md5_of
from robot_assets.core.errors import EngineError
from robot_assets.core.publishing import publishing_directory
from robot_assets.engines.onnx_artifact import interface, read_export
from robot_assets.platforms.probe import Platform, probe
from robot_assets.runtime.engine import Engine, refuse_other_bytes, refuse_other_input, refuse_other_platform
from robot_assets.runtime.manifest import (
    ENGINE,
    Arithmetic,
    Kernels,
    Layer,
    OnnxRuntimeManifest,
    load_manifest,
    save_manifest,
)

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

    from robot_assets.engines.rewrite import Rewritten
    from robot_assets.engines.spec import OnnxRuntimeTarget

_DATA_MOVEMENT = frozenset(
    {
        "Cast",
        "Concat",
        "DequantizeLinear",
        "QuantizeLinear",
        "ReorderInput",
        "ReorderOutput",
        "Resize",
        "Transpose",
    }
)


@dataclass(frozen=True)
class EngineSummary:
    """What was built.

    Attributes:
        manifest: Everything that the engine's manifest says.
    """

    manifest: OnnxRuntimeManifest

    @property
    def engine_md5(self) -> str:
        """Of ``engine.onnx``."""
        return self.manifest.engine_md5


class OnnxRuntimeEngine(Engine):
    """A verified engine in a session of ONNX Runtime.

    Attributes:
        manifest: What it is made of.
    """

    manifest: OnnxRuntimeManifest

    def __init__(self, manifest: OnnxRuntimeManifest, session: InferenceSession) -> None:
        self.manifest = manifest
        self._session = session
        self._outputs = [output.name for output in manifest.outputs]

    def infer(self, images: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Images float32 (1, 3, H, W) RGB in [0, 1] -> raw heads in the order of ``output_names``.

        Raises:
            EngineError: The shape or type is another than the manifest's.
        """
        refuse_other_input(images, self.manifest.input.shape)
        heads: list[NDArray[np.float32]] = self._session.run(self._outputs, {self.manifest.input.name: images})
        return heads


def build_engine(onnx: Path, target: OnnxRuntimeTarget, out: Path) -> EngineSummary:
    """Build an engine for this device; the same graph on the same platform gives the same bytes.

    Args:
        onnx: A directory that ``export_onnx`` wrote.
        target: How many threads it runs on.
        out: Directory to publish: ``engine.onnx`` and ``manifest.json``.

    Raises:
        EngineError: The graph does not load, or ONNX Runtime runs none of its convolutions in int8.
    """
    from robot_assets.engines.rewrite import rewrite

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
        manifest = _manifest(card, onnx, path, target, probe(), kernels, rewritten)
        save_manifest(staging, manifest)
    return EngineSummary(manifest)


def load_engine(engine: Path, threads: int | None = None) -> OnnxRuntimeEngine:
    """Load an engine after checking that it is what its manifest says and was built for this platform.

    Args:
        engine: A directory that ``build_engine`` wrote.
        threads: Intra-op threads; by default as many as the manifest says.

    Raises:
        EngineError: The manifest, the engine's hash or the platform does not match; both values are named.
    """
    manifest = load_manifest(engine)
    if not isinstance(manifest, OnnxRuntimeManifest):
        raise EngineError(
            f"{engine} is an engine for {manifest.kind}",
            needed="an engine for onnxruntime",
            fix="load it with robot_assets.engines.load, which knows all kinds",
        )
    refuse_other_bytes(engine / ENGINE, manifest.engine_md5)
    refuse_other_platform(engine, manifest, probe())
    return OnnxRuntimeEngine(manifest, open_session(engine / ENGINE, threads or manifest.threads))


def open_session(path: Path, threads: int, optimized: Path | None = None) -> InferenceSession:
    """A CPU session with all optimizations on and a fixed number of threads.

    Args:
        path: An ONNX file.
        threads: Intra-op threads.
        optimized: Where to write the optimized graph, to see what runs.

    Raises:
        EngineError: ONNX Runtime refuses the file.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions share no base of their own
        raise EngineError(
            f"ONNX Runtime refuses {path}: {error}",
            needed="a graph that it can load",
            fix="export the model again with `robot-assets build`",
        ) from None


def count_kernels(path: Path, threads: int = 1) -> Kernels:
    """Operators by arithmetic after ONNX Runtime's optimizations on this machine."""
    groups: dict[str, Counter[str]] = {"int8": Counter(), "float32": Counter(), "data_movement": Counter()}
    for layer in optimized_layers(path, threads):
        groups[layer.arithmetic][layer.kind] += 1
    return Kernels(**{name: dict(sorted(counts.items())) for name, counts in groups.items()})


def optimized_layers(path: Path, threads: int = 1) -> tuple[Layer, ...]:
    """The nodes of a graph after ONNX Runtime's optimizations on this machine, in the order they run.

    Raises:
        EngineError: ONNX Runtime refuses the file.
    """
    import onnx

    with tempfile.TemporaryDirectory() as scratch:
        optimized = Path(scratch, "optimized.onnx")
        open_session(path, threads, optimized)
        nodes = onnx.load(optimized).graph.node
    return tuple(
        # fused nodes end in a running number, which differs from one session to the next
        Layer(
            name=re.sub(r"_token_\d+$", "", node.name or node.output[0]),
            kind=node.op_type,
            arithmetic=_arithmetic(node.op_type),
        )
        for node in nodes
    )


def _arithmetic(operator: str) -> Arithmetic:
    if operator in _DATA_MOVEMENT:
        return "data_movement"
    return "int8" if operator.startswith("QLinear") or operator.endswith("Integer") else "float32"


def _manifest(
    card: dict[str, Any],
    onnx: Path,
    engine: Path,
    target: OnnxRuntimeTarget,
    platform: Platform,
    kernels: Kernels,
    rewritten: Rewritten,
) -> OnnxRuntimeManifest:
    return OnnxRuntimeManifest(
        kind=target.kind,
        onnx_md5=md5_of(onnx / "model.onnx"),
        engine_md5=md5_of(engine),
        engine_size_bytes=engine.stat().st_size,
        platform=platform.as_json(),
        platform_fingerprint=platform.fingerprint,
        threads=target.threads,
        **interface(card),
        kernels=kernels,
        activations_from_zero=rewritten.from_zero,
        activations_shifted=rewritten.shifted,
    )
