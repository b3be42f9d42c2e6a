"""``<model>/qat``: quantization-aware training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from robot_assets.cluster.spec import TRAINING
from robot_assets.core.page import Facts, Page, Picture
from robot_assets.core.spec import Spec
from robot_assets.lineage.graph import AssetTraits, Stage
from robot_assets.pipeline import names
from robot_assets.pipeline.kind import Production, StageKind, entry
from robot_assets.quantization.spec import QatSpec
from robot_assets.tasks.networks import network_code
from robot_assets.tasks.registry import task_of
from robot_assets.training.spec import TrainingSpec

if TYPE_CHECKING:
    from robot_assets.pipeline.kind import Step
    from robot_assets.pipeline.params import Params
    from robot_assets.quantization.qat import QatSummary


@dataclass(frozen=True)
class QatStageSpec:
    """What quantization-aware training reads of params.yaml."""

    qat: QatSpec
    training: TrainingSpec
    loss: Spec


def stages(params: Params) -> Iterator[Stage]:
    """One for each model that is trained here."""
    for name, model in params.trained():
        task, spec = task_of(model.task), QatStageSpec(model.quantization.qat, model.training, model.loss)
        read = {"qat": spec.qat, "training": spec.training, "loss": spec.loss}
        yield Stage(
            names.qat(name),
            KIND.name,
            (
                entry(run),
                *network_code(model.network, task),
                *task.training_code,
                *task.scoring_code(task.own_decoder.name),
            ),
            {key: section.model_dump(mode="json") for key, section in read.items()},
            (names.checkpoint(name), names.ptq(name), names.dataset(model.dataset)),
            pool=TRAINING,
            spec=spec,
        )


def run(step: Step) -> QatSummary:
    """Fine-tune with fake quantization, and an FP32 control beside it."""
    from robot_assets.quantization.qat import qat

    checkpoint, post, dataset = step.inputs.values()
    spec = step.spec
    return qat(checkpoint, post, dataset, spec.qat, spec.training, spec.loss, step.output, step.scratch)


def facts(summary: QatSummary) -> Facts:
    """What QAT gains, against PTQ and against the FP32 control."""
    key = summary.metric.key
    gain = 100 * (summary.qat_score - summary.start_score)
    against_control = 100 * (summary.qat_score - summary.fp32_control_score)
    return Facts(
        f"{gain:+z.2f} points against the best PTQ, {against_control:+z.2f} against the FP32 control on val",
        {
            "calibrator": summary.calibrator,
            f"{key}_val": summary.qat_score,
            "gain_points": gain,
            f"fp32_control_{key}_val": summary.fp32_control_score,
            "best_epoch": summary.best_epoch,
            "epochs": summary.epochs,
        },
    )


def page(step: Step, summary: QatSummary) -> Page:
    """FP32, the control, PTQ and QAT side by side."""
    from robot_assets.figures.comparison import variant_comparison

    values = {
        "FP32 checkpoint": summary.checkpoint_score,
        "FP32 control": summary.fp32_control_score,
        f"PTQ {summary.calibrator}": summary.start_score,
        "QAT": summary.qat_score,
    }
    drawn = variant_comparison(values, None, measure=summary.metric.name)
    return Page((Picture(drawn, f"{summary.metric.name} on val, side by side"),))


KIND = StageKind(
    name="qat",
    pattern=names.QAT,
    group="{model}",
    traits=AssetTraits(role="QAT"),
    stages=stages,
    production=Production(
        description="Quantization-aware training, beside an FP32 control with the same extra training.",
        policy="manual",
        tools=("pytorch",),
        run=run,
        facts=facts,
        page=page,
    ),
)
