"""Produced assets: one Dagster asset for each stage of the graph.

A body is three moves: open the inputs, one domain call, ``materialized``. What the domain call does is in
``robot_assets``; what the page shows, in ``metadata.py``.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from dagster_project.keys import BUILDS_CHECK, asset_key, group_name
from dagster_project.producing import pages as metadata
from dagster_project.producing.stage_runner import Step, Workshop
from robot_assets.lineage.code_version import running_code
from robot_assets.lineage.graph import (
    Stage,
    dataset_name,
    engine_name,
    engine_source,
    model_asset,
    platform_name,
    profile_name,
    raw_name,
)
from robot_assets.pipeline.params import Params, profile_of, sensitivity_of
from robot_assets.pipeline.placement import placed
from robot_assets.platforms.spec import TargetEntry

Body = Callable[[Step], dg.MaterializeResult]


def produced_assets(params: Params, graph: Mapping[str, Stage]) -> list[dg.AssetsDefinition]:
    """One asset for every stage that is made here."""
    assets = []
    for name, spec in params.datasets.items():
        if spec.source.kind == "simulation":
            assets.append(simulated(graph[raw_name(name)], params, name))
        assets.append(dataset(graph[dataset_name(name)], params, name))
    for name, model in params.models.items():
        assets += [stage(graph, params, name) for stage in (checkpoint, ptq, qat, onnx)]
        if model.quantization.sensitivity is not None:
            assets.append(sensitivity(graph, params, name))
        assets += [engine(graph, params, name, target) for target in model.targets]
    assets += [profile(graph, params, target) for target, entry in params.targets.items() if entry.profile]
    return assets


def simulated(stage: Stage, params: Params, name: str) -> dg.AssetsDefinition:
    source = params.datasets[name].source

    def body(step: Step) -> dg.MaterializeResult:
        from robot_assets.data.simulate import simulate

        summary = simulate(source, step.output)
        return step.materialized(*metadata.simulated(summary, step.output))

    return _asset(
        stage,
        body,
        "Images and labels of a simulated sidewalk, rendered from a seed.",
        {"panda3d"},
        placed(params, stage.pool),
    )


def dataset(stage: Stage, params: Params, name: str) -> dg.AssetsDefinition:
    spec = params.datasets[name]

    def body(step: Step) -> dg.MaterializeResult:
        from robot_assets.data.dataset import build_dataset

        summary = build_dataset(step.input(raw_name(name)), spec, step.output)
        return step.materialized(*metadata.dataset(summary, step.output))

    return _asset(
        stage,
        body,
        "Validated, split by recording session, packed for memory-mapped reading.",
        {"dvc"},
        placed(params, stage.pool),
    )


def checkpoint(graph: Mapping[str, Stage], params: Params, name: str) -> dg.AssetsDefinition:
    model = params.models[name]
    data = dataset_name(model.dataset)

    def body(step: Step) -> dg.MaterializeResult:
        from robot_assets.training.loop import train

        dataset = step.input(data)
        summary = train(dataset, model.network, model.training, step.output, step.scratch)
        return step.materialized(*metadata.checkpoint(summary, step.output, dataset))

    stage = graph[model_asset(name, "checkpoint")]
    return _asset(
        stage,
        body,
        "The best FP32 weights by validation mAP@50, as safetensors.",
        {"pytorch"},
        placed(params, stage.pool),
    )


def ptq(graph: Mapping[str, Stage], params: Params, name: str) -> dg.AssetsDefinition:
    model = params.models[name]

    def body(step: Step) -> dg.MaterializeResult:
        from robot_assets.quantization.ptq import ptq

        trained, dataset = (
            step.input(model_asset(name, "checkpoint")),
            step.input(dataset_name(model.dataset)),
        )
        summary = ptq(trained, dataset, model.quantization.ptq, step.output)
        return step.materialized(*metadata.ptq(summary))

    stage = graph[model_asset(name, "ptq")]
    return _asset(
        stage,
        body,
        "Post-training quantization: the calibrators compete on the validation split.",
        {"pytorch"},
        placed(params, stage.pool),
    )


def qat(graph: Mapping[str, Stage], params: Params, name: str) -> dg.AssetsDefinition:
    model = params.models[name]

    def body(step: Step) -> dg.MaterializeResult:
        from robot_assets.quantization.qat import qat

        trained, dataset = (
            step.input(model_asset(name, "checkpoint")),
            step.input(dataset_name(model.dataset)),
        )
        summary = qat(trained, dataset, model.quantization.qat, model.training, step.output, step.scratch)
        return step.materialized(*metadata.qat(summary))

    stage = graph[model_asset(name, "qat")]
    return _asset(
        stage,
        body,
        "Quantization-aware training, beside an FP32 control with the same extra training.",
        {"pytorch"},
        placed(params, stage.pool),
    )


def onnx(graph: Mapping[str, Stage], params: Params, name: str) -> dg.AssetsDefinition:
    model = params.models[name]

    def body(step: Step) -> dg.MaterializeResult:
        from robot_assets.export.onnx_export import export_onnx

        trained, post, aware = (step.input(model_asset(name, part)) for part in ("checkpoint", "ptq", "qat"))
        summary = export_onnx(trained, post, aware, step.input(dataset_name(model.dataset)), step.output)
        return step.materialized(*metadata.onnx(summary))

    stage = graph[model_asset(name, "onnx")]
    return _asset(
        stage,
        body,
        "The better of PTQ and QAT as one ONNX file with Q/DQ nodes (opset 17, IR 8).",
        {"onnx"},
        placed(params, stage.pool),
    )


def sensitivity(graph: Mapping[str, Stage], params: Params, name: str) -> dg.AssetsDefinition:
    model, spec = params.models[name], sensitivity_of(params, name)

    def body(step: Step) -> dg.MaterializeResult:
        from robot_assets.sensitivity.analysis import find_sensitive_layers

        exported, post, aware = (step.input(model_asset(name, part)) for part in ("onnx", "ptq", "qat"))
        found = find_sensitive_layers(exported, post, aware, step.input(dataset_name(model.dataset)), spec, step.output)
        return step.materialized(*metadata.sensitivity(found, step.output, exported))

    stage = graph[model_asset(name, "sensitivity")]
    return _asset(
        stage,
        body,
        "What each layer loses when it alone is quantized, and the ONNX with the few in float that hold the gate.",
        {"onnx"},
        placed(params, stage.pool),
    )


def engine(graph: Mapping[str, Stage], params: Params, name: str, target: str) -> dg.AssetsDefinition:
    spec, source = params.targets[target], engine_source(name, params.models[name])

    def body(step: Step) -> dg.MaterializeResult:
        step.input(platform_name(target))
        step.refuse_other_platform(target)
        exported = step.input(source)
        summary = _build_engine(exported, spec, step)
        return step.signed(*metadata.engine(summary, step.output, exported, step.scratch))

    stage = graph[engine_name(name, target)]
    return _asset(
        stage, body, f"The int8 engine for {target}, checked on {target}.", {"onnx"}, placed(params, stage.pool)
    )


def profile(graph: Mapping[str, Stage], params: Params, target: str) -> dg.AssetsDefinition:
    spec = profile_of(params, target)

    def body(step: Step) -> dg.MaterializeResult:
        from robot_assets.profiling.profile import profile_engines

        step.input(platform_name(target))
        step.refuse_other_platform(target)
        engines = {model: step.input(engine_name(model, target)) for model in spec.models}
        found = profile_engines(target, spec, engines, step.output)
        return step.materialized(*metadata.profile(found, spec))

    stage = graph[profile_name(target)]
    return _asset(
        stage,
        body,
        f"All engines of a robot together on {target}, at the rates of their sensors: a measurement.",
        {"onnx"},
        placed(params, stage.pool),
    )


def _build_engine(exported: Path, spec: TargetEntry, step: Step) -> Any:
    """Build with the module that lineage names for the kind of target."""
    if spec.kind == "tensorrt":
        from robot_assets.engines.tensorrt.build import build_engine as build_with_tensorrt
        from robot_assets.engines.tensorrt.timing_cache_store import StoredTimingCaches

        summary = build_with_tensorrt(exported, spec, step.output, StoredTimingCaches(step.project.store))
        step.context.log.info(f"TensorRT said:\n{summary.log}")
        return summary
    from robot_assets.engines.onnxruntime_engine import build_engine

    return build_engine(exported, spec, step.output)


def _asset(
    stage: Stage, body: Body, description: str, kinds: set[str], place: Mapping[str, Any]
) -> dg.AssetsDefinition:
    if stage.module is None:
        raise ValueError(f"{stage.asset} is observed, not produced")
    builds = dg.AssetCheckSpec(
        BUILDS_CHECK,
        asset=asset_key(stage.asset),
        description="It builds from its present code and inputs. Fails when the rebuild sensor has given up.",
    )

    @dg.asset(
        key=asset_key(stage.asset),
        deps=[asset_key(name) for name in stage.inputs],
        group_name=group_name(stage.asset),
        code_version=running_code().version(stage.module, stage.params),
        check_specs=[builds],
        description=description,
        kinds=kinds,
        **place,
    )
    def produced(context: dg.AssetExecutionContext, workshop: Workshop) -> dg.MaterializeResult:
        with workshop.step(context, stage) as step:
            return body(step)

    return produced
