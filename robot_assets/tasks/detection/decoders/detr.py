"""Decoder of detection transformers: a fixed number of queries, each with a box and class logits; no suppression."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from robot_assets.core.text import plural
from robot_assets.tasks.detection.decoders.labels import class_channels, label_count, wrong_count
from robot_assets.tasks.detection.decoders.matching import Outputs, Shape, by_role, named, one_image, refused
from robot_assets.tasks.detection.decoders.options import DetectorOptions
from robot_assets.tasks.interface import Head, Input, Meaning, Part
from robot_assets.tasks.task import Decoder

MEANINGS: Mapping[str, Meaning] = {"softmax": "exclusive_logits", "sigmoid": "logits", "none": "scores"}


class DetrOptions(DetectorOptions):
    """``decoder: detr``."""

    activation: Literal["softmax", "sigmoid", "none"] = Field(
        default="softmax",
        description="softmax: DETR, whose last class is no object; sigmoid: Deformable DETR, RT-DETR, D-FINE, RF-DETR; "
        "none: the scores are in the graph",
    )
    coordinates: Literal["fractions", "pixels"] = Field(default="fractions", description="of the input")
    outputs: dict[str, str] = Field(
        default_factory=dict, description="names of the outputs as logits and boxes, where they are not recognized"
    )

    @property
    def surplus(self) -> int:
        """Channels of the logits beside the classes."""
        return 1 if self.activation == "softmax" else 0


def detr_heads(
    input: Input, options: DetrOptions, classes: tuple[str, ...], outputs: Mapping[str, Shape]
) -> tuple[Head, ...]:
    """Logits (1, queries, classes) and boxes (1, queries, 4) of x, y, width and height; or both in one output.

    Raises:
        ValueError: No outputs have these shapes, or the labels lack a class.
    """
    class_channels(options.labels, classes)
    known, roles = one_image(outputs), by_role(options.outputs, ("logits", "boxes"), outputs)
    boxes = roles.get("boxes") or _boxes(known, roles)
    alone = _alone(known) if boxes is None and not roles else None
    if alone is not None:
        return (_joined(alone, input, options, classes, known),)
    logits = roles.get("logits") or _logits(known, boxes)
    if boxes not in known or logits not in known or known[boxes] != (*known[logits][:2], 4):
        needed = "logits (1, queries, classes) and boxes (1, queries, 4), or one output with both"
        raise refused("detr", outputs, needed, input)
    _check_classes(known[logits][2], options, classes, known, input)
    return (
        Head(name=logits, shape=known[logits], layout="NRC", parts=(_score_part(options),)),
        Head(name=boxes, shape=known[boxes], layout="NR4", parts=(Part(meaning=options.coordinates, axis=2),)),
    )


def _score_part(options: DetrOptions, start: int = 0) -> Part:
    return Part(meaning=MEANINGS[options.activation], axis=2, start=start)


def _boxes(known: Outputs, roles: Mapping[str, str]) -> str | None:
    others = {name: shape for name, shape in known.items() if name != roles.get("logits")}
    found = [name for name, shape in others.items() if len(shape) == 3 and shape[2] == 4]
    return found[0] if len(found) == 1 else named(others, "box", lambda shape: len(shape) == 3 and shape[2] == 4)


def _logits(known: Outputs, boxes: str | None) -> str | None:
    if boxes is None or boxes not in known:
        return None
    queries = known[boxes][1]

    def fits(shape: Shape) -> bool:
        return len(shape) == 3 and shape[1] == queries

    others = {name: shape for name, shape in known.items() if name != boxes and fits(shape)}
    return next(iter(others)) if len(others) == 1 else named(others, "logit|score|class", fits)


def _alone(known: Outputs) -> str | None:
    found = [name for name, shape in known.items() if len(shape) == 3]
    return found[0] if len(found) == 1 and known[found[0]][2] > 4 else None


def _joined(name: str, input: Input, options: DetrOptions, classes: tuple[str, ...], known: Outputs) -> Head:
    _check_classes(known[name][2] - 4, options, classes, known, input)
    parts = (Part(meaning=options.coordinates, axis=2, stop=4), _score_part(options, start=4))
    return Head(name=name, shape=known[name], layout="NRC", parts=parts)


def _check_classes(channels: int, options: DetrOptions, classes: tuple[str, ...], known: Outputs, input: Input) -> None:
    count = label_count(options.labels, classes)
    if channels == count + options.surplus:
        return
    if options.surplus and channels == count:
        needed = f"{count} + 1 channels of logits, the last one for no object"
        found = "where there is none, activation is sigmoid, or none"
        raise refused("detr", known, needed, input, found=found)
    needed = plural(count, "class", "classes") + (" and a last one for no object" if options.surplus else "")
    found = f"the logits have {wrong_count(channels - options.surplus, options.labels, classes)}"
    raise refused("detr", known, needed, input, count, found)


DETR = Decoder(
    name="detr",
    options=DetrOptions,
    heads=detr_heads,
    run="robot_assets.tasks.detection.decoders.decode.detr:decode_detr",
)
