"""Parameters of post-training quantization and quantization-aware training."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

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


class QuantizationSpec(Spec):
    """PTQ and QAT. The model that is better on the validation split is exported to ONNX."""

    ptq: PtqSpec = PtqSpec()
    qat: QatSpec
    float_layers: tuple[str, ...] = Field(
        default=(),
        description="patterns of module paths that stay in float, such as heads.* or stage4.1",
    )

    @field_validator("float_layers")
    @classmethod
    def _are_patterns(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        if bad := [pattern for pattern in patterns if not pattern.strip() or pattern != pattern.strip()]:
            raise ValueError(f"needed paths of modules such as heads.*, not {bad[0]!r}")
        return patterns
