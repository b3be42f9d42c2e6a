"""``<model>/source``: the ONNX file of a model that was trained elsewhere, observed by its pointer in git.

Its lineage ends here: data, code and weights of its training are unknown, but for what its owner declares in
params.yaml.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from robot_assets.lineage.graph import AssetTraits, Stage
from robot_assets.pipeline import names
from robot_assets.pipeline.kind import Sensor, StageKind
from robot_assets.pipeline.models import OnnxModel
from robot_assets.pipeline.pointed import Pointed

if TYPE_CHECKING:
    from robot_assets.foreign.spec import OnnxSource
    from robot_assets.pipeline.names import AssetName
    from robot_assets.pipeline.params import Params
    from robot_assets.pipeline.project import Project


def stages(params: Params) -> Iterator[Stage]:
    """One for each model that was trained elsewhere."""
    for name, _ in params.imported():
        yield Stage(names.source(name), KIND.name)


def _declared(project: Project, name: AssetName) -> dict[str, str]:
    """What the owner declares, as text; a mapping as JSON."""
    return {
        key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
        for key, value in _source(project, name).declaration.items()
    }


def _source(project: Project, name: AssetName) -> OnnxSource:
    model = project.params.models[name.model]
    if not isinstance(model, OnnxModel):
        raise TypeError(f"{name}: {name.model} has no source")
    return model.source


_POINTED = Pointed("the ONNX file", lambda project, name: _source(project, name).pointer, _declared)

KIND = StageKind(
    name="source",
    pattern=names.SOURCE,
    group="{model}",
    traits=AssetTraits(role="Foreign ONNX", files=("*.onnx",), hole="trained elsewhere"),
    stages=stages,
    observation=_POINTED.observation(
        "An ONNX file that was trained elsewhere. The version is the hash in its pointer in git.",
        ("onnx", "dvc"),
        Sensor(
            name="onnx_pointers",
            description="Reads the hash of the ONNX file of every model with a source in params.yaml from its .dvc "
            "pointer. A new hash is recorded as an observation of <model>/source as soon as its file is available.",
            noun="ONNX pointer",
            idle="no models with a source in params.yaml",
        ),
    ),
)
