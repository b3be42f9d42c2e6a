"""``weights/<name>``: weights that trainings start from, observed by their pointer in git."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from robot_assets.lineage.graph import AssetTraits, Stage
from robot_assets.pipeline import names
from robot_assets.pipeline.kind import Sensor, StageKind
from robot_assets.pipeline.pointed import Pointed

if TYPE_CHECKING:
    from robot_assets.pipeline.names import AssetName
    from robot_assets.pipeline.params import Params
    from robot_assets.pipeline.project import Project


def stages(params: Params) -> Iterator[Stage]:
    """One for each entry of ``weights``."""
    for name in params.weights:
        yield Stage(names.weights(name), KIND.name)


def _declared(project: Project, name: AssetName) -> dict[str, str]:
    entry = project.params.weights[name.weights]
    return {"licence": entry.licence, "source": entry.source}


_POINTED = Pointed("the weights", lambda project, name: project.params.weights[name.weights].pointer, _declared)

KIND = StageKind(
    name="weights",
    pattern=names.WEIGHTS,
    group="data",
    traits=AssetTraits(role="Weights", hole="trained elsewhere"),
    stages=stages,
    observation=_POINTED.observation(
        "Weights that were trained elsewhere. The version is the hash in their pointer in git.",
        ("dvc",),
        Sensor(
            name="weights_pointers",
            description="Reads the hash of every entry of weights in params.yaml from its .dvc pointer. A new hash is "
            "recorded as an observation of weights/<name> as soon as its file is available.",
            noun="weights pointer",
            idle="no weights in params.yaml",
        ),
    ),
)
