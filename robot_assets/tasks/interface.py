"""The interface of a network: its input with the preprocessing of images, its heads, and the decoder that reads them.

One :class:`Interface` is written into a checkpoint, an exported graph and an engine. Training, calibration, export,
evaluation and a robot all read it, and none of them knows the architecture of the network.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from pydantic import Field, model_validator

from robot_assets.core.spec import Spec

PADDING = 114
"""Grey level of the border of a letterboxed image, as in detectors of the YOLO family."""

Meaning: TypeAlias = Literal[
    "logits", "exclusive_logits", "scores", "cells", "pixels", "fractions", "labels", "counts", "values"
]
"""What the numbers of a head are: each has its own way to be compared (``robot_assets.tasks.comparison``).

- ``logits``: independent classes; their sigmoid is a score
- ``exclusive_logits``: of classes of which one holds; their softmax along the axis of the part is a probability
- ``scores``: scores or probabilities in [0, 1]
- ``cells``: offsets and log sizes in cells of a grid
- ``pixels``: coordinates in pixels of the input
- ``fractions``: coordinates as shares of the width and height of the input
- ``labels``: class indices
- ``counts``: numbers of valid rows
- ``values``: anything else
"""


class Preprocessing(Spec):
    """``models.M.input`` in params.yaml: how pixels become the input of the network.

    A value is ``(pixel / 255 - mean) / std``, of channels in the order of ``channels``.
    """

    channels: Literal["rgb", "bgr"] = Field(default="rgb", description="order of the channels of the input")
    mean: tuple[float, float, float] = Field(
        default=(0.0, 0.0, 0.0), description="of channels in [0, 1], in that order"
    )
    std: tuple[float, float, float] = Field(default=(1.0, 1.0, 1.0), description="mean of each channel in [0, 1]")
    fit: Literal["letterbox", "letterbox_top_left", "stretch"] = Field(
        default="letterbox",
        description="letterbox: scaled with its aspect ratio, centred on grey; letterbox_top_left: in the top left "
        "corner; stretch: scaled to the size of the input",
    )
    padding: int = Field(default=PADDING, ge=0, le=255, description="grey level of the border of a letterboxed image")

    @model_validator(mode="after")
    def _is_of_shares(self) -> Preprocessing:
        if not all(abs(value) <= 1 for value in self.mean):
            raise ValueError("mean: needed finite numbers of at most 1; divide those of 0 to 255 by 255")
        if not all(1e-6 < value <= 1 for value in self.std):
            raise ValueError("std: needed numbers above 0 and of at most 1; divide those of 0 to 255 by 255")
        return self

    @property
    def is_plain(self) -> bool:
        """Whether values are RGB in [0, 1], without mean and standard deviation."""
        return self.channels == "rgb" and self.mean == (0.0, 0.0, 0.0) and self.std == (1.0, 1.0, 1.0)


class Input(Preprocessing):
    """The input of a network: float32 (N, 3, height, width)."""

    name: str = "images"
    height: int = Field(ge=8, le=4096, description="pixels")
    width: int = Field(ge=8, le=4096, description="pixels")

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of one image."""
        return 1, 3, self.height, self.width


class Part(Spec):
    """Some channels of a head.

    Attributes:
        meaning: What their numbers are.
        axis: Axis of the channels.
        start: First channel.
        stop: Channel after the last one; None: to the end.
    """

    meaning: Meaning
    axis: int = 1
    start: int = 0
    stop: int | None = None


class Head(Spec):
    """One output of a network, for one image.

    Attributes:
        name: Of the output in the graph.
        shape: With its leading 1.
        dtype: ``float32``, or that of class indices and counts.
        layout: Names of the axes, such as ``NCHW`` or ``NAC``; R: rows in no fixed order, such
            as those that a graph has selected by score.
        parts: What its numbers are, together all of its channels.
    """

    name: str
    shape: tuple[int, ...]
    dtype: Literal["float32", "int32", "int64"] = "float32"
    layout: str = "NCHW"
    parts: tuple[Part, ...]


class Interface(Spec):
    """What a network takes and gives, and how its answers are read.

    Attributes:
        task: Name of the task.
        classes: Names of the classes, in the order of their index.
        input: Its input.
        heads: Its outputs, in order.
        decoder: Name of the decoder, among those of the task.
        options: Parameters of the decoder, as JSON.
    """

    task: str
    classes: tuple[str, ...]
    input: Input
    heads: tuple[Head, ...]
    decoder: str
    options: dict[str, Any] = Field(default_factory=dict)

    @property
    def head_names(self) -> tuple[str, ...]:
        """Names of the heads, in order."""
        return tuple(head.name for head in self.heads)
