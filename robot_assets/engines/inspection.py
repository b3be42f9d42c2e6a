"""Describes an engine in plain data: its manifest, its layers, and whether it runs here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from robot_assets.core.errors import RobotAssetsError
from robot_assets.engines.load import load_manifest
from robot_assets.engines.registry import engine_kind
from robot_assets.platforms.probe import probe
from robot_assets.runtime.decoding import decoder_code
from robot_assets.runtime.engine import refuse_other_bytes
from robot_assets.runtime.manifest import Manifest


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
        "decoder": _decoder(manifest),
        "manifest": manifest.model_dump(mode="json", exclude={"layers"}),
    }
    if with_layers:
        layers = engine_kind(manifest.kind).layers(engine, manifest)
        found["layers"] = [layer.model_dump(mode="json") for layer in layers]
    return found


def _decoder(manifest: Manifest) -> str:
    """Whether the decoder here is that of the engine: an engine of another one is refused when it predicts."""
    try:
        here = decoder_code(manifest.interface)
    except RobotAssetsError:
        return "not installed here"
    return "as here" if here == manifest.decoder_code else "another one here"
