"""The manifest of a TensorRT engine."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from robot_assets.core.spec import Spec
from robot_assets.platforms.memory import MIB
from robot_assets.runtime.manifest import Kernels, Layer, Manifest, convolutions

PLAN = "engine.plan"
WEIGHTS = "weights.onnx"


class Layers(Kernels):
    """Layers of a TensorRT engine by arithmetic; everything that runs on a DLA is one layer."""

    float16: dict[str, int] = Field(description="half precision, by kind of layer")
    dla: dict[str, int] = Field(default={}, description="on a deep learning accelerator, by kind of layer")

    @property
    def float_convolutions(self) -> int:
        """Convolutions in float arithmetic, of either width."""
        return convolutions(self.float32) + convolutions(self.float16)


class CudaDevice(Spec):
    """The GPU that an engine was built on, as CUDA reports it."""

    name: str
    compute_capability: str


class Binding(Spec):
    """An input or output of a TensorRT engine.

    Attributes:
        name: As in the ONNX.
        shape: With -1 where it is dynamic.
        dtype: Of the buffer, such as ``float32``.
        scale: Quantization step of an input that the graph quantizes first; None for one that stays float.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float | None = None


class TensorRTManifest(Manifest):
    """The ``manifest.json`` of a TensorRT engine.

    ``input`` and ``outputs`` have the shapes of one image; ``bindings`` are what the engine takes.
    """

    engine_file: ClassVar[str] = PLAN
    cpu_threads: ClassVar[int] = 1  # it waits for the GPU
    uses_gpu: ClassVar[bool] = True  # with a DLA, too: the GPU converts its inputs
    memory_of: ClassVar[Literal["process", "device"]] = "device"

    kind: Literal["tensorrt"]
    tensorrt: str
    gpu: CudaDevice
    typing: Literal["weak", "strong"]
    settings: dict[str, Any] = Field(description="the target's parameters that the build read")
    bindings: tuple[Binding, ...]
    batch_max: int
    device_memory_bytes: int = Field(description="scratch memory of one execution context")
    kernels: Layers
    layers: tuple[Layer, ...] = Field(description="in the order they run; layers.json has their details")
    build_log_md5: str
    layers_md5: str
    timing_cache_md5: str | None = Field(description="the measurements that its tactics were chosen by; None: afresh")
    weights_md5: str | None = Field(default=None, description="of the ONNX whose weights a stripped plan needs")

    @property
    def runs_on(self) -> str:
        """The GPU, or the DLA by its number."""
        dla = self.settings.get("dla")
        return "GPU" if dla is None else f"DLA {dla['core']}"

    @property
    def resources(self) -> dict[str, float]:
        """Scratch memory of one execution context, MiB."""
        return {"context_memory_mib": round(self.device_memory_bytes / MIB, 3)}
