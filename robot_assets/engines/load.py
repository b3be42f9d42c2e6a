"""Reads the manifest of an engine of any kind, and loads an engine after checking its bytes and its platform.

Reading needs no NumPy: the agent of a robot reads manifests, and stays small.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from robot_assets.engines.registry import engine_kind
from robot_assets.platforms.probe import probe
from robot_assets.runtime.manifest import MANIFEST, Manifest, read_manifest

if TYPE_CHECKING:
    from robot_assets.runtime.engine import Engine


def load_manifest(engine: Path) -> Manifest:
    """Read ``manifest.json`` of the engine directory ``engine``.

    Raises:
        EngineError: It is missing, is not a manifest, was edited, or is of an engine kind that is not installed.
    """

    def class_of(kind: str) -> type[Manifest]:
        manifest: type[Manifest] = engine_kind(kind, origin=f"{engine / MANIFEST}: ").manifest
        return manifest

    return read_manifest(engine, class_of)


def load_engine(engine: Path, threads: int | None = None) -> Engine:
    """Load the engine in a directory that a build has published.

    Args:
        engine: Directory of the engine.
        threads: CPU threads of an engine that runs on some; by default as many as its manifest says.

    Raises:
        EngineError: The manifest, the engine's hash or the platform does not match, both values are named; the runtime
            is missing or refuses the engine; or ``threads`` was given for an engine that runs on none.
    """
    from robot_assets.runtime.engine import refuse_other_bytes, refuse_other_platform

    manifest = load_manifest(engine)
    refuse_other_bytes(engine / manifest.engine_file, manifest.engine_md5)
    refuse_other_platform(engine, manifest, probe())
    loaded: Engine = engine_kind(manifest.kind).load(engine, manifest, threads)
    return loaded
