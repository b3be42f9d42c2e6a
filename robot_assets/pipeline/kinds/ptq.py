"""``<model>/ptq``: post-training quantization."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from robot_assets.cluster.spec import TRAINING
from robot_assets.core.page import Facts, Page, Picture
from robot_assets.lineage.graph import AssetTraits, Stage
from robot_assets.pipeline import names
from robot_assets.pipeline.kind import Production, StageKind, entry

if TYPE_CHECKING:
    from robot_assets.pipeline.kind import Step
    from robot_assets.pipeline.params import Params
    from robot_assets.quantization.ptq import PtqSummary


def stages(params: Params) -> Iterator[Stage]:
    """One for each model."""
    for name, model in params.models.items():
        spec = model.quantization.ptq
        yield Stage(
            names.ptq(name),
            KIND.name,
            (entry(run),),
            {"ptq": spec.model_dump(mode="json")},
            (names.checkpoint(name), names.dataset(model.dataset)),
            pool=TRAINING,
            spec=spec,
        )


def run(step: Step) -> PtqSummary:
    """Calibrate with each calibrator and keep the best."""
    from robot_assets.quantization.ptq import ptq

    trained, dataset = step.inputs.values()
    return ptq(trained, dataset, step.spec, step.output)


def facts(summary: PtqSummary) -> Facts:
    """The best calibrator and what it loses."""
    return Facts(
        f"{summary.calibrator}: {-summary.drop_points:+z.2f} points against FP32 on val",
        {
            "calibrator": summary.calibrator,
            "map50_val": summary.map50,
            "drop_points": summary.drop_points,
            "quantized_activations": summary.tensors,
        },
    )


def page(step: Step, summary: PtqSummary) -> Page:
    """FP32 and each calibrator side by side."""
    from robot_assets.figures.comparison import variant_comparison

    values = {"FP32 checkpoint": summary.checkpoint_map50}
    values |= {f"PTQ {name}": value for name, value in summary.map50_by_calibrator.items()}
    drawn = variant_comparison(values, f"PTQ {summary.calibrator}")
    return Page((Picture(drawn, "mAP@50 on val, side by side"),))


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
