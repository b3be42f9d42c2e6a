"""``<model>/onnx``: the better of PTQ and QAT as one ONNX file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from robot_assets.core.page import Facts, Page, Picture
from robot_assets.core.verdict import Verdict
from robot_assets.lineage.graph import AssetTraits, Gate, Stage
from robot_assets.pipeline import names
from robot_assets.pipeline.kind import Production, StageKind, entry

if TYPE_CHECKING:
    from robot_assets.export.onnx_export import ExportSummary
    from robot_assets.pipeline.kind import GateStep, Step
    from robot_assets.pipeline.params import Params

_VARIANTS = {"checkpoint": "FP32 checkpoint", "fp32_control": "FP32 control", "ptq": "PTQ", "qat": "QAT"}


def stages(params: Params) -> Iterator[Stage]:
    """One for each model."""
    for name, model in params.models.items():
        dataset = names.dataset(model.dataset)
        parity = Gate(
            "parity",
            "The ONNX graph answers as the quantized PyTorch model does.",
            (entry(judge),),
            inputs=(dataset,),
        )
        inputs = (names.checkpoint(name), names.ptq(name), names.qat(name), dataset)
        yield Stage(names.onnx(name), KIND.name, (entry(run),), {}, inputs, (parity,))


def run(step: Step) -> ExportSummary:
    """Choose between PTQ and QAT, and export the choice."""
    from robot_assets.export.onnx_export import export_onnx

    trained, post, aware, dataset = step.inputs.values()
    return export_onnx(trained, post, aware, dataset, step.output)


def judge(step: GateStep) -> Mapping[str, Verdict]:
    """Hold the graph against the answers that PyTorch gave."""
    from robot_assets.export.parity import check_parity

    (dataset,) = step.inputs.values()
    return {"parity": check_parity(step.artifact, dataset)}


def facts(summary: ExportSummary) -> Facts:
    """What was promoted, and why."""
    return Facts(
        summary.choice.because,
        {
            "promoted": summary.choice.method,
            "because": summary.choice.because,
            "qat_gain_points": summary.choice.qat_gain_points,
            "model_md5": summary.model_md5,
            "model_size_bytes": summary.model_size_bytes,
            "nodes": summary.nodes,
            "values_that_differ_from_torch": summary.differing_share,
        },
    )


def page(step: Step, summary: ExportSummary) -> Page:
    """All variants side by side."""
    from robot_assets.figures.comparison import variant_comparison

    values = {title: summary.choice.map50[key] for key, title in _VARIANTS.items()}
    drawn = variant_comparison(values, _VARIANTS[summary.choice.method])
    return Page((Picture(drawn, "mAP@50 on val, side by side"),))


KIND = StageKind(
    name="onnx",
    pattern=names.ONNX,
    group="{model}",
    traits=AssetTraits(role="ONNX"),
    stages=stages,
    production=Production(
        description="The better of PTQ and QAT as one ONNX file with Q/DQ nodes (opset 17, IR 8).",
        policy="auto",
        tools=("onnx",),
        run=run,
        facts=facts,
        page=page,
        judge=judge,
    ),
)
