"""``<model>/ptq``: post-training quantization."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from robot_assets.cluster.spec import TRAINING
from robot_assets.core.page import Facts, Page, Picture, Table
from robot_assets.lineage.graph import AssetTraits, Stage
from robot_assets.pipeline import names
from robot_assets.pipeline.kind import Production, StageKind, entry
from robot_assets.quantization.spec import PtqSpec
from robot_assets.tasks.networks import network_code
from robot_assets.tasks.registry import task_of

if TYPE_CHECKING:
    from robot_assets.pipeline.kind import Step
    from robot_assets.pipeline.params import Params
    from robot_assets.quantization.ptq import PtqSummary


@dataclass(frozen=True)
class PtqStageSpec:
    """What post-training quantization reads of params.yaml."""

    ptq: PtqSpec
    float_layers: tuple[str, ...]


def stages(params: Params) -> Iterator[Stage]:
    """One for each model that is trained here."""
    for name, model in params.trained():
        task, section = task_of(model.task), model.quantization
        yield Stage(
            names.ptq(name),
            KIND.name,
            (entry(run), *network_code(model.network, task), *task.scoring_code(task.own_decoder.name)),
            section.model_dump(mode="json", include={"ptq", "float_layers"}),
            (names.checkpoint(name), names.dataset(model.dataset)),
            pool=TRAINING,
            spec=PtqStageSpec(section.ptq, section.float_layers),
        )


def run(step: Step) -> PtqSummary:
    """Calibrate with each calibrator and keep the best."""
    from robot_assets.quantization.ptq import ptq

    checkpoint, dataset = step.inputs.values()
    return ptq(checkpoint, dataset, step.spec.ptq, step.output, step.spec.float_layers)


def facts(summary: PtqSummary) -> Facts:
    """The best calibrator and what it loses."""
    return Facts(
        f"{summary.calibrator}: {-summary.drop_points:+z.2f} points against FP32 on val",
        {
            "calibrator": summary.calibrator,
            f"{summary.metric.key}_val": summary.score,
            "drop_points": summary.drop_points,
            "quantized_activations": summary.tensors,
            "quantized_layers": summary.layers,
            "operators_in_float": len(summary.in_float),
        },
    )


def page(step: Step, summary: PtqSummary) -> Page:
    """FP32 and each calibrator side by side, and what stays in float."""
    from robot_assets.figures.comparison import variant_comparison

    values = {"FP32 checkpoint": summary.checkpoint_score}
    values |= {f"PTQ {name}": value for name, value in summary.scores.items()}
    drawn = variant_comparison(values, f"PTQ {summary.calibrator}", measure=summary.metric.name)
    pictures = (Picture(drawn, f"{summary.metric.name} on val, side by side"),)
    rows = {layer: {"operator": operator, "stays in float because": why} for layer, operator, why in summary.in_float}
    return Page((*pictures, Table("layer", rows)) if rows else pictures)


KIND = StageKind(
    name="ptq",
    pattern=names.PTQ,
    group="{model}",
    traits=AssetTraits(role="PTQ"),
    stages=stages,
    production=Production(
        description="Post-training quantization: the calibrators compete on the validation split.",
        policy="auto",
        tools=("pytorch",),
        run=run,
        facts=facts,
        page=page,
    ),
)
