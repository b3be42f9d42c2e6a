"""``<model>/source``: the ONNX file of a model that was trained elsewhere, observed by its pointer in git.

Its lineage ends here: data, code and weights of its training are unknown, but for what its owner declares in
params.yaml.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from robot_assets.core.errors import RobotAssetsError
from robot_assets.lineage.graph import AssetTraits, Stage
from robot_assets.pipeline import names
from robot_assets.pipeline.kind import Observation, Observer, Sensor, Sighting, StageKind
from robot_assets.pipeline.models import OnnxModel

if TYPE_CHECKING:
    from robot_assets.foreign.spec import OnnxSource
    from robot_assets.pipeline.names import AssetName
    from robot_assets.pipeline.params import Params
    from robot_assets.pipeline.project import Project


def stages(params: Params) -> Iterator[Stage]:
    """One for each model that was trained elsewhere."""
    for name, _ in params.imported():
        yield Stage(names.source(name), KIND.name)


def observe(observer: Observer, name: AssetName) -> Sighting | None:
    """The hash in the pointer, and what the owner declares.

    Raises:
        DataError: There is no pointer.
        StoreError: It is not a pointer.
    """
    from robot_assets.store.pointed import read_pointed

    source = _source(observer.project, name)
    found = read_pointed(observer.project.root / source.pointer)
    known = {**_declared(source), "size_bytes": found.size_bytes, "files": found.files}
    return Sighting(found.digest, source.pointer, {key: value for key, value in known.items() if value is not None})


def _declared(source: OnnxSource) -> dict[str, str]:
    """What the owner declares, as text; a mapping as JSON."""
    return {
        key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
        for key, value in source.declaration.items()
    }


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
    return project.root / _source(project, name).pointer


def _source(project: Project, name: AssetName) -> OnnxSource:
    model = project.params.models[name.model]
    if not isinstance(model, OnnxModel):
        raise TypeError(f"{name}: {name.model} has no source")
    return model.source


def _unseen(project: Project, name: AssetName) -> RobotAssetsError:
    return RobotAssetsError(
        f"{name} cannot be observed from here",
        needed="the pointer of the ONNX file in the working tree",
        fix=f"git checkout -- {_source(project, name).pointer}",
    )


KIND = StageKind(
    name="source",
    pattern=names.SOURCE,
    group="{model}",
    traits=AssetTraits(role="Foreign ONNX", files=("*.onnx",), hole="trained elsewhere"),
    stages=stages,
    observation=Observation(
        description="An ONNX file that was trained elsewhere. The version is the hash in its pointer in git.",
        tools=("onnx", "dvc"),
        sensor=Sensor(
            name="onnx_pointers",
            description="Reads the hash of the ONNX file of every model with a source in params.yaml from its .dvc "
            "pointer. A new hash is recorded as an observation of <model>/source as soon as its file is available.",
            noun="ONNX pointer",
            idle="no models with a source in params.yaml",
        ),
        observe=observe,
        unseen=_unseen,
        reports_itself=lambda project, name: False,
        require_available=require_available,
        open=open_version,
    ),
)
