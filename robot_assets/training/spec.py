"""Parameters of training."""

from __future__ import annotations

from pydantic import Field

from robot_assets.spec import Spec


class TrainingSpec(Spec):
    """Schedule and optimizer of one training."""

    epochs: int = Field(gt=0)
    batch_size: int = Field(default=16, gt=0)
    learning_rate: float = Field(default=2e-3, gt=0)
    warmup_epochs: float = Field(default=1.0, ge=0)
    weight_decay: float = Field(default=0.05, ge=0)
    ema_decay: float = Field(default=0.999, ge=0, lt=1)
    seed: int = Field(default=0, ge=0)
