"""``<model>/qat``: quantization-aware training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from robot_assets.cluster.spec import TRAINING
from robot_assets.core.page import Facts, Page, Picture
from robot_assets.lineage.graph import AssetTraits, Stage
from robot_assets.pipeline import names
from robot_assets.pipeline.kind import Production, StageKind, entry
from robot_assets.quantization.spec import QatSpec
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


def stages(params: Params) -> Iterator[Stage]:
    """One for each model."""
    for name, model in params.models.items():
        spec = QatStageSpec(qat=model.quantization.qat, training=model.training)
        yield Stage(
            names.qat(name),
            KIND.name,
            (entry(run),),
            {"qat": model.quantization.qat.model_dump(mode="json"), "training": model.training.model_dump(mode="json")},
            (names.checkpoint(name), names.ptq(name), names.dataset(model.dataset)),
            pool=TRAINING,
            spec=spec,
        )


def run(step: Step) -> QatSummary:
    """Fine-tune with fake quantization, and an FP32 control beside it."""
    from robot_assets.quantization.qat import qat

    trained, post, dataset = step.inputs.values()
    return qat(trained, post, dataset, step.spec.qat, step.spec.training, step.output, step.scratch)


def facts(summary: QatSummary) -> Facts:
    """What QAT gains, against PTQ and against the FP32 control."""
    gain = 100 * (summary.qat_map50 - summary.start_map50)
    against_control = 100 * (summary.qat_map50 - summary.fp32_control_map50)
    return Facts(
        f"{gain:+z.2f} points against the best PTQ, {against_control:+z.2f} against the FP32 control on val",
        {
            "calibrator": summary.calibrator,
            "map50_val": summary.qat_map50,
            "gain_points": gain,
            "fp32_control_map50_val": summary.fp32_control_map50,
            "best_epoch": summary.best_epoch,
            "epochs": summary.epochs,
        },
    )


def page(step: Step, summary: QatSummary) -> Page:
    """FP32, the control, PTQ and QAT side by side."""
    from robot_assets.figures.comparison import variant_comparison

    values = {
        "FP32 checkpoint": summary.checkpoint_map50,
        "FP32 control": summary.fp32_control_map50,
        f"PTQ {summary.calibrator}": summary.start_map50,
        "QAT": summary.qat_map50,
    }
    return Page((Picture(variant_comparison(values, None), "mAP@50 on val, side by side"),))


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
