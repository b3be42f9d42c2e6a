"""The manifest of an engine for ONNX Runtime."""

from __future__ import annotations

from typing import ClassVar, Literal

from robot_assets.core.text import plural
from robot_assets.runtime.manifest import Manifest

ENGINE = "engine.onnx"


class OnnxRuntimeManifest(Manifest):
    """The ``manifest.json`` of an engine for ONNX Runtime.

    Attributes:
        threads: Intra-op threads of one inference.
        activations_from_zero: Activations in uint8 with zero point 0.
        activations_shifted: Activations in uint8 with zero point 128.
    """

    engine_file: ClassVar[str] = ENGINE
    uses_gpu: ClassVar[bool] = False
    memory_of: ClassVar[Literal["process", "device"]] = "process"

    kind: Literal["onnxruntime"]
    threads: int
    activations_from_zero: int
    activations_shifted: int

    @property
    def cpu_threads(self) -> int:
        """Its intra-op threads, of which the calling thread is one."""
        return self.threads

    @property
    def runs_on(self) -> str:
        """Its threads."""
        return plural(self.threads, "thread")
