"""Assets that are a file or folder beside a ``.dvc`` pointer in git, observed by the hash in the pointer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_assets.core.errors import RobotAssetsError
from robot_assets.pipeline.kind import Observation, Observer, Sensor, Sighting

if TYPE_CHECKING:
    from robot_assets.pipeline.names import AssetName
    from robot_assets.pipeline.project import Project


@dataclass(frozen=True)
class Pointed:
    """How the assets of one kind are found.

    Attributes:
        what: One of them, for messages, such as ``the ONNX file``.
        pointer: Path of the pointer of an asset inside the project.
        declared: What params.yaml says of it, for its page.
    """

    what: str
    pointer: Callable[[Project, AssetName], str]
    declared: Callable[[Project, AssetName], Mapping[str, Any]]

    def observation(self, description: str, tools: tuple[str, ...], sensor: Sensor) -> Observation:
        """How they are observed, for their kind."""
        return Observation(
            description=description,
            tools=tools,
            sensor=sensor,
            observe=self.observe,
            unseen=self.unseen,
            reports_itself=lambda project, name: False,
            require_available=self.require_available,
            open=self.open,
        )

    def observe(self, observer: Observer, name: AssetName) -> Sighting:
        """The hash in the pointer.

        Raises:
            DataError: There is no pointer.
            StoreError: It is not a pointer.
        """
        from robot_assets.store.pointed import read_pointed

        pointer = self.pointer(observer.project, name)
        found = read_pointed(observer.project.root / pointer)
        known = {
            **self.declared(observer.project, name),
            "size_bytes": found.size_bytes,
            "files": found.files,
        }
        return Sighting(found.digest, pointer, {key: value for key, value in known.items() if value is not None})

    def require_available(self, project: Project, name: AssetName, version: str) -> None:
        """Refuse a version whose bytes nobody has.

        Raises:
            DataError: Neither the store nor the file beside the pointer has it; the fix is a command.
        """
        from robot_assets.store.pointed import require_pointed

        require_pointed(project.root / self.pointer(project, name), version, project.store)

    def open(self, project: Project, name: AssetName, version: str) -> Path:
        """The file or folder with exactly this version, read-only."""
        from robot_assets.store.pointed import open_pointed

        return open_pointed(project.root / self.pointer(project, name), version, project.store)

    def unseen(self, project: Project, name: AssetName) -> RobotAssetsError:
        """The error about an asset that was not observed."""
        return RobotAssetsError(
            f"{name} cannot be observed from here",
            needed=f"the pointer of {self.what} in the working tree",
            fix=f"git checkout -- {self.pointer(project, name)}",
        )
