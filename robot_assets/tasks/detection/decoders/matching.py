"""Finds the outputs that a decoder reads among those of a graph, by name and shape."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from robot_assets.core.text import escaped, listed, near_misses
from robot_assets.tasks.detection.decoders.recognize import proposals, remark
from robot_assets.tasks.interface import Input

Shape = tuple[int, ...]
Outputs = Mapping[str, Shape]


def shown(outputs: Outputs) -> str:
    """Outputs with their shapes, such as ``output0 (1, 84, 8400)``."""
    return escaped(listed((f"{name} {tuple(shape)}" for name, shape in outputs.items()), at_most=6)) or "no outputs"


def refused(decoder: str, outputs: Outputs, needed: str, input: Input, classes: int = 0, found: str = "") -> ValueError:
    """Why a decoder cannot read the outputs, with the decoder that fits better where there is one.

    Args:
        decoder: Its name.
        outputs: The outputs of the graph.
        needed: The outputs that it reads.
        input: The input of the graph.
        classes: Number of classes of the export, as it is declared.
        found: What is wrong with outputs that are those of the decoder but for their number of classes.
    """
    fitting = proposals(outputs, (input.height, input.width))
    better = [one for one in fitting if one.classes == classes]
    if fitting and decoder not in [one.decoder for one in fitting]:
        better = better or list(fitting)
    if better and better[0].decoder != decoder:
        found = f"they look like those of decoder {better[0].decoder}: {escaped(better[0].reason)}"
    found = found or remark(outputs)
    return ValueError(
        f"the graph gives {shown(outputs)}; decoder {decoder} needs {needed}" + (f"; {found}" if found else "")
    )


def one_image(outputs: Outputs) -> dict[str, Shape]:
    """The outputs whose shapes are known, and of one image."""
    return {
        name: tuple(shape)
        for name, shape in outputs.items()
        if shape and shape[0] == 1 and all(isinstance(size, int) and size > 0 for size in shape)
    }


def named(outputs: Outputs, pattern: str, fits: Callable[[Shape], bool]) -> str | None:
    """The output with a fitting shape whose name has ``pattern``; of several the first, none without a match.

    A raw output of the heads, such as TensorFlow's ``raw_detection_boxes``, is taken after all others.
    """
    found = [name for name, shape in outputs.items() if fits(shape) and re.search(pattern, name, re.IGNORECASE)]
    return min(found, key=lambda name: "raw" in name.lower(), default=None)


def by_role(roles: Mapping[str, str], known: Iterable[str], outputs: Outputs) -> dict[str, str]:
    """The option ``outputs``, checked: names of outputs by what they are.

    Raises:
        ValueError: A role that the decoder does not have, or an output that the graph does not have.
    """
    known = tuple(known)
    for role, name in roles.items():
        if role not in known:
            raise ValueError(f"outputs has {role!r}; needed {', '.join(known)}")
        if name not in outputs:
            near = near_misses(name, outputs)
            raise ValueError(
                f"outputs.{role} is {escaped(repr(name))}, which the graph does not give; "
                + (f"did you mean {escaped(repr(near[0]))}? " if near else "")
                + f"needed one of its outputs: {shown(outputs)}"
            )
    return dict(roles)
