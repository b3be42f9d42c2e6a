"""The heads of a detector that is trained here: logits and raw boxes at each stride."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field, field_validator

from robot_assets.core.spec import Spec
from robot_assets.tasks.interface import Head, Input, Part


class GridOptions(Spec):
    """``network.heads``: the cells that a detector predicts in (``robot_assets.tasks.detection.decode``)."""

    strides: tuple[int, ...] = Field(default=(8, 16), min_length=1, description="pixels per cell, finest first")

    @field_validator("strides")
    @classmethod
    def _ascend(cls, strides: tuple[int, ...]) -> tuple[int, ...]:
        if sorted(set(strides)) != list(strides) or strides[0] < 1:
            raise ValueError("needed positive numbers of pixels, each larger than the one before")
        return strides


def grid_heads(
    input: Input, options: GridOptions, classes: tuple[str, ...], outputs: Mapping[str, tuple[int, ...]]
) -> tuple[Head, ...]:
    """``cls_s8, box_s8, cls_s16, box_s16``: logits (1, classes, rows, columns), raw boxes (1, 4, rows, columns).

    Raises:
        ValueError: The input is no multiple of a stride.
    """
    coarsest = options.strides[-1]
    if input.height % coarsest or input.width % coarsest:
        raise ValueError(
            f"an input of {input.height} x {input.width} pixels is no multiple of the stride {coarsest}; "
            f"needed multiples of {coarsest}"
        )
    return tuple(
        Head(
            name=f"{kind}_s{stride}",
            shape=(1, channels, input.height // stride, input.width // stride),
            parts=(Part(meaning="logits" if kind == "cls" else "cells"),),
        )
        for stride in options.strides
        for kind, channels in (("cls", len(classes)), ("box", 4))
    )
