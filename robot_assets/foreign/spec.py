"""``models.M.source`` in params.yaml: a network that was trained elsewhere, and what its owner declares of it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from robot_assets.core.paths import pointer_inside
from robot_assets.core.spec import Spec
from robot_assets.quantization.spec import PtqSpec
from robot_assets.tasks.interface import Preprocessing

DECLARED = ("licence", "trained_on")
"""Keys that decide nothing of what is made."""


class OnnxSource(Spec):
    """An ONNX file that was trained elsewhere, referenced by a ``.dvc`` pointer in git.

    ``decoder``, ``options`` and the size of the input are read by the import. ``trained_on`` and ``licence`` are what
    the owner declares; nobody here can check them, and the records of all that is made of the file have them.
    """

    kind: Literal["onnx"]
    pointer: str = Field(description="path of the pointer inside the project, ending in .dvc")
    decoder: str = Field(description="decoder of the task that reads the outputs, such as yolov8")
    options: dict[str, Any] = Field(default_factory=dict, description="parameters of the decoder")
    input_height: int | None = Field(
        default=None, ge=8, le=4096, description="pixels; needed where the graph leaves the height open"
    )
    input_width: int | None = Field(
        default=None, ge=8, le=4096, description="pixels; needed where the graph leaves the width open"
    )
    trained_on: str | dict[str, Any] | None = Field(
        default=None, description="what the owner declares of its training: data, code, url, date"
    )
    licence: str | None = Field(default=None, description="what the owner declares: an SPDX identifier, or a sentence")

    @field_validator("pointer")
    @classmethod
    def _stays_inside(cls, pointer: str) -> str:
        return pointer_inside(pointer)

    @property
    def artifact(self) -> str:
        """Path of the file or folder beside the pointer."""
        return self.pointer.removesuffix(".dvc")

    @property
    def declaration(self) -> dict[str, Any]:
        """What the owner declares, without what is not declared."""
        return {key: value for key in DECLARED if (value := getattr(self, key)) is not None}


class ForeignSpec(Spec):
    """What the import reads of params.yaml."""

    task: str
    source: OnnxSource
    input: Preprocessing = Preprocessing()
    ptq: PtqSpec = PtqSpec()
    float_layers: tuple[str, ...] = ()

    @property
    def read(self) -> dict[str, Any]:
        """The part that decides what is made, JSON-serializable: not what the owner declares, nor where the file is."""
        return self.model_dump(mode="json", exclude={"source": {"kind", "pointer", *DECLARED}})
