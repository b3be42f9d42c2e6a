"""The engine kind of ONNX Runtime. Its code is imported where it is used: a robot may not have ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from robot_assets.engines.kind import BuildContext, BuildSummary, EngineKind
from robot_assets.engines.onnxruntime.manifest import OnnxRuntimeManifest
from robot_assets.engines.onnxruntime.spec import OnnxRuntimeTarget

if TYPE_CHECKING:
    from robot_assets.core.page import Facts, Page
    from robot_assets.engines.kind import Infer
    from robot_assets.runtime.engine import Engine
    from robot_assets.runtime.manifest import Layer

_Summary = BuildSummary[OnnxRuntimeManifest]


def build(onnx: Path, target: OnnxRuntimeTarget, out: Path, context: BuildContext) -> _Summary:
    """Build an engine for this device; nothing is kept between builds."""
    from robot_assets.engines.onnxruntime.build import build_engine

    return build_engine(onnx, target, out)


def load(engine: Path, manifest: OnnxRuntimeManifest, threads: int | None) -> Engine:
    """Load a verified engine on ``threads`` intra-op threads."""
    from robot_assets.engines.onnxruntime.run import load_verified

    return load_verified(engine, manifest, threads)


def layers(engine: Path, manifest: OnnxRuntimeManifest) -> tuple[Layer, ...]:
    """The operators that run on this machine; the engine is loaded for that."""
    from robot_assets.engines.onnxruntime.layers import optimized_layers

    return optimized_layers(engine / manifest.engine_file)


def load_float(onnx: Path, manifest: OnnxRuntimeManifest) -> Infer:
    """Load a float ONNX on the threads of an engine."""
    from robot_assets.engines.onnxruntime.run import load_float

    return load_float(onnx, manifest)


def facts(summary: _Summary) -> Facts:
    """What runs in int8, and the size."""
    from robot_assets.engines.pages import engine_facts

    return engine_facts(summary.manifest)


def page(summary: _Summary, engine: Path, onnx: Path, scratch: Path) -> Page:
    """Latency beside its graph in float, on the same threads."""
    from robot_assets.engines.onnxruntime.page import timed_beside_float

    return timed_beside_float(summary, engine, onnx, scratch)


KIND = EngineKind(
    name="onnxruntime",
    title="ONNX Runtime",
    target=OnnxRuntimeTarget,
    manifest=OnnxRuntimeManifest,
    build=build,
    load=load,
    layers=layers,
    load_float=load_float,
    facts=facts,
    page=page,
)
