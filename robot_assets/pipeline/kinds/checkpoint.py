"""``<model>/checkpoint``: the trained FP32 weights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from robot_assets.cluster.spec import TRAINING
from robot_assets.core.page import Facts, Page, Picture, Table
from robot_assets.lineage.graph import AssetTraits, Stage
from robot_assets.pipeline import names
from robot_assets.pipeline.kind import Production, StageKind, entry
from robot_assets.tasks.detection.spec import NetworkSpec
from robot_assets.training.spec import TrainingSpec

if TYPE_CHECKING:
    from robot_assets.pipeline.kind import Step
    from robot_assets.pipeline.params import Params
    from robot_assets.training.loop import TrainingSummary

_SHOWN_IMAGES = 6
_SHOWN_SCORE_MIN = 0.3


@dataclass(frozen=True)
class CheckpointSpec:
    """What training reads of params.yaml."""

    network: NetworkSpec
    training: TrainingSpec


def stages(params: Params) -> Iterator[Stage]:
    """One for each model."""
    for name, model in params.models.items():
        spec = CheckpointSpec(network=model.network, training=model.training)
        yield Stage(
            names.checkpoint(name),
            KIND.name,
            (entry(run),),
            {"network": model.network.model_dump(mode="json"), "training": model.training.model_dump(mode="json")},
            (names.dataset(model.dataset),),
            pool=TRAINING,
            spec=spec,
        )


def run(step: Step) -> TrainingSummary:
    """Train, or go on from the state that a killed run has left in the scratch folder."""
    from robot_assets.training.loop import train

    (dataset,) = step.inputs.values()
    return train(dataset, step.spec.network, step.spec.training, step.output, step.scratch)


def facts(summary: TrainingSummary) -> Facts:
    """Accuracy of the best epoch."""
    val, test = summary.val, summary.test
    return Facts(
        f"mAP@50 {test.map50:.3f} on test, {val.map50:.3f} on val",
        {
            "map50_test": test.map50,
            "map50_val": val.map50,
            "map50_95_test": test.map50_95,
            "best_epoch": summary.best_epoch,
            "parameters": summary.parameters,
            "images_per_s": round(summary.images_per_s, 1),
            "resumed_from_epoch": summary.resumed_from_epoch,
        },
    )


def page(step: Step, summary: TrainingSummary) -> Page:
    """Training curves, accuracy of each class, and predictions on unseen images."""
    from robot_assets.figures.curves import training_curves

    (dataset,) = step.inputs.values()
    history = json.loads((step.output / "history.json").read_text())["epochs"]
    val, test = summary.val, summary.test
    per_class = {
        name: {"val AP50": val.per_class_ap50[name], "test AP50": test.per_class_ap50[name]}
        for name in test.per_class_ap50
    }
    return Page(
        (
            Picture(training_curves(history, best_epoch=summary.best_epoch), "Loss and mAP"),
            Table("class", per_class),
            Picture(_predictions(step.output, dataset), "Predictions on unseen images"),
        )
    )


def _predictions(trained: Path, dataset: Path) -> bytes:
    """Images spread over the test split, with what is there and what the checkpoint detects."""
    import torch

    from robot_assets.data.packed import open_split
    from robot_assets.figures.detections import Sample, prediction_sheet
    from robot_assets.runtime.preprocess import letterbox, to_input
    from robot_assets.tasks.detection.checkpoint import load_network
    from robot_assets.tasks.detection.decode import decode

    network, config = load_network(trained)
    split = open_split(dataset, "test")
    samples = []
    for index in range(0, len(split), max(1, len(split) // _SHOWN_IMAGES))[:_SHOWN_IMAGES]:
        image = split.image(index)
        boxed = letterbox(image, config.network.input_height, config.network.input_width)
        with torch.inference_mode():
            heads = [head.numpy() for head in network(torch.from_numpy(to_input([boxed.image])))]
        seen = decode(heads, config.network, score_min=_SHOWN_SCORE_MIN)[0].in_image(boxed)
        truth = (split.boxes(index), split.labels(index))
        samples.append(Sample(image, *truth, seen.boxes, seen.labels, seen.scores))
    return prediction_sheet(samples, config.classes)


KIND = StageKind(
    name="checkpoint",
    pattern=names.CHECKPOINT,
    group="{model}",
    traits=AssetTraits(role="Checkpoint"),
    stages=stages,
    production=Production(
        description="The best FP32 weights by validation mAP@50, as safetensors.",
        policy="manual",
        tools=("pytorch",),
        run=run,
        facts=facts,
        page=page,
    ),
)
