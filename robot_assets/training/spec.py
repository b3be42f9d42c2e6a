"""Parameters of training."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from robot_assets.core.spec import Spec


class AugmentationSpec(Spec):
    """Limits of the random changes of a training image."""

    zoom_min: float = Field(default=0.7, gt=0, le=1, description="smallest magnification")
    zoom_max: float = Field(default=1.8, ge=1, le=8, description="largest magnification")
    mosaic: float = Field(default=0.5, ge=0, le=1, description="share of images that are mosaics of four")
    colour: float = Field(
        default=0.3,
        ge=0,
        lt=1,
        description="largest relative change of brightness, contrast, saturation, tint",
    )


class TrainingSpec(Spec):
    """Schedule and optimizer of one training."""

    epochs: int = Field(gt=0)
    batch_size: int = Field(default=16, gt=0)
    learning_rate: float = Field(default=2e-3, gt=0)
    warmup_epochs: float = Field(default=1.0, ge=0)
    weight_decay: float = Field(default=0.05, ge=0)
    ema_decay: float = Field(default=0.999, ge=0, lt=1)
    seed: int = Field(default=0, ge=0)
    evaluate_every: int = Field(
        default=5, gt=0, description="epochs between evaluations; the last one is always evaluated"
    )
    plain_epochs: int = Field(default=0, ge=0, description="epochs without mosaic at the end of the training")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto", description="auto is bfloat16 where the processor computes it natively"
    )
    threads: int = Field(default=0, ge=0, description="CPU threads; 0 is one per core")
    memory_limit_mb: int = Field(default=8192, gt=0, description="MiB up to which decoded images are kept in memory")
    augmentation: AugmentationSpec = AugmentationSpec()

    @model_validator(mode="after")
    def _schedule_fits(self) -> TrainingSpec:
        if self.warmup_epochs >= self.epochs and self.warmup_epochs > 1:
            raise ValueError(
                f"warmup_epochs={self.warmup_epochs:g} is not less than epochs={self.epochs}: raise epochs"
            )
        if self.plain_epochs > self.epochs:
            raise ValueError(f"plain_epochs={self.plain_epochs} is more than epochs={self.epochs}: lower it")
        return self
