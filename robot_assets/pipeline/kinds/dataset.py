"""``datasets/<dataset>``: validated, split by recording session, packed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from robot_assets.core.dispatch import chosen_by_params
from robot_assets.core.page import Facts, Page, Picture
from robot_assets.core.verdict import Verdict
from robot_assets.lineage.graph import AssetTraits, Gate, Stage
from robot_assets.pipeline import names
from robot_assets.pipeline.kind import Production, StageKind, entry

if TYPE_CHECKING:
    from robot_assets.data.dataset import DatasetSummary
    from robot_assets.pipeline.kind import GateStep, Step
    from robot_assets.pipeline.params import Params

GATES = {
    "no_leakage": ("check_leakage", "No recording session and no near-duplicate image is in two splits."),
    "classes_in_every_split": (
        "check_classes",
        "Every class is in every split, but for those that params.yaml exempts.",
    ),
    "boxes_sane": ("check_boxes", "Every box is finite, inside its image, and there once."),
}


def stages(params: Params) -> Iterator[Stage]:
    """One for each data set."""
    for name, dataset in params.datasets.items():
        read = dataset.model_dump(mode="json", exclude={"source"})
        gates = tuple(
            Gate(gate, description, (entry(judge), f"robot_assets.data.checks:{check}"), read)
            for gate, (check, description) in GATES.items()
        )
        inputs = (names.raw(name),)
        yield Stage(names.dataset(name), KIND.name, (entry(run),), read, inputs, gates, spec=dataset)


def run(step: Step) -> DatasetSummary:
    """Validate, split and pack."""
    from robot_assets.data.dataset import build_dataset

    (raw,) = step.inputs.values()
    return build_dataset(raw, step.spec, step.output, step.name.dataset)


@chosen_by_params
def judge(step: GateStep) -> Mapping[str, Verdict]:
    """Each gate reads the packed bytes for itself; its check is an entry point of its code."""
    from robot_assets.data import checks

    arguments = (step.artifact, step.stage.spec, step.name.dataset)
    return {gate.name: getattr(checks, GATES[gate.name][0])(*arguments) for gate in step.gates}


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
    """Boxes of each class, sessions of each split."""
    from robot_assets.figures.balance import class_balance, session_split

    return Page(
        (
            Picture(class_balance(summary.boxes), "Boxes of each class"),
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
