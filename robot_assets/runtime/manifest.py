"""What an engine is made of, where it may run, and how to talk to it. Light to import; needs no torch.

No timing is in it: an engine that rebuilds to the same bytes makes nothing downstream stale.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, TypeAdapter, ValidationError

from robot_assets.core.errors import EngineError
from robot_assets.core.spec import Spec
from robot_assets.models.spec import NetworkSpec

ENGINE = "engine.onnx"
PLAN = "engine.plan"
MANIFEST = "manifest.json"


class Tensor(Spec):
    """Name and fixed shape of an input or output; float32."""

    name: str
    shape: tuple[int, ...]


class Kernels(Spec):
    """What really runs, by arithmetic: operators of the graph as ONNX Runtime has optimized it, or TensorRT layers."""

    int8: dict[str, int] = Field(description="integer arithmetic, by operator")
    float32: dict[str, int] = Field(description="float arithmetic, by operator")
    data_movement: dict[str, int] = Field(description="conversions and copies, by operator")

    @property
    def int8_convolutions(self) -> int:
        """Convolutions in integer arithmetic."""
        return _convolutions(self.int8)

    @property
    def float_convolutions(self) -> int:
        """Convolutions that stayed in float."""
        return _convolutions(self.float32)


class Layers(Kernels):
    """Layers of a TensorRT engine by arithmetic; what runs on a DLA is one layer, whatever it was made of."""

    float16: dict[str, int] = Field(description="half precision, by kind of layer")
    dla: dict[str, int] = Field(default={}, description="on a deep learning accelerator, by kind of layer")

    @property
    def float_convolutions(self) -> int:
        """Convolutions that stayed in float, of either width."""
        return _convolutions(self.float32) + _convolutions(self.float16)


Arithmetic: TypeAlias = Literal["int8", "float16", "float32", "dla", "data_movement"]
"""A field of :class:`Layers`."""


class Layer(Spec):
    """One layer of an engine: of TensorRT, or a node of the graph as ONNX Runtime has optimized it.

    Attributes:
        name: Of the layer; in TensorRT made of the names of the ONNX nodes that are in it.
        kind: Such as ``Convolution`` or ``QLinearConv``.
        arithmetic: What it calculates in, by what it reads.
    """

    name: str
    kind: str
    arithmetic: Arithmetic


class Manifest(Spec):
    """What the ``manifest.json`` of every kind of engine says."""

    format: int = 1
    kind: str
    onnx_md5: str
    engine_md5: str
    engine_size_bytes: int
    platform: dict[str, str | list[str]]
    platform_fingerprint: str
    input: Tensor
    outputs: tuple[Tensor, ...]
    preprocessing: str
    classes: tuple[str, ...]
    network: NetworkSpec
    kernels: Kernels

    @property
    def engine_file(self) -> str:
        """Name of the file that is the engine."""
        return {"onnxruntime": ENGINE, "tensorrt": PLAN}[self.kind]


class OnnxRuntimeManifest(Manifest):
    """The ``manifest.json`` of an engine for ONNX Runtime."""

    kind: Literal["onnxruntime"]
    threads: int
    activations_from_zero: int
    activations_shifted: int


class CudaDevice(Spec):
    """The GPU that an engine was built on, as CUDA says it."""

    name: str
    compute_capability: str


class Binding(Spec):
    """An input or output of a TensorRT engine.

    Attributes:
        name: As in the ONNX.
        shape: With -1 where it is dynamic.
        dtype: Of the buffer, such as ``float32``.
        scale: Quantization step of the tensor where the graph quantizes it at once; None where it does not.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float | None = None


class TensorRTManifest(Manifest):
    """The ``manifest.json`` of a TensorRT engine.

    ``input`` and ``outputs`` have the shapes of one image; ``bindings`` say what the engine takes.
    """

    kind: Literal["tensorrt"]
    tensorrt: str
    gpu: CudaDevice
    typing: Literal["weak", "strong"]
    settings: dict[str, Any] = Field(description="the target's parameters that the build read")
    bindings: tuple[Binding, ...]
    batch_max: int
    device_memory_bytes: int = Field(description="scratch memory of one execution context")
    kernels: Layers
    layers: tuple[Layer, ...] = Field(description="in the order they run; layers.json tells all of them")
    build_log_md5: str
    layers_md5: str
    timing_cache_md5: str | None = Field(description="the measurements that its tactics were chosen by; None: afresh")
    weights_md5: str | None = Field(default=None, description="of the ONNX whose weights a stripped plan needs")


_AnyManifest: TypeAdapter[OnnxRuntimeManifest | TensorRTManifest] = TypeAdapter(
    Annotated[OnnxRuntimeManifest | TensorRTManifest, Field(discriminator="kind")]
)


def save_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``manifest.json``, sealed with a digest of its own content, into ``folder``."""
    document = manifest.model_dump(mode="json")
    document["digest"] = _digest(document)
    (folder / MANIFEST).write_text(json.dumps(document, indent=2, sort_keys=True, allow_nan=False) + "\n")


def load_manifest(engine: Path) -> OnnxRuntimeManifest | TensorRTManifest:
    """Read ``manifest.json`` of the engine directory ``engine``.

    Raises:
        EngineError: It is missing, is no manifest, or its content is not what its digest says.
    """
    path = engine / MANIFEST
    fix = f"build the engine again, or restore the whole of {engine} from the store"
    try:
        document: dict[str, Any] = json.loads(path.read_bytes())
        written = document.pop("digest")
        manifest = _AnyManifest.validate_python(document)
    except FileNotFoundError:
        raise EngineError(f"no {path}", needed="an engine directory", fix=fix) from None
    except (ValueError, KeyError, TypeError, AttributeError, ValidationError) as error:
        raise EngineError(
            f"{path} is not the manifest of an engine: {error}",
            needed="the file that the build wrote",
            fix=fix,
        ) from None
    if (computed := _digest(document)) != written:
        raise EngineError(
            f"{path}: its content has digest {computed}, and it says {written}",
            needed="a manifest that nobody has edited",
            fix=fix,
        )
    return manifest


def _convolutions(counts: dict[str, int]) -> int:
    return sum(count for name, count in counts.items() if "conv" in name.lower())


def _digest(document: dict[str, Any]) -> str:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
