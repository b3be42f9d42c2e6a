"""``weights`` in params.yaml: files that trainings start from, with their licence and source."""

from __future__ import annotations

from pydantic import Field, field_validator

from robot_assets.core.paths import pointer_inside
from robot_assets.core.spec import Spec


class LoadingRules(Spec):
    """How the tensors of a file become those of a network; part of the version of each checkpoint that they start."""

    rename: dict[str, str] = Field(
        default_factory=dict,
        description="leading text of names in the file -> what the network has there, such as {module.: '', body.: "
        "backbone.}; the first that fits is applied",
    )
    skip: tuple[str, ...] = Field(
        default=(),
        description="patterns of names in the network that keep their initial weights, such as heads.*",
    )


class WeightsEntry(LoadingRules):
    """One entry of ``weights`` in params.yaml."""

    pointer: str = Field(description="path of the pointer inside the project, ending in .dvc")
    licence: str = Field(
        min_length=1, description="SPDX identifier, such as BSD-3-Clause, or the sentence of its owner"
    )
    source: str = Field(min_length=1, description="where the file comes from, such as its URL and the training data")

    @field_validator("pointer")
    @classmethod
    def _stays_inside(cls, pointer: str) -> str:
        return pointer_inside(pointer)

    @property
    def artifact(self) -> str:
        """Path of the file or folder beside the pointer."""
        return self.pointer.removesuffix(".dvc")

    @property
    def rules(self) -> LoadingRules:
        """Its loading rules alone."""
        return LoadingRules(rename=self.rename, skip=self.skip)
