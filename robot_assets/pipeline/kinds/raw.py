"""``raw/<dataset>``: images and labels as they were recorded (observed by their pointer in git), or simulated here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_assets.core.errors import RobotAssetsError
from robot_assets.core.page import Facts, Page, Picture, Table
from robot_assets.core.text import plural
from robot_assets.data.entry import RecordedSource
from robot_assets.lineage.graph import AssetTraits, Stage
from robot_assets.pipeline import names
from robot_assets.pipeline.kind import Observation, Observer, Production, Sensor, Sighting, StageKind, entry

if TYPE_CHECKING:
    from robot_assets.data.repository import Repositories
    from robot_assets.data.simulate import SimulationSummary
    from robot_assets.pipeline.kind import Step
    from robot_assets.pipeline.names import AssetName
    from robot_assets.pipeline.params import Params
    from robot_assets.pipeline.project import Project

_SHOWN_IMAGES = 6


def stages(params: Params) -> Iterator[Stage]:
    """One for each data set."""
    for name, dataset in params.datasets.items():
        source = dataset.source
        if isinstance(source, RecordedSource):
            yield Stage(names.raw(name), KIND.name)
        else:
            read = {"source": source.model_dump(mode="json")}
            yield Stage(names.raw(name), KIND.name, (entry(run),), read, spec=source)


def run(step: Step) -> SimulationSummary:
    """Simulate the images and labels."""
    from robot_assets.data.simulate import simulate

    return simulate(step.spec, step.output)


def facts(summary: SimulationSummary) -> Facts:
    """Counts of images and objects."""
    objects = sum(summary.objects.values())
    return Facts(
        f"{plural(summary.images, 'image')}, {plural(objects, 'object')}, {summary.images_per_second:.0f} images/s",
        {
            "images": summary.images,
            "sessions": len(summary.sessions),
            "objects": objects,
            "images_per_s": round(summary.images_per_second, 1),
        },
    )


def page(step: Step, summary: SimulationSummary) -> Page:
    """Some images with their labels, and the objects of each class."""
    from robot_assets.figures.detections import labelled_sheet

    counts = {name: {"objects": count, "images": summary.images_with[name]} for name, count in summary.objects.items()}
    sheet = labelled_sheet(*_some_labelled(step.output, _SHOWN_IMAGES))
    return Page((Picture(sheet, "Some images with their labels"), Table("class", counts)))


def _some_labelled(raw: Path, count: int) -> tuple[list[Any], list[Any], list[Any], tuple[str, ...]]:
    """Images spread over a raw data set, their boxes (n, 4) xyxy, their class indices, and the classes."""
    import numpy as np
    from PIL import Image

    document = json.loads((raw / "annotations.json").read_text())
    images, boxes, labels = [], [], []
    for one in document["images"][:: max(1, len(document["images"]) // count)][:count]:
        found = [label for label in document["annotations"] if label["image_id"] == one["id"]]
        corners = [[x, y, x + w, y + h] for x, y, w, h in (label["bbox"] for label in found)]
        with Image.open(raw / "images" / one["file_name"]) as image:
            images.append(np.asarray(image.convert("RGB")))
        boxes.append(np.array(corners, float).reshape(-1, 4))
        labels.append(np.array([label["category_id"] - 1 for label in found], int))
    return images, boxes, labels, tuple(category["name"] for category in document["categories"])


def observe(observer: Observer, name: AssetName) -> Sighting | None:
    """The hash in the pointer of a recorded data set.

    Raises:
        DataError: The pointer, its repository or its revision is missing.
        StoreError: It is not a pointer.
    """
    from robot_assets.data.recorded import read_recorded

    if (source := _recorded(observer.project, name)) is None:
        return None
    repositories = observer.once("repositories", lambda: _repositories(observer.project))
    found = read_recorded(source, observer.project.root, repositories)
    known = {"commit": found.commit, "size_bytes": found.size_bytes, "files": found.files}
    return Sighting(found.version, found.where, {key: value for key, value in known.items() if value is not None})


def require_available(project: Project, name: AssetName, version: str) -> None:
    """Refuse a version whose bytes nobody has.

    Raises:
        DataError: Neither the store nor the folder beside the pointer has it; the fix is a command.
    """
    from robot_assets.data.recorded import check_available

    if (source := _recorded(project, name)) is not None:
        check_available(source, project.root, version, project.store)


def open_version(project: Project, name: AssetName, version: str) -> Path:
    """The folder with exactly this version, read-only."""
    from robot_assets.data.recorded import open_recorded

    source = _recorded(project, name)
    return open_recorded(source, project.root, version, project.store) if source else project.store.open(version)


def _unseen(project: Project, name: AssetName) -> RobotAssetsError:
    return RobotAssetsError(
        f"{name} is simulated, so there is nothing to observe",
        needed="a data set with a source of kind dvc",
        fix=f"robot-assets build {name}",
    )


def _repositories(project: Project) -> Repositories:
    from robot_assets.data.repository import Repositories

    return Repositories(project.state / "git", project.root)


def _recorded(project: Project, name: AssetName) -> RecordedSource | None:
    source = project.params.datasets[name.dataset].source
    return source if isinstance(source, RecordedSource) else None


KIND = StageKind(
    name="raw",
    pattern=names.RAW,
    group="data",
    traits=AssetTraits(role="Raw data"),
    stages=stages,
    production=Production(
        description="Images and labels of a simulated sidewalk, rendered from a seed.",
        policy="auto",
        tools=("panda3d",),
        run=run,
        facts=facts,
        page=page,
    ),
    observation=Observation(
        description="Recorded images and labels. The version is the hash in their pointer in git.",
        tools=("dvc",),
        sensor=Sensor(
            name="data_pointers",
            description="Reads the hash of every recorded data set where params.yaml says: in its .dvc pointer or in "
            "dvc.lock, in the working tree or in a git repository. A new hash is recorded as an observation of "
            "raw/<dataset> as soon as its data is available: so dvc add, dvc push and git push start a rebuild.",
            noun="data pointer",
            idle="no recorded data sets in params.yaml",
        ),
        observe=observe,
        unseen=_unseen,
        reports_itself=lambda project, name: False,
        require_available=require_available,
        open=open_version,
    ),
)
