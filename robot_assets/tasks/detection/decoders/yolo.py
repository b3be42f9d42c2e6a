"""Decoders of the YOLO family: one output with a box and the scores of all classes for each anchor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from pydantic import Field, field_validator

from robot_assets.core.text import escaped, plural
from robot_assets.tasks.detection.decoders.labels import class_channels, label_count, wrong_count
from robot_assets.tasks.detection.decoders.matching import Shape, one_image, refused
from robot_assets.tasks.detection.decoders.options import SuppressionOptions
from robot_assets.tasks.interface import Head, Input, Meaning, Part
from robot_assets.tasks.task import Decoder

Strides = tuple[int, ...]


class YoloOptions(SuppressionOptions):
    """Options of all of them."""

    extra: int = Field(
        default=0,
        ge=0,
        le=10_000,
        description="channels after the classes that are ignored, such as mask coefficients",
    )


class Yolov5Options(YoloOptions):
    """``decoder: yolov5``."""

    scores: Literal["product", "objectness"] = Field(
        default="product",
        description="product: objectness times class; objectness: alone, as a YOLOv7 of one class is read",
    )


class Yolov8Options(YoloOptions):
    """``decoder: yolov8``."""


class YoloxOptions(YoloOptions):
    """``decoder: yolox``."""

    strides: Strides = Field(default=(8, 16, 32), min_length=1, description="pixels per cell, finest first")
    logits: bool = Field(
        default=False, description="whether objectness and classes are logits; the sigmoid is usually in the graph"
    )

    @field_validator("strides")
    @classmethod
    def _ascend(cls, strides: Strides) -> Strides:
        if sorted(set(strides)) != list(strides) or strides[0] < 1:
            raise ValueError("needed positive numbers of pixels, each larger than the one before")
        return strides


class _Format(NamedTuple):
    """What the channels of an anchor are: four of the box, then ``objectness``, the classes, and others."""

    decoder: str
    objectness: int
    box: Meaning
    score: Meaning

    @property
    def fixed(self) -> int:
        return 4 + self.objectness

    @property
    def before(self) -> str:
        return "4 + objectness" if self.objectness else "4"


def yolov5_heads(
    input: Input, options: Yolov5Options, classes: tuple[str, ...], outputs: Mapping[str, Shape]
) -> tuple[Head, ...]:
    """One output (1, anchors, 4 + 1 + classes): x, y, width and height in pixels, objectness, scores.

    Raises:
        ValueError: No output has that shape, or the labels lack a class.
    """
    count = label_count(options.labels, classes)
    if options.scores == "objectness" and count != 1:
        raise ValueError(f"scores is objectness, but there are {count} classes; needed scores: product")
    return (_head(_Format("yolov5", 1, "pixels", "scores"), input, options, classes, outputs),)


def yolov8_heads(
    input: Input, options: Yolov8Options, classes: tuple[str, ...], outputs: Mapping[str, Shape]
) -> tuple[Head, ...]:
    """One output (1, 4 + classes, anchors), or transposed: x, y, width and height in pixels, scores.

    Raises:
        ValueError: No output has that shape, or the labels lack a class.
    """
    return (_head(_Format("yolov8", 0, "pixels", "scores"), input, options, classes, outputs),)


def yolox_heads(
    input: Input, options: YoloxOptions, classes: tuple[str, ...], outputs: Mapping[str, Shape]
) -> tuple[Head, ...]:
    """One output (1, cells, 4 + 1 + classes): offsets and log sizes in cells, objectness, scores.

    Raises:
        ValueError: No output has that shape, or the labels lack a class.
    """
    coarsest = options.strides[-1]
    if input.height % coarsest or input.width % coarsest:
        raise ValueError(
            f"an input of {input.height} x {input.width} pixels is no multiple of the stride {coarsest}; "
            f"needed multiples of {coarsest}, or other strides"
        )
    form = _Format("yolox", 1, "cells", "logits" if options.logits else "scores")
    head = _head(form, input, options, classes, outputs)
    cells, found = cell_count(input, options.strides), head.shape[1 if head.layout == "NAC" else 2]
    if found != cells:
        strides = ", ".join(map(str, options.strides))
        raise ValueError(
            f"output {escaped(head.name)} has {plural(found, 'cell')}; decoder yolox needs {cells} for an input of "
            f"{input.height} x {input.width} pixels with strides of {strides}"
            + ("; three boxes a cell are those of decoder yolov5" if found == 3 * cells else "")
        )
    return (head,)


def cell_count(input: Input, strides: Strides) -> int:
    """Cells of all strides."""
    return sum((input.height // stride) * (input.width // stride) for stride in strides)


def _head(
    form: _Format,
    input: Input,
    options: YoloOptions,
    classes: tuple[str, ...],
    outputs: Mapping[str, Shape],
) -> Head:
    class_channels(options.labels, classes)
    count = label_count(options.labels, classes)
    channels = form.fixed + count + options.extra
    is_transposed_usual = form.decoder == "yolov8"
    for name, shape in _anchored(outputs).items():
        axes = [axis for axis in ((1, 2) if is_transposed_usual else (2, 1)) if shape[axis] == channels]
        if axes:
            return Head(
                name=name,
                shape=shape,
                layout="NCA" if axes[0] == 1 else "NAC",
                parts=_parts(form, axes[0], count, options.extra),
            )
    raise _mismatch(form, input, options, classes, outputs)


def _anchored(outputs: Mapping[str, Shape]) -> dict[str, Shape]:
    return {name: shape for name, shape in one_image(outputs).items() if len(shape) == 3}


def _parts(form: _Format, axis: int, count: int, extra: int) -> tuple[Part, ...]:
    parts = [
        Part(meaning=form.box, axis=axis, stop=4),
        Part(meaning=form.score, axis=axis, start=4, stop=form.fixed + count),
    ]
    if extra:
        parts.append(Part(meaning="values", axis=axis, start=form.fixed + count))
    return tuple(parts)


def _mismatch(
    form: _Format, input: Input, options: YoloOptions, classes: tuple[str, ...], outputs: Mapping[str, Shape]
) -> ValueError:
    count = label_count(options.labels, classes)
    extra = f" + {options.extra} extra" if options.extra else ""
    needed = (
        f"one output with {form.before} + {plural(count, 'class', 'classes')}{extra} = "
        f"{form.fixed + count + options.extra} channels for each anchor"
    )
    return refused(form.decoder, outputs, needed, input, count, _other_classes(form, options, classes, outputs))


def _other_classes(form: _Format, options: YoloOptions, classes: tuple[str, ...], outputs: Mapping[str, Shape]) -> str:
    shapes = list(_anchored(outputs).values())
    found = min(shapes[0][1:]) - form.fixed - options.extra if len(shapes) == 1 else 0
    if found < 1:
        return ""
    masks = any(len(shape) == 4 for shape in outputs.values())
    extra = "; mask coefficients after the classes are extra: 32" if masks and not options.extra else ""
    return f"the output has {wrong_count(found, options.labels, classes)}{extra}"


_DECODE = "robot_assets.tasks.detection.decoders.decode.yolo"

YOLOV5 = Decoder(name="yolov5", options=Yolov5Options, heads=yolov5_heads, run=f"{_DECODE}:decode_yolov5")
YOLOV8 = Decoder(name="yolov8", options=Yolov8Options, heads=yolov8_heads, run=f"{_DECODE}:decode_yolov8")
YOLOX = Decoder(name="yolox", options=YoloxOptions, heads=yolox_heads, run=f"{_DECODE}:decode_yolox")
