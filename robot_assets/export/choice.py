"""Chooses the quantized model to export: the better of PTQ and QAT on the validation split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from robot_assets.quantization.artifact import Method, Quantization
from robot_assets.tasks.metrics import Metric

TIE_POINTS = 0.05
"""Difference of the metric in points (of 100) up to which PTQ is chosen, because it is simpler."""


@dataclass(frozen=True)
class Choice:
    """The better of PTQ and QAT, and the scores behind the choice; the metric of the task on val, in [0, 1].

    Attributes:
        method: The chosen method.
        because: The reason, in one sentence.
        metric: What the scores are of.
        scores: Scores of ``checkpoint``, ``ptq``, ``qat`` and ``fp32_control``.
    """

    method: Method
    because: str
    metric: Metric
    scores: dict[str, float]

    @property
    def qat_gain_points(self) -> float:
        """Gain of QAT over PTQ in points (of 100)."""
        return 100 * (self.scores["qat"] - self.scores["ptq"])

    def as_json(self) -> dict[str, Any]:
        """Plain data for an artifact."""
        return {
            "method": self.method,
            "because": self.because,
            "metric": self.metric.key,
            "scores_val": self.scores,
            "qat_gain_points": round(self.qat_gain_points, 4),
            "tie_points": TIE_POINTS,
        }


def choose(ptq: Quantization, qat: Quantization, metric: Metric) -> Choice:
    """Choose the better of two quantized models of one checkpoint; a tie goes to PTQ, which needs no training."""
    scores = {
        "checkpoint": ptq.score_of("checkpoint"),
        "ptq": ptq.score,
        "qat": qat.score,
        "fp32_control": qat.score_of("fp32_control"),
    }
    gain = 100 * (scores["qat"] - scores["ptq"])
    if round(abs(gain), 9) <= TIE_POINTS:
        return Choice("ptq", f"PTQ: within {TIE_POINTS} points of QAT ({gain:+z.2f}) and simpler", metric, scores)
    if gain > 0:
        return Choice("qat", f"QAT: {gain:.2f} {metric.name} points above PTQ on val", metric, scores)
    return Choice("ptq", f"PTQ: {-gain:.2f} {metric.name} points above QAT on val", metric, scores)
