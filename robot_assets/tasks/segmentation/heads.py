"""The heads of segmentations: logits of all classes on a coarser grid, or class indices."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from robot_assets.core.spec import Spec
from robot_assets.tasks.interface import Head, Input, Part


class MapOptions(Spec):
    """``network.heads``: the grid of the logits."""

    stride: int = Field(default=4, ge=1, le=32, description="pixels of the input per cell of the logits")


def map_heads(
    input: Input, options: MapOptions, classes: tuple[str, ...], outputs: Mapping[str, tuple[int, ...]]
) -> tuple[Head, ...]:
    """``logits`` (1, classes, rows, columns).

    Raises:
        ValueError: The input is no multiple of the stride.
    """
    if input.height % options.stride or input.width % options.stride:
        raise ValueError(
            f"an input of {input.height} x {input.width} pixels is no multiple of the stride {options.stride}; "
            f"needed multiples of {options.stride}"
        )
    shape = (1, len(classes), input.height // options.stride, input.width // options.stride)
    return (Head(name="logits", shape=shape, parts=(Part(meaning="exclusive_logits"),)),)
