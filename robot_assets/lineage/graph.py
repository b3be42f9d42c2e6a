"""The graph that ``params.yaml`` describes: every stage with its code, its parameters, its inputs, its gates.

Pure data. Dagster's asset definitions and the staleness rules are both made from it, so that they cannot
disagree about what depends on what.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from robot_assets.cluster.spec import GENERAL, TRAINING
from robot_assets.engines.budgets import BUDGETS
from robot_assets.pipeline.params import ModelSpec, Params, sensitivity_of
from robot_assets.profiling.spec import ROOM as PROFILE_ROOM


class Kind(StrEnum):
    """What sort of asset a stage makes. Rebuild policies are given by kind."""

    RAW = "raw"
    DATASET = "dataset"
    PLATFORM = "platform"
    CHECKPOINT = "checkpoint"
    PTQ = "ptq"
    QAT = "qat"
    ONNX = "onnx"
    SENSITIVITY = "sensitivity"
    ENGINE = "engine"
    PROFILE = "profile"


ENGINE_BUILDERS: Mapping[str, str] = {
    "onnxruntime": "robot_assets.engines.onnxruntime_engine",
    "tensorrt": "robot_assets.engines.tensorrt.build",
}
"""Kind of a target -> the module that builds its engines."""


@dataclass(frozen=True)
class Gate:
    """A blocking check on an asset: what depends on the asset waits until it passes.

    ``module`` and ``params`` give the gate a code version of its own: a changed budget asks for the gate again
    without asking for the asset again.
    """

    name: str
    module: str
    params: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stage:
    """One asset.

    Attributes:
        asset: Name, such as ``robocup_detector/engine/cpu``.
        kind: What sort of asset it is.
        module: The domain module that makes it; None for an observed asset, which is made elsewhere.
        params: The slice of parameters that the module reads.
        inputs: Names of the assets that it reads.
        gates: Its blocking checks.
        pool: The node pool that it and its gates run on: ``training``, the target of an engine
            or a profile, else ``general``.
    """

    asset: str
    kind: Kind
    module: str | None
    params: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    gates: tuple[Gate, ...] = ()
    pool: str = GENERAL

    @property
    def is_observed(self) -> bool:
        """Whether its version is read off the world instead of being produced here."""
        return self.module is None


def raw_name(dataset: str) -> str:
    """Asset of the images and labels as they were recorded."""
    return f"raw/{dataset}"


def dataset_name(dataset: str) -> str:
    """Asset of the validated, split and packed data set."""
    return f"datasets/{dataset}"


def platform_name(target: str) -> str:
    """Observed asset of the device that a target names."""
    return f"platform/{target}"


def model_asset(model: str, stage: str) -> str:
    """Asset of one stage of a model: checkpoint, ptq, qat, onnx, sensitivity."""
    return f"{model}/{stage}"


def engine_source(name: str, model: ModelSpec) -> str:
    """Asset with the ONNX that a model's engines are built from: all quantized, or with a few layers in float."""
    return model_asset(name, "sensitivity" if model.quantization.mixed_precision else "onnx")


def engine_name(model: str, target: str) -> str:
    """Asset of one model's engine for one target."""
    return f"{model}/engine/{target}"


def profile_name(target: str) -> str:
    """Asset of the measurement of all engines that a robot runs together on a target."""
    return f"{PROFILE_ROOM}/{target}"


def build_graph(params: Params) -> dict[str, Stage]:
    """All stages by asset name, inputs before what reads them."""
    stages = [*_data_stages(params), *_platform_stages(params)]
    for name, model in params.models.items():
        stages += _model_stages(name, model, params)
    stages += _profile_stages(params)
    return {stage.asset: stage for stage in stages}


def with_ancestors(graph: dict[str, Stage], names: Iterable[str]) -> tuple[str, ...]:
    """``names`` and everything that they are made of, in graph order."""
    wanted = set(names)
    for stage in reversed(graph.values()):
        if stage.asset in wanted:
            wanted.update(stage.inputs)
    return tuple(name for name in graph if name in wanted)


