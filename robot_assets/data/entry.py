"""An entry of ``datasets``: what a data set is made with, and where the hash of recorded data is read.

Where a hash is read changes no data set, so it is not in ``robot_assets.data.spec``, which is part of the code of
every stage that reads images.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from robot_assets.data.git_address import why_revision_refused, why_url_refused, without_credentials
from robot_assets.data.spec import DatasetSpec, DvcSource, SimulationSource

LOCK = "dvc.lock"


class RecordedSource(DvcSource):
    """Recorded images that a pointer names by hash: a ``.dvc`` file, or an output in a ``dvc.lock``.

    Attributes:
        pointer: Its path, inside the project, or inside the repository where one is named.
        output: With a ``dvc.lock``: the path of the output in it, such as ``data/raw/yard``.
        repository: A git repository elsewhere that holds the pointer: https, ssh, file or git, or a path. Without
            it the pointer is read from the working tree.
        revision: Branch, tag or full commit hash of that repository. HEAD, its default branch, when None.
    """

    output: str | None = None
    repository: str | None = None
    revision: str | None = None

    @field_validator("pointer")
    @classmethod
    def _stays_inside(cls, pointer: str) -> str:
        if _leaves(pointer) or not (pointer.endswith(".dvc") or PurePosixPath(pointer).name == LOCK):
            raise ValueError("needed a relative path inside the project that ends in .dvc, or a dvc.lock")
        return pointer

    @field_validator("output")
    @classmethod
    def _output_stays_inside(cls, output: str | None) -> str | None:
        if output is not None and _leaves(output):
            raise ValueError("needed a relative path inside the project, as dvc.lock has it")
        return output

    @model_validator(mode="after")
    def _git_can_read_it(self) -> RecordedSource:
        if self.is_lock != (self.output is not None):
            raise ValueError("output goes with a dvc.lock: " + ("name one" if self.is_lock else "remove it"))
        if self.revision is not None and self.repository is None:
            raise ValueError("revision goes with a repository; a pointer of this project is read as it lies there")
        if self.repository is not None and (refused := why_url_refused(self.repository)):
            shown = without_credentials(self.repository, self.repository)
            raise ValueError(f"repository {shown!r} {refused}")
        if self.revision is not None and (refused := why_revision_refused(self.revision)):
            raise ValueError(f"revision {self.revision!r} {refused}")
        return self

    @property
    def is_lock(self) -> bool:
        """Whether the pointer is a ``dvc.lock``."""
        return PurePosixPath(self.pointer).name == LOCK

    @property
    def artifact(self) -> str:
        """Path of the data: beside its ``.dvc`` file, or where ``dvc.lock`` says."""
        return str(PurePosixPath(self.pointer).parent / self.output) if self.output else self.pointer[: -len(".dvc")]


class DatasetEntry(DatasetSpec):
    """One entry of ``datasets`` in params.yaml."""

    source: Annotated[SimulationSource | RecordedSource, Field(discriminator="kind")]


def _leaves(path: str) -> bool:
    parts = PurePosixPath(path)
    return parts.is_absolute() or ".." in parts.parts or path != path.strip()
