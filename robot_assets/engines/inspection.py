"""Describes an engine in plain data: its manifest, its layers, and whether it runs here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from robot_assets.engines.load import load_manifest
from robot_assets.engines.registry import engine_kind
from robot_assets.platforms.probe import probe
from robot_assets.runtime.engine import refuse_other_bytes


def describe_engine(engine: Path, *, with_layers: bool = False) -> dict[str, Any]:
    """Describe an engine without running it; it may be an engine for another device.

    Args:
        engine: Directory of the engine.
        with_layers: Whether to list every layer; some kinds load the engine for that.

    Raises:
        EngineError: There is no complete engine.
    """
    manifest = load_manifest(engine)
    refuse_other_bytes(engine / manifest.engine_file, manifest.engine_md5)
    here = probe(require_runtime=False)
    files = {path.name: path.stat().st_size for path in sorted(engine.iterdir()) if path.is_file()}
    found: dict[str, Any] = {
        "directory": str(engine),
        "files": files,
        "runs_here": here.fingerprint == manifest.platform_fingerprint,
        "runs_on": manifest.runs_on,
        "here": here.as_json(),
        "manifest": manifest.model_dump(mode="json", exclude={"layers"}),
    }
    if with_layers:
        layers = engine_kind(manifest.kind).layers(engine, manifest)
        found["layers"] = [layer.model_dump(mode="json") for layer in layers]
    return found
