"""Outputs of a batch as decoders read them: checked against the interface, and as float32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from robot_assets.tasks.interface import Interface

Floats = NDArray[np.float32]
Options = Mapping[str, Any]
"""Options of a decoder, as they are in the interface: complete, and valid since it was written.

Their classes are no part of the code of a decoder, so that another text of an error makes no engine refuse its robot.
"""


def checked(outputs: Sequence[NDArray[Any]], interface: Interface) -> list[Floats]:
    """The outputs as float32, each (N, ...) with the shape of its head; class indices are exact up to 2^24.

    Raises:
        ValueError: The outputs are not those of the interface.
    """
    heads = interface.heads
    if len(outputs) != len(heads):
        raise ValueError(f"{len(outputs)} outputs, needed {len(heads)}: {', '.join(interface.head_names)}")
    for head, output in zip(heads, outputs, strict=True):
        needed = head.shape[1:]
        if not output.ndim or output.shape[1:] != needed or len(output) != len(outputs[0]):
            sizes = ", ".join(map(str, needed))
            raise ValueError(f"output {head.name} has shape {output.shape}, needed ({len(outputs[0])}, {sizes})")
    return [np.asarray(output, np.float32) for output in outputs]


def anchors_first(output: Floats, layout: str) -> Floats:
    """One image of an output as a view (anchors, channels)."""
    return output.T if layout == "NCA" else output
