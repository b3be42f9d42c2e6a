"""Learning rate by step: linear warm-up, then half a cosine."""

from __future__ import annotations

import math
from dataclasses import dataclass

FINAL_SHARE = 0.01
"""Learning rate at the end, as a share of the peak."""


@dataclass(frozen=True)
class Schedule:
    """The learning rate of each step.

    Attributes:
        peak: Learning rate after the warm-up.
        warmup_steps: Steps in which it rises from 0 to the peak.
        steps: All steps.
    """

    peak: float
    warmup_steps: int
    steps: int

    def at(self, step: int) -> float:
        """Learning rate of step number ``step``, from 0."""
        if step < self.warmup_steps:
            return self.peak * (step + 1) / self.warmup_steps
        progress = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        return self.peak * (FINAL_SHARE + (1 - FINAL_SHARE) * (1 + math.cos(math.pi * min(1.0, progress))) / 2)
