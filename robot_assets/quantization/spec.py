"""Parameters of post-training quantization and quantization-aware training."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from robot_assets.core.spec import Spec

Calibrator = Literal["mse", "percentile"]


class PtqSpec(Spec):
    """Which calibrators compete, and on how many images."""

    calibrators: tuple[Calibrator, ...] = Field(default=("mse", "percentile"), min_length=1)
    percentile: float = Field(default=99.99, gt=50, le=100)


class QatSpec(Spec):
    """The extra training that QAT and its FP32 control both get."""

    epochs: int = Field(gt=0)
    learning_rate: float = Field(default=1e-4, gt=0)


class QuantizationSpec(Spec):
    """Both ways to an int8 model. The better one on the validation split goes on to ONNX."""

    ptq: PtqSpec = PtqSpec()
    qat: QatSpec
