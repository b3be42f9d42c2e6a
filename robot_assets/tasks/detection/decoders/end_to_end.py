"""Decoder of detectors with their suppression in the graph: what is left is to read the rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from pydantic import Field, field_validator

from robot_assets.tasks.detection.decoders.labels import class_channels
from robot_assets.tasks.detection.decoders.matching import Outputs, Shape, by_role, named, one_image, refused
from robot_assets.tasks.detection.decoders.options import DetectorOptions
from robot_assets.tasks.interface import Head, Input, Meaning, Part
from robot_assets.tasks.task import Decoder

Column: TypeAlias = Literal["x1", "y1", "x2", "y2", "score", "class", "image"]

COLUMNS: tuple[Column, ...] = ("x1", "y1", "x2", "y2", "score", "class")
ROLES = ("boxes", "scores", "classes", "count")


class NmsOptions(DetectorOptions):
    """``decoder: nms``."""

    coordinates: Literal["pixels", "fractions"] = Field(default="pixels", description="of the input")
    order: Literal["xy", "yx"] = Field(default="xy", description="yx: y before x, as in TensorFlow")
    first_class: Literal[0, 1] = Field(default=0, description="index of the first class; 1 where 0 is the background")
    columns: tuple[Column, ...] = Field(
        default=COLUMNS, description="of a single output of rows; image: index of the image, below 0 after the last row"
    )
    extra: int = Field(default=0, ge=0, le=10_000, description="columns after those; they are ignored")
    outputs: dict[str, str] = Field(
        default_factory=dict,
        description="names of the outputs as boxes, scores, classes and count, where they are not recognized",
    )

    @field_validator("columns")
    @classmethod
    def _are_complete(cls, columns: tuple[Column, ...]) -> tuple[Column, ...]:
        if len(set(columns)) != len(columns) or not set(COLUMNS) <= set(columns):
            raise ValueError(f"needed each of {', '.join(COLUMNS)} once, and image where there is one")
        return columns


def nms_heads(
    input: Input, options: NmsOptions, classes: tuple[str, ...], outputs: Mapping[str, Shape]
) -> tuple[Head, ...]:
    """Boxes (1, rows, 4), scores and classes (1, rows), and a count where there is one; or one output of rows.

    Or boxes with scores (1, rows, 5), and classes (1, rows).

    Raises:
        ValueError: No outputs have these shapes, or the labels lack a class.
    """
    class_channels(options.labels, classes)
    known, roles = one_image(outputs), by_role(options.outputs, ROLES, outputs)
    boxes = roles.get("boxes") or _boxes(known)
    if boxes in known and len(known[boxes]) == 3:
        found = _separate(known, boxes, roles)
        if found:
            return _heads_of(known, found, options)
    if not roles:
        rows = _rows(known, len(options.columns) + options.extra)
        if rows is not None:
            return (_head_of_rows(rows, known[rows], options),)
    needed = (
        "boxes (1, rows, 4), scores and classes (1, rows), recognized by name or given as outputs: "
        f"{{boxes: NAME, scores: NAME, classes: NAME}}; or rows of {', '.join(options.columns)}"
    )
    raise refused("nms", outputs, needed, input)


def _boxes(known: Outputs) -> str | None:
    def fits(shape: Shape) -> bool:
        return len(shape) == 3 and shape[2] in (4, 5)

    found = [name for name, shape in known.items() if fits(shape)]
    return found[0] if len(found) == 1 else named(known, "box|det", fits)


def _separate(known: Outputs, boxes: str, roles: Mapping[str, str]) -> dict[str, str]:
    """The outputs by role; empty where one is missing."""
    rows, columns = known[boxes][1:]
    found = {"boxes": boxes, **roles}
    flat: dict[str, Shape] = {
        name: shape for name, shape in known.items() if shape == (1, rows) and name not in found.values()
    }
    if columns == 4:
        _assign(found, "scores", flat, "score|conf|prob")
    _assign(found, "classes", flat, "class|label|cls")
    _assign_the_rest(found, flat, ("scores", "classes") if columns == 4 else ("classes",))
    if "count" not in found:
        count = named(known, "num|count|valid", lambda shape: shape in ((1,), (1, 1)))
        found |= {"count": count} if count is not None else {}
    needed = {"boxes", "classes"} | ({"scores"} if columns == 4 else set())
    return found if needed <= set(found) and columns in (4, 5) and _fit(known, found, rows) else {}


def _assign(found: dict[str, str], role: str, flat: dict[str, Shape], pattern: str) -> None:
    if role not in found and (name := named(flat, pattern, lambda _: True)) is not None:
        found[role] = name
        del flat[name]


def _assign_the_rest(found: dict[str, str], flat: dict[str, Shape], roles: tuple[str, ...]) -> None:
    """One output is left, and one role."""
    missing = [role for role in roles if role not in found]
    if len(flat) == 1 and len(missing) == 1:
        found[missing[0]] = next(iter(flat))


def _fit(known: Outputs, found: Mapping[str, str], rows: int) -> bool:
    flat = [name for role, name in found.items() if role in ("scores", "classes")]
    count = found.get("count")
    return all(known.get(name) == (1, rows) for name in flat) and (count is None or known.get(count) in ((1,), (1, 1)))


def _heads_of(known: Outputs, found: Mapping[str, str], options: NmsOptions) -> tuple[Head, ...]:
    meanings: Mapping[str, Meaning] = {"scores": "scores", "classes": "labels", "count": "counts"}
    boxes = [Part(meaning=options.coordinates, axis=2, stop=4)]
    if known[found["boxes"]][2] == 5:
        boxes.append(Part(meaning="scores", axis=2, start=4))
    heads = [Head(name=found["boxes"], shape=known[found["boxes"]], layout="NR4", parts=tuple(boxes))]
    for role, meaning in meanings.items():
        if role in found:
            shape = known[found[role]]
            layout = "NR" if role != "count" else "N1"[: len(shape)]
            part = Part(meaning=meaning, axis=len(shape) - 1)
            heads.append(Head(name=found[role], shape=shape, layout=layout, parts=(part,)))
    return tuple(heads)


def _rows(known: Outputs, columns: int) -> str | None:
    def fits(shape: Shape) -> bool:
        return shape[-1] == columns and (len(shape) == 3 or (len(shape) == 4 and shape[1] == 1))

    found = [name for name, shape in known.items() if fits(shape)]
    return found[0] if len(found) == 1 else named(known, "det|output", fits)


def _head_of_rows(name: str, shape: Shape, options: NmsOptions) -> Head:
    meanings: Mapping[str, Meaning] = {"score": "scores", "class": "labels", "image": "labels"}
    axis = len(shape) - 1
    parts = [
        Part(meaning=meanings.get(column, options.coordinates), axis=axis, start=index, stop=index + 1)
        for index, column in enumerate(options.columns)
    ]
    if options.extra:
        parts.append(Part(meaning="values", axis=axis, start=len(options.columns)))
    return Head(name=name, shape=shape, layout="NRC" if len(shape) == 3 else "N1RC", parts=tuple(parts))


NMS = Decoder(
    name="nms",
    options=NmsOptions,
    heads=nms_heads,
    run="robot_assets.tasks.detection.decoders.decode.end_to_end:decode_nms",
)
