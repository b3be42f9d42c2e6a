"""Parameters of a target whose engines ONNX Runtime runs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from robot_assets.engines.kind import TargetSpec


class OnnxRuntimeTarget(TargetSpec):
    """A target whose engines ONNX Runtime runs on the CPU."""

    kind: Literal["onnxruntime"] = "onnxruntime"
    threads: int = Field(default=1, ge=1, le=64, description="intra-op threads of one inference")
