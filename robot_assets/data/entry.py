"""An entry of ``datasets`` in params.yaml, with the location of the pointer to recorded data.

The location of a pointer changes no data set, so it is kept out of ``robot_assets.data.spec``, which is part of the
code of every stage that reads images.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from robot_assets.core.paths import expanded, has_shell_syntax
from robot_assets.data.git_address import why_revision_refused, why_url_refused, without_credentials
from robot_assets.data.spec import DatasetSpec, DvcSource, SimulationSource

LOCK = "dvc.lock"


class RecordedSource(DvcSource):
    """Recorded images referenced by a pointer: a ``.dvc`` file, or an output in a ``dvc.lock``.

    Attributes:
        pointer: Path of the pointer in the project, or in ``repository`` if given.
        output: For a ``dvc.lock``: path of the output in it, such as ``data/raw/yard``.
        repository: Another git repository with the pointer: https, ssh, file or git URL, or a path. None: the pointer
            is read from the working tree.
        revision: Branch, tag or full commit hash of that repository. None: HEAD, its default branch.
    """

    output: str | None = None
    repository: str | None = None
    revision: str | None = None

    @field_validator("pointer")
    @classmethod
    def _stays_inside(cls, pointer: str) -> str:
        _refuse_shell_syntax(pointer)
        if _is_outside(pointer) or not (pointer.endswith(".dvc") or PurePosixPath(pointer).name == LOCK):
            raise ValueError("needed a relative path inside the project that ends in .dvc, or a dvc.lock")
        return pointer

    @field_validator("output")
    @classmethod
    def _output_stays_inside(cls, output: str | None) -> str | None:
        _refuse_shell_syntax(output or "")
        if output is not None and _is_outside(output):
            raise ValueError("needed a relative path inside the project, as in dvc.lock")
        return output

    @field_validator("repository")
    @classmethod
    def _as_a_shell(cls, repository: str | None) -> str | None:
        return repository if repository is None or "::" in repository else expanded(repository)

    @model_validator(mode="after")
    def _is_consistent(self) -> RecordedSource:
        if self.is_lock != (self.output is not None):
            action = "a dvc.lock needs one: add it" if self.is_lock else "only a dvc.lock has outputs: remove it"
            raise ValueError(f"output: {action}")
        if self.revision is not None and self.repository is None:
            raise ValueError("revision needs a repository; a pointer in this project is read from the working tree")
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
        """Path of the data: beside its ``.dvc`` file, or the output's path in ``dvc.lock``."""
        return str(PurePosixPath(self.pointer).parent / self.output) if self.output else self.pointer[: -len(".dvc")]


class DatasetEntry(DatasetSpec):
    """One entry of ``datasets`` in params.yaml."""

    source: Annotated[SimulationSource | RecordedSource, Field(discriminator="kind")]


def _refuse_shell_syntax(path: str) -> None:
    if has_shell_syntax(path):
        raise ValueError("~ and $VARIABLE are not expanded here; needed a relative path inside the project")


def _is_outside(path: str) -> bool:
    parts = PurePosixPath(path)
    return parts.is_absolute() or ".." in parts.parts or path != path.strip()
