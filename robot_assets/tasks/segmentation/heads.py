"""The heads of segmentations: logits of all classes, class indices, or one score, each on a grid over the input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from robot_assets.core.spec import Spec
from robot_assets.tasks.interface import Head, Input, Meaning, Part
from robot_assets.tasks.segmentation.classes import CLASSES_MAX

Outputs = Mapping[str, tuple[int, ...]]


class MapOptions(Spec):
    """``network.heads``: the grid of the logits."""

    stride: int = Field(
        default=4, ge=1, le=32, description="pixels of the input per cell of the logits; a foreign graph has its own"
    )
    output: str | None = Field(default=None, description="output of a foreign graph; needed where it has several")


class LabelsOptions(Spec):
    """``source`` with ``decoder: labels``."""

    output: str | None = Field(default=None, description="output with the class indices; needed where it has several")


class BinaryOptions(Spec):
    """``source`` with ``decoder: binary``."""

    output: str | None = Field(default=None, description="output with the scores; needed where it has several")
    values: Literal["scores", "logits"] = Field(
        default="scores", description="scores in [0, 1], or logits, whose sigmoid is a score"
    )
    threshold: float = Field(default=0.5, gt=0, lt=1, description="lowest score of the second class")


def map_heads(input: Input, options: MapOptions, classes: tuple[str, ...], outputs: Outputs) -> tuple[Head, ...]:
    """``logits`` (1, classes, rows, columns); of a foreign graph also (1, rows, columns, classes), of any grid.

    Raises:
        ValueError: The input is no multiple of the stride; a foreign graph has no such output.
    """
    _refuse_many(classes)
    if outputs:
        return (_foreign_logits(*_chosen(outputs, options.output), classes),)
    if input.height % options.stride or input.width % options.stride:
        raise ValueError(
            f"an input of {input.height} x {input.width} pixels is no multiple of the stride {options.stride}; "
            f"needed multiples of {options.stride}"
        )
    shape = (1, len(classes), input.height // options.stride, input.width // options.stride)
    return (Head(name="logits", shape=shape, parts=(Part(meaning="exclusive_logits"),)),)


def labels_heads(input: Input, options: LabelsOptions, classes: tuple[str, ...], outputs: Outputs) -> tuple[Head, ...]:
    """Class indices (1, rows, columns), or with an axis of length 1 more.

    Raises:
        ValueError: The graph has no such output.
    """
    _refuse_many(classes)
    name, shape = _chosen(outputs, options.output)
    return (_plane_head(name, shape, "labels", "class indices"),)


def binary_heads(input: Input, options: BinaryOptions, classes: tuple[str, ...], outputs: Outputs) -> tuple[Head, ...]:
    """Scores of the second of two classes, (1, rows, columns), or with an axis of length 1 more.

    Raises:
        ValueError: There are not two classes; the graph has no such output.
    """
    if len(classes) != 2:
        raise ValueError(
            f"{len(classes)} {'class' if len(classes) == 1 else 'classes'} for one score; "
            "needed 2: the first one where the score is below the threshold"
        )
    name, shape = _chosen(outputs, options.output)
    return (_plane_head(name, shape, options.values, "scores"),)


def _foreign_logits(name: str, shape: tuple[int, ...], classes: tuple[str, ...]) -> Head:
    layouts = {1: "NCHW", 3: "NHWC"}
    axes = [axis for axis in layouts if len(shape) == 4 and shape[0] == 1 and shape[axis] == len(classes)]
    if not axes:
        raise ValueError(
            f"output {name} has shape {shape}; needed (1, {len(classes)}, rows, columns) or "
            f"(1, rows, columns, {len(classes)}): logits of the {len(classes)} classes of the data set"
        )
    part = Part(meaning="exclusive_logits", axis=axes[0])
    return Head(name=name, shape=shape, layout=layouts[axes[0]], parts=(part,))


def _plane_head(name: str, shape: tuple[int, ...], meaning: Meaning, noun: str) -> Head:
    if len(shape) == 3 and shape[0] == 1:
        return Head(name=name, shape=shape, layout="NHW", parts=(Part(meaning=meaning),))
    if len(shape) == 4 and shape[0] == 1 and 1 in (shape[1], shape[3]):
        layout = "NCHW" if shape[1] == 1 else "NHWC"
        return Head(name=name, shape=shape, layout=layout, parts=(Part(meaning=meaning),))
    raise ValueError(
        f"output {name} has shape {shape}; needed {noun} (1, rows, columns), (1, 1, rows, columns) "
        "or (1, rows, columns, 1)"
    )


def _chosen(outputs: Outputs, name: str | None) -> tuple[str, tuple[int, ...]]:
    """The output of a graph with a name, or its only one."""
    if name is None and len(outputs) == 1:
        name = next(iter(outputs))
    if name is None or name not in outputs:
        found = ", ".join(f"{one} {shape}" for one, shape in outputs.items()) or "none"
        raise ValueError(f"output: found {name or 'no name'}; needed one of the outputs of the graph: {found}")
    return name, outputs[name]


def _refuse_many(classes: tuple[str, ...]) -> None:
    if len(classes) > CLASSES_MAX:
        raise ValueError(f"{len(classes)} classes; needed at most {CLASSES_MAX}: class indices are bytes")