def _data_stages(params: Params) -> Iterator[Stage]:
    for name, spec in params.datasets.items():
        if spec.source.kind == "simulation":
            source = {"source": spec.source.model_dump(mode="json")}
            yield Stage(raw_name(name), Kind.RAW, "robot_assets.data.simulate", source)
        else:
            yield Stage(raw_name(name), Kind.RAW, None)
        rest = spec.model_dump(mode="json", exclude={"source"})
        gates = tuple(
            Gate(gate, "robot_assets.data.checks", rest)
            for gate in ("no_leakage", "classes_in_every_split", "boxes_sane")
        )
        yield Stage(dataset_name(name), Kind.DATASET, "robot_assets.data.dataset", rest, (raw_name(name),), gates)


def _platform_stages(params: Params) -> Iterator[Stage]:
    for target in params.targets:
        yield Stage(platform_name(target), Kind.PLATFORM, None, pool=target)


def _model_stages(name: str, model: ModelSpec, params: Params) -> Iterator[Stage]:
    data = dataset_name(model.dataset)
    checkpoint, ptq, qat, onnx = (model_asset(name, stage) for stage in ("checkpoint", "ptq", "qat", "onnx"))
    dump = model.model_dump(mode="json")
    quantization = dump["quantization"]

    yield Stage(
        checkpoint,
        Kind.CHECKPOINT,
        "robot_assets.training.loop",
        {"network": dump["network"], "training": dump["training"]},
        (data,),
        pool=TRAINING,
    )
    yield Stage(
        ptq,
        Kind.PTQ,
        "robot_assets.quantization.ptq",
        {"ptq": quantization["ptq"]},
        (checkpoint, data),
        pool=TRAINING,
    )
    yield Stage(
        qat,
        Kind.QAT,
        "robot_assets.quantization.qat",
        {"qat": quantization["qat"], "training": dump["training"]},
        (checkpoint, data),
        pool=TRAINING,
    )
    parity = Gate("parity", "robot_assets.export.parity", inputs=(data,))
    yield Stage(onnx, Kind.ONNX, "robot_assets.export.onnx_export", {}, (checkpoint, ptq, qat, data), (parity,))
    sensitivity = sensitivity_of(params, name)
    if sensitivity is not None:
        yield Stage(
            model_asset(name, "sensitivity"),
            Kind.SENSITIVITY,
            "robot_assets.sensitivity.analysis",
            {"sensitivity": sensitivity.model_dump(mode="json")},
            (onnx, ptq, qat, data),
        )
    source = engine_source(name, model)
    for target in model.targets:
        entry = params.targets[target]
        spec = entry.model_dump(mode="json", exclude={"platform", "profile", "gate"})
        read = {"accuracy": (checkpoint, data), "parity": (source, data)}
        gates = tuple(
            Gate(gate, "robot_assets.engines.gate", entry.gate.of(gate), read.get(gate, (data,))) for gate in BUDGETS
        )
        yield Stage(
            engine_name(name, target),
            Kind.ENGINE,
            ENGINE_BUILDERS[entry.kind],
            {"target": spec},
            (source, platform_name(target)),
            gates,
            pool=target,
        )


def _profile_stages(params: Params) -> Iterator[Stage]:
    """A measurement: it is never twice the same, so nothing is made of it."""
    for target, entry in params.targets.items():
        if entry.profile is None:
            continue
        measured = entry.profile.model_dump(mode="json")
        budget = measured.pop("fit")
        engines = tuple(engine_name(model, target) for model in entry.profile.models)
        yield Stage(
            profile_name(target),
            Kind.PROFILE,
            "robot_assets.profiling.profile",
            {"profile": measured},
            (*engines, platform_name(target)),
            (Gate("fits", "robot_assets.profiling.fit", budget),),
            pool=target,
        )
