"""``<model>/onnx``: the better of PTQ and QAT as one ONNX file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from robot_assets.core.page import Facts, Page, Picture
from robot_assets.core.verdict import Verdict
from robot_assets.lineage.graph import AssetTraits, Gate, Stage
from robot_assets.pipeline import names
from robot_assets.pipeline.kind import Production, StageKind, entry
from robot_assets.pipeline.models import trained
from robot_assets.tasks.networks import network_code
from robot_assets.tasks.registry import task_of

if TYPE_CHECKING:
    from robot_assets.export.onnx_export import ExportSummary
    from robot_assets.pipeline.kind import GateStep, Step
    from robot_assets.pipeline.params import Params

_VARIANTS = {"checkpoint": "FP32 checkpoint", "fp32_control": "FP32 control", "ptq": "PTQ", "qat": "QAT"}


def stages(params: Params) -> Iterator[Stage]:
    """One for each model that is trained here."""
    for name, model in trained(params):
        task, dataset = task_of(model.task), names.dataset(model.dataset)
        scoring = task.scoring_code(task.own_decoder.name)
        inputs = (names.checkpoint(name), names.ptq(name), names.qat(name), dataset)
        yield Stage(
            names.onnx(name),
            KIND.name,
            (entry(run), *network_code(model.network, task), *task.own_decoder.code),
            {},
            inputs,
            (parity_gate(dataset, scoring),),
        )


def parity_gate(dataset: str, scoring: tuple[str, ...]) -> Gate:
    """The gate of every exported or imported graph: it gives the answers that were recorded of its model."""
    return Gate(
        "parity",
        "The ONNX graph answers as the model that it was made from.",
        (entry(judge), *scoring),
        inputs=(dataset,),
    )


def run(step: Step) -> ExportSummary:
    """Choose between PTQ and QAT, and export the choice."""
    from robot_assets.export.onnx_export import export_onnx

    checkpoint, post, aware, dataset = step.inputs.values()
    return export_onnx(checkpoint, post, aware, dataset, step.output)


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

    choice = summary.choice
    values = {title: choice.scores[key] for key, title in _VARIANTS.items()}
    drawn = variant_comparison(values, _VARIANTS[choice.method], measure=choice.metric.name)
    return Page((Picture(drawn, f"{choice.metric.name} on val, side by side"),))


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
