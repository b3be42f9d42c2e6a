"""Load a TensorRT engine and run it. Needs no torch."""

from __future__ import annotations

from pathlib import Path

from robot_assets.engines.engine import Engine
from robot_assets.errors import EngineError


def load_engine(engine: Path) -> Engine:
    """Load an engine after checking that it is what its manifest says and was built for this device.

    Raises:
        EngineError: The manifest, the engine's hash or the platform does not match, or TensorRT refuses it.
    """
    raise EngineError(
        f"{engine} is an engine for TensorRT",
        needed="a version of robot-assets that runs such engines",
        fix="use kind onnxruntime for now",
    )
