"""The section ``quantization`` of a model: what PTQ and QAT read, and what is done about sensitive layers.

How sensitive layers are looked for changes neither PTQ nor QAT, so it is not in ``robot_assets.quantization.spec``,
which is part of the code of both.
"""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field, model_validator

from robot_assets.quantization.spec import QuantizationSpec
from robot_assets.sensitivity.spec import SensitivitySpec


class QuantizationEntry(QuantizationSpec):
    """``models.M.quantization`` in params.yaml."""

    sensitivity: SensitivitySpec | None = Field(
        default=None, description="given: the asset MODEL/sensitivity says what each layer loses, and which to spare"
    )
    mixed_precision: bool = Field(
        default=False, description="engines are built with the layers in float that MODEL/sensitivity has chosen"
    )

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> QuantizationEntry:
        if self.mixed_precision and self.sensitivity is None:
            raise ValueError("mixed_precision needs a section sensitivity beside it, which chooses the layers")
        return self


def resolved(spec: SensitivitySpec, gates: Iterable[float]) -> SensitivitySpec:
    """``spec`` with a bound: its own, else the strictest of ``gates``, points that the targets' engines may lose.

    Raises:
        ValueError: Its own bound is looser than a gate: the search would end before the gate holds.
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
