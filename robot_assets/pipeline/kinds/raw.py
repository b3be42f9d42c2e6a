"""``raw/<dataset>``: images and labels as they were recorded (observed by their pointer in git), or simulated here."""

from __future__ import annotations

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
from robot_assets.tasks.registry import task_of

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
    """Counts of images, and of objects or classes of pixels."""
    objects = sum(summary.objects.values())
    labels = (
        plural(len(summary.pixel_shares), "class", "classes") if summary.pixel_shares else plural(objects, "object")
    )
    return Facts(
        f"{plural(summary.images, 'image')}, {labels}, {summary.images_per_second:.0f} images/s",
        {
            "images": summary.images,
            "sessions": len(summary.sessions),
            **({} if summary.pixel_shares else {"objects": objects}),
            "images_per_s": round(summary.images_per_second, 1),
        },
    )


def page(step: Step, summary: SimulationSummary) -> Page:
    """Some images with their labels, and the objects or pixels of each class."""
    from robot_assets.data.raw_sample import sample_raw
    from robot_assets.data.raw_source import task_of_raw

    task = task_of(task_of_raw(step.output))
    sheet = task.load_drawing().labelled_sheet(*sample_raw(step.output, task.name, _SHOWN_IMAGES))
    amounts: dict[str, dict[str, Any]] = {name: {"objects": count} for name, count in summary.objects.items()}
    amounts |= {name: {"pixels": f"{share:.1%}"} for name, share in summary.pixel_shares.items()}
    rows = {name: {**amount, "images": summary.images_with[name]} for name, amount in amounts.items()}
    return Page((Picture(sheet, "Some images with their labels"), Table("class", rows)))


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
