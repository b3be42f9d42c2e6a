"""``weights/<name>``: weights that trainings start from, observed by their pointer in git."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from robot_assets.core.errors import RobotAssetsError
from robot_assets.lineage.graph import AssetTraits, Stage
from robot_assets.pipeline import names
from robot_assets.pipeline.kind import Observation, Observer, Sensor, Sighting, StageKind

if TYPE_CHECKING:
    from robot_assets.pipeline.names import AssetName
    from robot_assets.pipeline.params import Params
    from robot_assets.pipeline.project import Project


def stages(params: Params) -> Iterator[Stage]:
    """One for each entry of ``weights``."""
    for name in params.weights:
        yield Stage(names.weights(name), KIND.name)


def observe(observer: Observer, name: AssetName) -> Sighting | None:
    """The hash in the pointer.

    Raises:
        DataError: There is no pointer.
        StoreError: It is not a pointer.
    """
    from robot_assets.store.pointed import read_pointed

    entry = observer.project.params.weights[name.weights]
    found = read_pointed(observer.project.root / entry.pointer)
    known = {"licence": entry.licence, "source": entry.source, "size_bytes": found.size_bytes}
    return Sighting(found.digest, entry.pointer, {key: value for key, value in known.items() if value is not None})


def require_available(project: Project, name: AssetName, version: str) -> None:
    """Refuse a version whose bytes nobody has.

    Raises:
        DataError: Neither the store nor the file beside the pointer has it; the fix is a command.
    """
    from robot_assets.store.pointed import require_pointed

    require_pointed(_pointer(project, name), version, project.store)


def open_version(project: Project, name: AssetName, version: str) -> Path:
    """The file or folder with exactly this version, read-only."""
    from robot_assets.store.pointed import open_pointed

    return open_pointed(_pointer(project, name), version, project.store)


def _pointer(project: Project, name: AssetName) -> Path:
    return project.root / project.params.weights[name.weights].pointer


def _unseen(project: Project, name: AssetName) -> RobotAssetsError:
    return RobotAssetsError(
        f"{name} cannot be observed from here",
        needed="the pointer of the weights in the working tree",
        fix=f"git checkout -- {project.params.weights[name.weights].pointer}",
    )


KIND = StageKind(
    name="weights",
    pattern=names.WEIGHTS,
    group="data",
    traits=AssetTraits(role="Weights", hole="trained elsewhere"),
    stages=stages,
    observation=Observation(
        description="Weights that were trained elsewhere. The version is the hash in their pointer in git.",
        tools=("dvc",),
        sensor=Sensor(
            name="weights_pointers",
            description="Reads the hash of every entry of weights in params.yaml from its .dvc pointer. A new hash is "
            "recorded as an observation of weights/<name> as soon as its file is available.",
            noun="weights pointer",
            idle="no weights in params.yaml",
        ),
        observe=observe,
        unseen=_unseen,
        reports_itself=lambda project, name: False,
        require_available=require_available,
        open=open_version,
    ),
)
