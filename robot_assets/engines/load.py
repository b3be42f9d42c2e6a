"""Load an engine of any kind, after checking that it is what its manifest says and was built for this device."""

from __future__ import annotations

from pathlib import Path

from robot_assets.core.errors import EngineError
from robot_assets.runtime.engine import Engine
from robot_assets.runtime.manifest import TensorRTManifest, load_manifest


def load_engine(engine: Path, threads: int | None = None) -> Engine:
    """Load the engine in a directory that a build has published.

    Args:
        engine: Directory of the engine.
        threads: Intra-op threads of an engine for ONNX Runtime; by default as many as its manifest says.

    Raises:
        EngineError: The manifest, the engine's hash or the platform does not match, both values are named; the runtime
            is missing or refuses the engine; or ``threads`` was given for an engine that runs on none.
    """
    manifest = load_manifest(engine)
    if isinstance(manifest, TensorRTManifest):
        from robot_assets.engines.tensorrt.run import load_engine as load_tensorrt

        if threads is not None:
            raise EngineError(
                f"threads={threads} for {engine}, which runs on the GPU",
                needed="a number of threads for engines of ONNX Runtime alone",
                fix="leave the threads away",
            )
        return load_tensorrt(engine)
    from robot_assets.engines.onnxruntime_engine import load_engine as load_onnxruntime

    return load_onnxruntime(engine, threads)
