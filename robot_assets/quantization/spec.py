"""Parameters of post-training quantization and quantization-aware training."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from robot_assets.core.spec import Spec

Calibrator = Literal["mse", "percentile"]


class PtqSpec(Spec):
    """The calibrators to compare, and their settings."""

    calibrators: tuple[Calibrator, ...] = Field(default=("mse", "percentile"), min_length=1)
    percentile: float = Field(default=99.99, gt=50, le=100)


class QatSpec(Spec):
    """The extra training of QAT and its FP32 control, from the PTQ model on.

    It is always in float32 and evaluated after each epoch; the rest of its schedule is that of ``training``.
    """

    epochs: int = Field(gt=0)
    learning_rate: float = Field(default=1e-4, gt=0)


class PtqSection(Spec):
    """What is quantized, and how its scales are found."""

    ptq: PtqSpec = PtqSpec()
    float_layers: tuple[str, ...] = Field(
        default=(), description="patterns of layers that stay in float, such as heads.*: docs/networks.md"
    )


class QuantizationSpec(PtqSection):
    """PTQ and QAT. The model that is better on the validation split is exported to ONNX."""

    qat: QatSpec
