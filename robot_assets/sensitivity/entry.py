"""The section ``quantization`` of a model: parameters of PTQ, QAT and the search for sensitive layers.

The search changes neither PTQ nor QAT, so its parameters are not in ``robot_assets.quantization.spec``, which is part
of the code of both.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from pydantic import Field, model_validator

from robot_assets.core.spec import Spec
from robot_assets.quantization.spec import PtqSection, QuantizationSpec
from robot_assets.sensitivity.spec import SensitivitySpec


class SensitivityEntry(Spec):
    """The keys of the search, in ``models.M.quantization``."""

    sensitivity: SensitivitySpec | None = Field(
        default=None,
        description="if given, the asset MODEL/sensitivity measures the loss of each layer and chooses layers to leave "
        "in float",
    )
    mixed_precision: bool = Field(
        default=False, description="engines are built with the layers in float that MODEL/sensitivity chooses"
    )

    @model_validator(mode="after")
    def _mixed_precision_needs_sensitivity(self) -> Self:
        if self.mixed_precision and self.sensitivity is None:
            raise ValueError("mixed_precision needs a section sensitivity beside it, which chooses the layers")
        return self


class QuantizationEntry(QuantizationSpec, SensitivityEntry):
    """``models.M.quantization`` of a network that is trained here."""


class OnnxQuantizationEntry(PtqSection, SensitivityEntry):
    """``models.M.quantization`` of an ONNX file that was trained elsewhere: there is no QAT."""


def resolved(spec: SensitivitySpec, gates: Iterable[float]) -> SensitivitySpec:
    """Return ``spec`` with a bound: its own, else the strictest of ``gates``.

    Args:
        spec: The parameters of the search.
        gates: Points that the engines of the model's targets may lose.

    Raises:
        ValueError: The bound of ``spec`` is looser than a gate: the search would end before the gate passes.
    """
    strictest = min(gates)
    if spec.drop_points_max is None:
        return spec.model_copy(update={"drop_points_max": strictest})
    if spec.drop_points_max > strictest:
        raise ValueError(
            f"drop_points_max is {spec.drop_points_max:g}, and the strictest accuracy gate of the model's targets "
            f"allows {strictest:g}; needed at most that"
        )
    return spec
