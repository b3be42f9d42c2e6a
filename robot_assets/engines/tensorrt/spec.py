"""Parameters of a target whose engines TensorRT builds and runs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from robot_assets.core.spec import Spec
from robot_assets.engines.kind import TargetSpec


class DlaSpec(Spec):
    """The deep learning accelerator of an Orin, which an engine may run on instead of the GPU."""

    core: int = Field(default=0, ge=0, le=1, description="which of the accelerators")
    gpu_fallback: bool = Field(
        default=True, description="layers that the accelerator cannot run go to the GPU; false: the build fails"
    )


class BatchSpec(Spec):
    """How many images one call may carry; always one as well, which is what gates and robots ask for."""

    max: int = Field(default=1, ge=1, le=64, description="above 1 the engine has a dynamic batch")
    optimal: int | None = Field(default=None, ge=1, le=64, description="what TensorRT tunes for; default: max")

    @model_validator(mode="after")
    def _in_order(self) -> BatchSpec:
        if self.optimal is not None and self.optimal > self.max:
            raise ValueError(f"optimal is {self.optimal} and max {self.max}; needed an optimal of at most max")
        return self

    @property
    def is_dynamic(self) -> bool:
        """Whether a call may carry more than one image."""
        return self.max > 1

    @property
    def profile(self) -> tuple[int, int, int]:
        """Images per call: minimum, optimum, maximum."""
        return 1, self.optimal or self.max, self.max


class TensorRTTarget(TargetSpec):
    """A target whose engines TensorRT builds and runs on the device itself: a Jetson."""

    kind: Literal["tensorrt"] = "tensorrt"
    precision: Literal["int8_fp16", "int8_fp32"] = Field(
        default="int8_fp16", description="the quantized part runs in int8; this is the type of the rest"
    )
    typing: Literal["auto", "weak", "strong"] = Field(
        default="auto",
        description="weak: TensorRT may choose a faster type than that of the graph, up to 10.x; strong: types are "
        "those of the graph, from 10.0; auto: weak where the version still has it",
    )
    workspace_mib: int = Field(default=1024, ge=16, le=65_536, description="memory that tactics may use, MiB")
    optimization_level: int = Field(
        default=3, ge=0, le=5, description="TensorRT's builder optimization level: higher builds longer"
    )
    batch: BatchSpec = BatchSpec()
    dla: DlaSpec | None = Field(default=None, description="run on a deep learning accelerator; none: on the GPU")
    timing_cache: bool = Field(
        default=True, description="reuse the measurements of earlier builds on the same device and TensorRT"
    )
    weight_stripped: bool = Field(
        default=False, description="a plan without weights, which is refitted with the ONNX on load; from 10.0"
    )

    @model_validator(mode="after")
    def _fits_the_accelerator(self) -> TensorRTTarget:
        if self.dla is None:
            return self
        if self.precision != "int8_fp16":
            raise ValueError(f"precision is {self.precision} with dla; needed int8_fp16: a DLA has no fp32")
        if self.batch.is_dynamic:
            raise ValueError(f"batch.max is {self.batch.max} with dla; needed 1: a DLA runs fixed shapes only")
        if self.weight_stripped:
            raise ValueError("weight_stripped is true with dla; needed false: a plan for a DLA cannot be refitted")
        return self
