"""``<model>/checkpoint``: the trained FP32 weights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from robot_assets.cluster.spec import TRAINING
from robot_assets.core.dispatch import chosen_by_params
from robot_assets.core.page import Facts, Page, Picture, Table
from robot_assets.lineage.graph import AssetTraits, Stage
from robot_assets.pipeline import names
from robot_assets.pipeline.kind import Production, StageKind, entry
from robot_assets.tasks.networks import NetworkDefinition, OwnNetwork, interface_of, network_code
from robot_assets.tasks.registry import task_of
from robot_assets.training.spec import TrainingSpec
from robot_assets.weights.spec import LoadingRules

if TYPE_CHECKING:
    from robot_assets.pipeline.kind import Step
    from robot_assets.pipeline.params import Params
    from robot_assets.training.loop import TrainingSummary
    from robot_assets.weights.loading import StartingWeights

_SHOWN_IMAGES = 6


@dataclass(frozen=True)
class CheckpointSpec:
    """What training reads of params.yaml."""

    definition: NetworkDefinition
    training: TrainingSpec
    rules: LoadingRules | None = None
    weights_file: str = ""
    """Where the file of the weights is in the project, for errors."""


def stages(params: Params) -> Iterator[Stage]:
    """One for each model that is trained here."""
    for name, model in params.trained():
        task = task_of(model.task)
        read = model.model_dump(mode="json", include={"task", "network", "input", "loss", "training"})
        inputs = [names.dataset(model.dataset)]
        start = params.weights[model.network.weights] if model.network.weights is not None else None
        if start is not None:
            inputs.append(names.weights(str(model.network.weights)))
            read["weights"] = start.rules.model_dump(mode="json")
        yield Stage(
            names.checkpoint(name),
            KIND.name,
            (
                entry(run),
                *network_code(model.network, task),
                *task.training_code,
                *task.scoring_code(task.own_decoder.name),
            ),
            read,
            tuple(inputs),
            pool=TRAINING,
            spec=CheckpointSpec(
                model.definition,
                model.training,
                start.rules if start else None,
                start.artifact if start else "",
            ),
        )


def run(step: Step) -> TrainingSummary:
    """Train, or go on from the state that a killed run has left in the scratch folder."""
    from robot_assets.training.loop import train

    spec = step.spec
    return train(_dataset(step), spec.definition, spec.training, step.output, step.scratch, _start(step))


def precheck(step: Step) -> None:
    """Run the smoke test of a network of one's own, unless a killed run has got beyond it.

    Raises:
        RobotAssetsError: With the layer that cannot be trained, quantized or exported.
    """
    definition = step.spec.definition
    if step.scratch.exists() or not isinstance(definition.network, OwnNetwork):
        return  # the networks of this package are tested with it
    from robot_assets.data.packed import open_split
    from robot_assets.smoke.check import check

    dataset = _dataset(step)
    interface = interface_of(
        task_of(definition.task), definition.network, definition.input, open_split(dataset, "train").classes
    )
    check(
        definition,
        interface,
        dataset=dataset,
        initialize=_start(step),
        seed=step.spec.training.seed,
        on_step=lambda done: step.note(f"smoke test: {done.name}, {done.seconds:.1f} s: {done.found}"),
    )


def _dataset(step: Step) -> Path:
    return step.inputs[next(name for name in step.stage.inputs if names.DATASET.parse(name))]


def _start(step: Step) -> StartingWeights | None:
    """The weights that the training starts from; None for random ones."""
    from robot_assets.weights.loading import StartingWeights

    name = step.spec.definition.network.weights
    if name is None:
        return None
    asset = names.weights(name)
    return StartingWeights(name, step.versions[asset], step.inputs[asset], step.spec.rules, step.spec.weights_file)


def facts(summary: TrainingSummary) -> Facts:
    """Accuracy of the best epoch."""
    val, test = summary.val, summary.test
    metric = test.metric
    others = {f"{key}_test": value for key, value in test.values.items() if key != metric.key}
    return Facts(
        f"{metric.name} {test.score:.3f} on test, {val.score:.3f} on val",
        {
            f"{metric.key}_test": test.score,
            f"{metric.key}_val": val.score,
            **others,
            "best_epoch": summary.best_epoch,
            "parameters": summary.parameters,
            "images_per_s": round(summary.images_per_s, 1),
            "resumed_from_epoch": summary.resumed_from_epoch,
        },
    )


def page(step: Step, summary: TrainingSummary) -> Page:
    """Training curves, accuracy of each class, and predictions on unseen images."""
    from robot_assets.figures.curves import training_curves

    dataset = _dataset(step)
    history = json.loads((step.output / "history.json").read_text())["epochs"]
    val, test = summary.val, summary.test
    metric = test.metric
    per_class = {
        name: {
            f"val {metric.class_name}": val.per_class.get(name),
            f"test {metric.class_name}": test.per_class[name],
        }
        for name in test.per_class
    }
    names_of = {f"val_{key}": metric.name_of(key) for key in test.values}
    curves = training_curves(history, names_of, best_epoch=summary.best_epoch)
    return Page(
        (
            Picture(curves, f"Loss and {metric.name}"),
            Table("class", per_class),
            Picture(_predictions(step.output, dataset), "Predictions on unseen images"),
        )
    )


@chosen_by_params
def _predictions(trained: Path, dataset: Path) -> bytes:
    """Images spread over the test split, with what is there and what the checkpoint predicts."""
    import torch

    from robot_assets.data.packed import open_split
    from robot_assets.runtime.preprocess import fitted, to_input
    from robot_assets.tasks.checkpoint import load_network
    from robot_assets.training.loop import network_infer

    network, config = load_network(trained)
    interface = config.interface
    task, split = task_of(interface.task), open_split(dataset, "test")
    decode, labels, infer = (
        task.load_decoder(interface.decoder),
        task.load_labels(),
        network_infer(network, torch.device("cpu")),
    )
    shown = range(0, len(split), max(1, len(split) // _SHOWN_IMAGES))[:_SHOWN_IMAGES]
    images = [split.image(index) for index in shown]
    predictions = []
    for image in images:
        boxed = fitted(image, interface.input)
        heads = infer(to_input([boxed.image], interface.input))
        predictions.append(decode(heads, interface)[0].in_image(boxed))
    truth = [labels.unpacked(split, index) for index in shown]
    return task.load_drawing().prediction_sheet(images, truth, predictions, interface.classes)


KIND = StageKind(
    name="checkpoint",
    pattern=names.CHECKPOINT,
    group="{model}",
    traits=AssetTraits(role="Checkpoint"),
    stages=stages,
    production=Production(
        description="The best FP32 weights by the metric of the task on val, as safetensors.",
        policy="manual",
        tools=("pytorch",),
        run=run,
        precheck=precheck,
        facts=facts,
        page=page,
    ),
)
