"""Learning rate by step: linear warm-up, then half a cosine."""

from __future__ import annotations

import math
from dataclasses import dataclass

FINAL = 0.01
"""Share of the peak learning rate that is left at the end."""


@dataclass(frozen=True)
class Schedule:
    """A learning rate for each step.

    Attributes:
        peak: Learning rate after the warm-up.
        warmup_steps: Steps in which it rises from 0.
        steps: Steps in all.
    """

    peak: float
    warmup_steps: int
    steps: int

    def at(self, step: int) -> float:
        """Learning rate of step number ``step``, from 0."""
        if step < self.warmup_steps:
            return self.peak * (step + 1) / self.warmup_steps
        progress = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        return self.peak * (FINAL + (1 - FINAL) * (1 + math.cos(math.pi * min(1.0, progress))) / 2)
