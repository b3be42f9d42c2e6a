"""``<model>/onnx``: one Q/DQ graph, the better of PTQ and QAT, or made of a graph that was trained elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from robot_assets.core.dispatch import chosen_by_params
from robot_assets.core.page import Facts, Page, Picture
from robot_assets.core.verdict import Verdict
from robot_assets.foreign.spec import ForeignSpec
from robot_assets.lineage.graph import AssetTraits, Gate, Stage
from robot_assets.pipeline import names
from robot_assets.pipeline.kind import Production, StageKind, entry
from robot_assets.tasks.networks import network_code
from robot_assets.tasks.registry import task_of

if TYPE_CHECKING:
    from robot_assets.export.onnx_export import ExportSummary
    from robot_assets.foreign.artifact import ForeignSummary
    from robot_assets.pipeline.kind import GateStep, Step
    from robot_assets.pipeline.models import OnnxModel
    from robot_assets.pipeline.params import Params

_VARIANTS = {"checkpoint": "FP32 checkpoint", "fp32_control": "FP32 control", "ptq": "PTQ", "qat": "QAT"}


def stages(params: Params) -> Iterator[Stage]:
    """One for each model."""
    for name, model in params.trained():
        task, dataset = task_of(model.task), names.dataset(model.dataset)
        code = (
            entry(run),
            "robot_assets.export.onnx_export:export_onnx",
            *network_code(model.network, task),
            *task.own_decoder.code,
        )
        inputs = (names.checkpoint(name), names.ptq(name), names.qat(name), dataset)
        gate = _parity(dataset, task.scoring_code(task.own_decoder.name))
        yield Stage(names.onnx(name), KIND.name, code, {}, inputs, (gate,))
    for name, foreign in params.imported():
        yield _imported(name, foreign)


def _imported(name: str, model: OnnxModel) -> Stage:
    task, dataset, section = task_of(model.task), names.dataset(model.dataset), model.quantization
    scoring = task.scoring_code(model.source.decoder)
    spec = ForeignSpec(
        task=model.task,
        source=model.source,
        input=model.input,
        ptq=section.ptq,
        float_layers=section.float_layers,
    )
    return Stage(
        names.onnx(name),
        KIND.name,
        (entry(run), "robot_assets.foreign.onnx_stage:import_onnx", *scoring),
        spec.read,
        (names.source(name), dataset),
        (_parity(dataset, scoring), _original(dataset)),
        spec=spec,
    )


def _parity(dataset: str, scoring: tuple[str, ...]) -> Gate:
    """The gate of every exported or imported graph: it gives the answers that were recorded of its model."""
    return Gate(
        "parity",
        "The ONNX graph answers as the model that it was made from.",
        (entry(judge), "robot_assets.export.parity:check_parity", *scoring),
        inputs=(dataset,),
    )


def _original(dataset: str) -> Gate:
    """The gate of imported graphs: nothing else shows that a conversion has kept what the file computes."""
    return Gate(
        "original",
        "The graph in float answers as the file that was given, before any conversion.",
        (entry(judge), "robot_assets.foreign.gate:check_original"),
        inputs=(dataset,),
    )


@chosen_by_params
def run(step: Step) -> ExportSummary | ForeignSummary:
    """Choose between PTQ and QAT and export the choice, or import the graph that was trained elsewhere."""
    if step.spec is not None:
        from robot_assets.foreign.onnx_stage import import_onnx

        source, dataset = step.inputs.values()
        return import_onnx(source, dataset, step.spec, step.output)
    from robot_assets.export.onnx_export import export_onnx

    checkpoint, post, aware, dataset = step.inputs.values()
    return export_onnx(checkpoint, post, aware, dataset, step.output)


@chosen_by_params
def judge(step: GateStep) -> Mapping[str, Verdict]:
    """Compare the graph with recorded answers: those of its model, and those of the file that it was imported from."""
    from robot_assets.export.parity import check_parity
    from robot_assets.foreign.gate import check_original

    (dataset,) = step.inputs.values()
    checks = {"parity": check_parity, "original": check_original}
    return {gate.name: checks[gate.name](step.artifact, dataset) for gate in step.gates}


def facts(summary: ExportSummary | ForeignSummary) -> Facts:
    """What was promoted, and why."""
    from robot_assets.foreign.artifact import ForeignSummary

    return _import_facts(summary) if isinstance(summary, ForeignSummary) else _export_facts(summary)


def _export_facts(summary: ExportSummary) -> Facts:
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


def _import_facts(summary: ForeignSummary) -> Facts:
    return Facts(
        summary.because,
        {
            "promoted": summary.method,
            "because": summary.because,
            f"{summary.metric.key}_test": summary.test_score,
            "drop_points": summary.drop_points,
            "changes": list(summary.changes),
            "layers_in_float": [f"{name}: {reason}" for name, reason in summary.in_float.items()],
            "quantized_layers": summary.quantized_layers,
            "model_md5": summary.model_md5,
            "model_size_bytes": summary.model_size_bytes,
            "nodes": dict(summary.nodes),
            "values_that_conversion_moved": summary.differing_share,
        },
    )


def page(step: Step, summary: ExportSummary | ForeignSummary) -> Page:
    """All variants side by side."""
    from robot_assets.figures.comparison import variant_comparison
    from robot_assets.foreign.artifact import ForeignSummary

    if isinstance(summary, ForeignSummary):
        metric, chosen = summary.metric, _title(summary.calibrator or "given")
        values = {_title(name): score for name, score in summary.scores.items()}
    else:
        metric, chosen = summary.choice.metric, _VARIANTS[summary.choice.method]
        values = {title: summary.choice.scores[key] for key, title in _VARIANTS.items()}
    drawn = variant_comparison(values, chosen, measure=metric.name)
    return Page((Picture(drawn, f"{metric.name} on val, side by side"),))


def _title(variant: str) -> str:
    """A variant of an imported graph, as a person would call it."""
    return {"float": "FP32 as given", "given": "Q/DQ as given"}.get(variant, f"PTQ {variant}")


KIND = StageKind(
    name="onnx",
    pattern=names.ONNX,
    group="{model}",
    traits=AssetTraits(role="ONNX"),
    stages=stages,
    production=Production(
        description="One Q/DQ ONNX file (opset 17, IR 8): the better of PTQ and QAT, or made of a given file.",
        policy="auto",
        tools=("onnx",),
        run=run,
        facts=facts,
        page=page,
        judge=judge,
    ),
)
