"""Decoder of boxes and scores for each anchor: SSD, RetinaNet, YOLOv4, and graphs that end before their suppression."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, model_validator

from robot_assets.core.spec import Spec
from robot_assets.core.text import plural
from robot_assets.tasks.detection.decoders.detr import MEANINGS
from robot_assets.tasks.detection.decoders.labels import class_channels, label_count, wrong_count
from robot_assets.tasks.detection.decoders.matching import Outputs, Shape, by_role, named, one_image, refused
from robot_assets.tasks.detection.decoders.options import SuppressionOptions
from robot_assets.tasks.interface import Head, Input, Meaning, Part
from robot_assets.tasks.task import Decoder


class PriorLevel(Spec):
    """The priors of one level: boxes of some sizes around the centre of each cell, cell by cell, row by row."""

    stride: float | None = Field(
        default=None, gt=0, le=4096, description="pixels per cell; the grid covers the input, rounded up"
    )
    grid: tuple[int, int] | None = Field(default=None, description="rows and columns, instead of the stride")
    boxes: tuple[tuple[float, float], ...] = Field(
        min_length=1, description="width and height of each prior of a cell, in pixels of the input"
    )

    @model_validator(mode="after")
    def _has_one_grid(self) -> PriorLevel:
        if (self.stride is None) == (self.grid is None):
            raise ValueError("needed either stride or grid")
        if self.grid is not None and min(self.grid) < 1:
            raise ValueError("grid: needed positive numbers of rows and columns")
        if any(side <= 0 for box in self.boxes for side in box):
            raise ValueError("boxes: needed positive numbers of pixels")
        return self

    def count(self, height: int, width: int) -> int:
        """Number of priors."""
        rows, columns = rows_and_columns(self.stride, self.grid, height, width)
        return rows * columns * len(self.boxes)


def rows_and_columns(stride: float | None, grid: tuple[int, int] | None, height: int, width: int) -> tuple[int, int]:
    """The grid of a level for an input of ``height`` x ``width`` pixels."""
    if grid is not None:
        return grid
    stride = stride or 1.0
    return int(-(-height // stride)), int(-(-width // stride))


class SsdOptions(SuppressionOptions):
    """``decoder: ssd``."""

    coordinates: Literal["fractions", "pixels", "offsets"] = Field(
        default="fractions", description="of the input; offsets: from priors, in units of variance"
    )
    format: Literal["corners", "centers"] = Field(
        default="corners", description="corners: x1, y1, x2, y2; centers: x, y, width, height; offsets have centers"
    )
    order: Literal["xy", "yx"] = Field(default="xy", description="yx: y before x, as in TensorFlow")
    activation: Literal["none", "sigmoid", "softmax"] = Field(
        default="none", description="what makes scores of the numbers; none: it is in the graph"
    )
    background: Literal["none", "first", "last"] = Field(default="none", description="class that is no object")
    variance: tuple[float, float] = Field(
        default=(0.1, 0.2), description="units of the offsets of centres and of the log sizes"
    )
    priors: tuple[PriorLevel, ...] = Field(default=(), description="levels of priors, finest first, for offsets")
    outputs: dict[str, str] = Field(
        default_factory=dict, description="names of the outputs as boxes and scores, where they are not recognized"
    )

    @model_validator(mode="after")
    def _has_priors_for_offsets(self) -> SsdOptions:
        if (self.coordinates == "offsets") != bool(self.priors):
            raise ValueError("priors: needed with coordinates: offsets, and only then")
        if min(self.variance) <= 0:
            raise ValueError("variance: needed positive numbers")
        return self

    @property
    def surplus(self) -> int:
        """Channels of the scores beside the classes."""
        return 0 if self.background == "none" else 1


def ssd_heads(
    input: Input, options: SsdOptions, classes: tuple[str, ...], outputs: Mapping[str, Shape]
) -> tuple[Head, ...]:
    """Boxes (1, anchors, 4) or (1, anchors, 1, 4), and scores (1, anchors, classes) or transposed.

    Raises:
        ValueError: No outputs have these shapes, or the labels lack a class.
    """
    class_channels(options.labels, classes)
    known, roles = one_image(outputs), by_role(options.outputs, ("boxes", "scores"), outputs)
    boxes = roles.get("boxes") or _boxes(known, roles)
    scores = roles.get("scores") or _scores(known, boxes)
    channels = label_count(options.labels, classes) + options.surplus
    if boxes not in known or scores not in known or not _is_boxes(known[boxes]):
        needed = f"boxes (1, anchors, 4) and scores (1, anchors, {channels})"
        raise refused("ssd", outputs, needed, input)
    _check_priors(known[boxes][1], options, input)
    axis = _class_axis(known, boxes, scores, options, classes, input)
    return (
        Head(name=boxes, shape=known[boxes], layout="NA4", parts=(_box_part(known[boxes], options),)),
        Head(
            name=scores,
            shape=known[scores],
            layout="NAC" if axis == 2 else "NCA",
            parts=(Part(meaning=MEANINGS[options.activation], axis=axis),),
        ),
    )


def _is_boxes(shape: Shape) -> bool:
    return shape[2:] in ((4,), (1, 4))


def _box_part(shape: Shape, options: SsdOptions) -> Part:
    meaning: Meaning = "values" if options.coordinates == "offsets" else options.coordinates
    return Part(meaning=meaning, axis=len(shape) - 1)


def _boxes(known: Outputs, roles: Mapping[str, str]) -> str | None:
    others = {name: shape for name, shape in known.items() if name != roles.get("scores") and _is_boxes(shape)}
    # After a suppression in the graph there are few boxes; the anchors are more.
    most = max((shape[1] for shape in others.values()), default=0)
    others = {name: shape for name, shape in others.items() if shape[1] == most}
    return next(iter(others)) if len(others) == 1 else named(others, "box|loc|reg", _is_boxes)


def _scores(known: Outputs, boxes: str | None) -> str | None:
    if boxes is None or boxes not in known:
        return None
    anchors = known[boxes][1]
    found = {name: shape for name, shape in known.items() if name != boxes and len(shape) == 3 and anchors in shape[1:]}
    return next(iter(found)) if len(found) == 1 else named(found, "score|conf|cls|class|logit|prob", lambda _: True)


def _check_priors(anchors: int, options: SsdOptions, input: Input) -> None:
    counts = [level.count(input.height, input.width) for level in options.priors]
    if counts and sum(counts) != anchors:
        raise ValueError(
            f"priors has {plural(sum(counts), 'prior')} for an input of {input.height} x {input.width} pixels "
            f"({' + '.join(map(str, counts))}), but the graph gives {plural(anchors, 'box', 'boxes')}; "
            "needed as many"
        )


def _class_axis(
    known: Outputs, boxes: str, scores: str, options: SsdOptions, classes: tuple[str, ...], input: Input
) -> int:
    count, anchors, shape = label_count(options.labels, classes), known[boxes][1], known[scores]
    channels = count + options.surplus
    for axis in (2, 1):
        if len(shape) == 3 and shape[axis] == channels and shape[3 - axis] == anchors:
            return axis
    if len(shape) != 3 or anchors not in shape[1:]:
        raise refused("ssd", known, f"scores (1, {anchors}, {channels})", input)
    found = (shape[2] if shape[1] == anchors else shape[1]) - options.surplus
    needed = f"scores of {plural(count, 'class', 'classes')}" + (" and the background" if options.surplus else "")
    if found == count + 1 and not options.surplus:
        raise refused("ssd", known, needed, input, found="one channel more is the background: first, or last")
    wrong = f"the scores have {wrong_count(found, options.labels, classes)}"
    raise refused("ssd", known, needed, input, count, wrong)


SSD = Decoder(
    name="ssd", options=SsdOptions, heads=ssd_heads, run="robot_assets.tasks.detection.decoders.decode.ssd:decode_ssd"
)
