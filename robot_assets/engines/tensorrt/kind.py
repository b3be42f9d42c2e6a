"""The engine kind of TensorRT. Its code is imported where it is used: most machines have no TensorRT."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from robot_assets.engines.kind import BuildContext, BuildSummary, EngineKind
from robot_assets.engines.tensorrt.manifest import TensorRTManifest
from robot_assets.engines.tensorrt.spec import TensorRTTarget

if TYPE_CHECKING:
    from robot_assets.core.page import Facts, Page
    from robot_assets.runtime.engine import Engine
    from robot_assets.runtime.manifest import Layer

_Summary = BuildSummary[TensorRTManifest]


def build(onnx: Path, target: TensorRTTarget, out: Path, context: BuildContext) -> _Summary:
    """Build an engine for this device, with the timing caches of the store."""
    from robot_assets.engines.tensorrt.build import build_engine
    from robot_assets.engines.tensorrt.timing_cache_store import StoredTimingCaches

    summary = build_engine(onnx, target, out, StoredTimingCaches(context.store))
    context.note(f"TensorRT's log:\n{summary.log}")
    return summary


def load(engine: Path, manifest: TensorRTManifest, threads: int | None) -> Engine:
    """Load a verified engine on the GPU; it runs on no CPU threads."""
    from robot_assets.engines.tensorrt.run import load_verified, refuse_threads

    refuse_threads(engine, threads)
    return load_verified(engine, manifest)


def layers(engine: Path, manifest: TensorRTManifest) -> tuple[Layer, ...]:
    """The layers as TensorRT's engine inspector listed them after the build."""
    return manifest.layers


def facts(summary: _Summary) -> Facts:
    """What runs in int8, the size, and what TensorRT built with."""
    from robot_assets.engines.pages import engine_facts

    manifest = summary.manifest
    return engine_facts(
        manifest,
        tensorrt=manifest.tensorrt,
        typing=manifest.typing,
        device_memory_bytes=manifest.device_memory_bytes,
        timing_cache_md5=manifest.timing_cache_md5 or "none",
    )


def page(summary: _Summary, engine: Path, onnx: Path, scratch: Path) -> Page:
    """Latency on this device, and the arithmetic of the layers."""
    from robot_assets.engines.tensorrt.page import timed_alone

    return timed_alone(summary, engine)


KIND = EngineKind(
    name="tensorrt",
    title="TensorRT",
    target=TensorRTTarget,
    manifest=TensorRTManifest,
    build=build,
    load=load,
    layers=layers,
    load_float=None,
    facts=facts,
    page=page,
)
