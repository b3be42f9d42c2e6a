"""Build a TensorRT engine from the Q/DQ graph, on the device that it is for. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from robot_assets.engines.manifest import TensorRTManifest
from robot_assets.errors import EngineError

if TYPE_CHECKING:
    from robot_assets.engines.spec import TensorRTTarget


@dataclass(frozen=True)
class EngineSummary:
    """What was built.

    Attributes:
        manifest: Everything that the engine's manifest says.
    """

    manifest: TensorRTManifest

    @property
    def engine_md5(self) -> str:
        """Of ``engine.plan``."""
        return self.manifest.engine_md5


def build_engine(onnx: Path, target: TensorRTTarget, out: Path) -> EngineSummary:
    """Build an engine for this device.

    Args:
        onnx: A directory that ``export_onnx`` wrote.
        target: How TensorRT is to build.
        out: Directory to publish.

    Raises:
        EngineError: It cannot be built here; says why and what to do.
    """
    raise EngineError(
        f"{onnx} for {out}, precision {target.precision}",
        needed="a version of robot-assets that builds with TensorRT",
        fix="use kind onnxruntime for now",
    )
