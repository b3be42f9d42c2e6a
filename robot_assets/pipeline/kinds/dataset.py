"""``datasets/<dataset>``: validated, split by recording session, packed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from robot_assets.core.page import Facts, Page, Picture
from robot_assets.core.verdict import Verdict
from robot_assets.lineage.graph import AssetTraits, Gate, Stage
from robot_assets.pipeline import names
from robot_assets.pipeline.kind import Production, StageKind, entry
from robot_assets.tasks.registry import task_of
from robot_assets.tasks.task import loaded

if TYPE_CHECKING:
    from robot_assets.data.dataset import DatasetSummary
    from robot_assets.data.spec import DatasetSpec
    from robot_assets.pipeline.kind import GateStep, Step
    from robot_assets.pipeline.params import Params


def stages(params: Params) -> Iterator[Stage]:
    """One for each data set."""
    for name, dataset in params.datasets.items():
        read = dataset.model_dump(mode="json", exclude={"source"})
        code, inputs = (entry(run), task_of(dataset.task).labels), (names.raw(name),)
        yield Stage(names.dataset(name), KIND.name, code, read, inputs, gates_of(dataset), spec=dataset)


def gates_of(dataset: DatasetSpec) -> tuple[Gate, ...]:
    """The gates of a data set: two of every task, and that of its label format."""
    task = task_of(dataset.task)
    labels = task.load_labels().gate
    read = dataset.model_dump(mode="json", exclude={"source"})
    return (
        Gate(
            "no_leakage",
            "No recording session and no near-duplicate image is in two splits.",
            (entry(judge), "robot_assets.data.checks:check_leakage"),
            read,
        ),
        Gate(
            "classes_in_every_split",
            "Every class is in every split, but for those that params.yaml exempts.",
            (entry(judge), "robot_assets.data.checks:check_classes", task.labels),
            read,
        ),
        Gate(
            labels.name,
            labels.description,
            (entry(judge), "robot_assets.data.checks:check_labels", task.labels, labels.inspect),
            read,
        ),
    )


def run(step: Step) -> DatasetSummary:
    """Validate, split and pack."""
    from robot_assets.data.dataset import build_dataset

    (raw,) = step.inputs.values()
    return build_dataset(raw, step.spec, step.output, step.name.dataset)


def judge(step: GateStep) -> Mapping[str, Verdict]:
    """Each gate reads the packed bytes for itself."""
    return {gate.name: judged(gate, step.artifact, step.stage.spec, step.name.dataset) for gate in step.gates}


def judged(gate: Gate, artifact: Path, spec: DatasetSpec, name: str) -> Verdict:
    """The verdict of one of :func:`gates_of`: its check is the second entry point of its code.

    Args:
        gate: The gate.
        artifact: Folder of the packed data set.
        spec: Its parameters.
        name: Its name in params.yaml.

    Raises:
        DataError: The data set cannot be read.
    """
    found: Verdict = loaded(gate.code[1])(artifact, spec, name)
    return found


def facts(summary: DatasetSummary) -> Facts:
    """Images of each split."""
    return Facts(
        ", ".join(f"{count} {split}" for split, count in summary.images.items()),
        {
            "images": sum(summary.images.values()),
            "calibration_images": summary.calibration_images,
            "linked_sessions": [list(group) for group in summary.linked_sessions],
            "classes": ", ".join(summary.classes),
        },
    )


def page(step: Step, summary: DatasetSummary) -> Page:
    """Labels of each class, sessions of each split."""
    from robot_assets.figures.balance import class_balance, session_split

    nouns = summary.counted.amount
    return Page(
        (
            Picture(class_balance(summary.amounts, nouns), f"{nouns.capitalize()} of each class"),
            Picture(session_split(_images_by_session(step.output, summary)), "Recording sessions of each split"),
        )
    )


def _images_by_session(artifact: Path, summary: DatasetSummary) -> dict[str, dict[str, int]]:
    """Split -> session -> images."""
    from robot_assets.data.packed import open_split

    return {split: dict(Counter(open_split(artifact, split).sessions)) for split in summary.images}


KIND = StageKind(
    name="dataset",
    pattern=names.DATASET,
    group="data",
    traits=AssetTraits(role="Data set"),
    stages=stages,
    production=Production(
        description="Validated, split by recording session, packed for memory-mapped reading.",
        policy="auto",
        tools=("dvc",),
        run=run,
        facts=facts,
        page=page,
        judge=judge,
    ),
)
