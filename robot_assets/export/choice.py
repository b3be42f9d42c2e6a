"""Chooses the quantized model to export: the better of PTQ and QAT on the validation split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from robot_assets.quantization.artifact import Method, Quantization

TIE_POINTS = 0.05
"""Difference in mAP@50 points (of 100) up to which PTQ is chosen, because it is simpler."""


@dataclass(frozen=True)
class Choice:
    """The better of PTQ and QAT, and the metrics behind the choice; mAP@50 on val, in [0, 1].

    Attributes:
        method: The chosen method.
        because: The reason, in one sentence.
        map50: mAP@50 of ``checkpoint``, ``ptq``, ``qat`` and ``fp32_control``.
    """

    method: Method
    because: str
    map50: dict[str, float]

    @property
    def qat_gain_points(self) -> float:
        """Gain of QAT over PTQ in mAP@50 points (of 100)."""
        return 100 * (self.map50["qat"] - self.map50["ptq"])

    def as_json(self) -> dict[str, Any]:
        """Plain data for an artifact."""
        return {
            "method": self.method,
            "because": self.because,
            "map50_val": self.map50,
            "qat_gain_points": round(self.qat_gain_points, 4),
            "tie_points": TIE_POINTS,
        }


def choose(ptq: Quantization, qat: Quantization) -> Choice:
    """Choose the better of two quantized models of one checkpoint; a tie goes to PTQ, which needs no training."""
    map50 = {
        "checkpoint": float(ptq.val["checkpoint"]["map50"]),
        "ptq": ptq.map50,
        "qat": qat.map50,
        "fp32_control": float(qat.val["fp32_control"]["map50"]),
    }
    gain = 100 * (map50["qat"] - map50["ptq"])
    if round(abs(gain), 9) <= TIE_POINTS:
        return Choice("ptq", f"PTQ: within {TIE_POINTS} points of QAT ({gain:+z.2f}) and simpler", map50)
    if gain > 0:
        return Choice("qat", f"QAT: {gain:.2f} mAP@50 points above PTQ on val", map50)
    return Choice("ptq", f"PTQ: {-gain:.2f} mAP@50 points above QAT on val", map50)
