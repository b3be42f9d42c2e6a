"""``<model>/engine/<target>``: the int8 engine for one target, built and judged on the device itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from robot_assets.core.page import Facts, Page
from robot_assets.core.text import listed
from robot_assets.core.verdict import Verdict
from robot_assets.engines.budgets import BUDGETS, GateSpec, of_foreign_graph
from robot_assets.engines.registry import engine_kind
from robot_assets.lineage.graph import AssetTraits, Gate, Stage
from robot_assets.pipeline import names
from robot_assets.pipeline.kind import Production, StageKind, entry
from robot_assets.pipeline.kinds.platform import require_this_device
from robot_assets.tasks.registry import task_of

if TYPE_CHECKING:
    from robot_assets.pipeline.kind import GateStep, Step
    from robot_assets.pipeline.models import ModelSpec
    from robot_assets.pipeline.params import Params
    from robot_assets.pipeline.targets import TargetEntry

_NO_HOLES = "no_holes"
_GATES = {
    "accuracy": "The engine loses no more {metric} against its network in float than the target allows.",
    "parity": "The engine answers as the ONNX graph does that it was built from.",
    "latency": "The engine keeps the latency and throughput budgets of its target.",
    "resources": "The engine keeps the target's budgets of load time, memory, size, power and temperature.",
}


def stages(params: Params) -> Iterator[Stage]:
    """One for each model and target."""
    targets = {name: _Target.of(entry) for name, entry in params.targets.items()}
    for name, model in params.models.items():
        source = source_of(name, model)
        for target in model.targets:
            yield _stage(name, model, target, targets[target], source)


def source_of(name: str, model: ModelSpec) -> str:
    """Asset with the ONNX that a model's engines are built from: all quantized, or with a few layers in float."""
    return names.sensitivity(name) if model.quantization.mixed_precision else names.onnx(name)


@dataclass(frozen=True)
class _Target:
    """What the engines of a target have in common: read once, since a fleet has thousands of them."""

    entry: TargetEntry
    entry_for_foreign_graphs: TargetEntry
    build_code: tuple[str, ...]
    judge_code: tuple[str, ...]
    read: Mapping[str, Any]

    @classmethod
    def of(cls, given: TargetEntry) -> _Target:
        kind = engine_kind(given.kind)
        return cls(
            given,
            given.model_copy(update={"gate": of_foreign_graph(given.gate)}),
            (entry(run), *kind.build_code),
            (entry(judge), *kind.run_code),
            {"target": kind.slice(given)},
        )


def _stage(name: str, model: ModelSpec, target: str, common: _Target, source: str) -> Stage:
    spec = common.entry_for_foreign_graphs if model.is_imported else common.entry
    decoder = task_of(model.task).decoder(model.decoder)
    return Stage(
        names.engine(name, target),
        KIND.name,
        (*common.build_code, *decoder.code),
        common.read,
        (source, names.platform(target)),
        _gates(name, model, source, spec.gate, common.judge_code),
        pool=target,
        fleet=source,
        spec=spec,
    )


def _gates(name: str, model: ModelSpec, source: str, gate: GateSpec, code: tuple[str, ...]) -> tuple[Gate, ...]:
    task, dataset = task_of(model.task), names.dataset(model.dataset)
    baseline = names.onnx(name) if model.is_imported else names.checkpoint(name)
    read = {"accuracy": (baseline, dataset), "parity": (source, dataset)}
    codes = {"accuracy": (*code, *task.scoring_code(model.decoder))}
    measured = (
        Gate(
            one,
            _GATES[one].format(metric=task.metric.name),
            codes.get(one, code),
            gate.of(one),
            read.get(one, (dataset,)),
        )
        for one in BUDGETS
    )
    return (*measured, _no_holes(name, model)) if gate.no_holes else tuple(measured)


def _no_holes(name: str, model: ModelSpec) -> Gate:
    """The gate of targets that take nothing that was trained elsewhere; params.yaml alone decides it."""
    holes = [names.source(name)] if model.is_imported else []
    if model.weights is not None:
        holes.append(names.weights(model.weights))
    return Gate(_NO_HOLES, "No part of the engine was trained elsewhere.", (entry(_judge_holes),), {"holes": holes})


def run(step: Step) -> Any:
    """Build the engine with the runtime of its target."""
    from robot_assets.engines.kind import BuildContext

    target, (onnx, _) = step.name.target, step.inputs.values()
    require_this_device(target, step.spec.platform, step.versions[names.platform(target)])
    kind = engine_kind(step.spec.kind)
    return kind.build(onnx, step.spec, step.output, BuildContext(step.store, step.note))


def judge(step: GateStep) -> Mapping[str, Verdict]:
    """All gates that measure something by one evaluation on the test split, and that on the lineage."""
    measured = [gate.name for gate in step.gates if gate.name != _NO_HOLES]
    verdicts = _measure(step, measured) if measured else {}
    return {**verdicts, **{gate.name: _judge_holes(gate) for gate in step.gates if gate.name == _NO_HOLES}}


def _judge_holes(gate: Gate) -> Verdict:
    """Judge the holes that params.yaml gives the lineage of an engine."""
    holes = gate.params["holes"]
    if not holes:
        return Verdict(True, "every part of the engine was made here", "", {"holes": holes})
    return Verdict(
        False,
        f"trained elsewhere: {listed(holes)}",
        "train the network here from random weights, or remove gate.no_holes of the target in params.yaml",
        {"holes": holes},
    )


def _measure(step: GateStep, gates: list[str]) -> Mapping[str, Verdict]:
    from robot_assets.engines.gate import check_engine

    read = {role: step.inputs.get(name) for role, name in _read_by_role(step).items()}
    dataset = read["dataset"]
    if dataset is None:
        raise ValueError(f"{step.name}: needed the data set among the inputs of its gates")
    return check_engine(
        step.artifact,
        step.stage.spec.gate,
        gates,
        dataset=dataset,
        baseline=read["baseline"],
        onnx=read["onnx"],
    )


def _read_by_role(step: GateStep) -> dict[str, str]:
    """What the gates of an engine read, by what it is to them."""
    read = {gate.name: gate.inputs for gate in step.stage.gates}
    baseline, dataset = read["accuracy"]
    return {"baseline": baseline, "dataset": dataset, "onnx": read["parity"][0]}


def facts(summary: Any) -> Facts:
    """What the manifest says."""
    return engine_kind(summary.manifest.kind).facts(summary)


def page(step: Step, summary: Any) -> Page:
    """Latency on this device, and what really runs in the engine."""
    onnx, _ = step.inputs.values()
    return engine_kind(summary.manifest.kind).page(summary, step.output, onnx, step.scratch)


KIND = StageKind(
    name="engine",
    pattern=names.ENGINE,
    group="{model}",
    traits=AssetTraits(role="Engine", files=("engine.*",)),
    stages=stages,
    production=Production(
        description="The int8 engine for {target}, checked on {target}.",
        policy="auto",
        tools=("onnx",),
        run=run,
        facts=facts,
        page=page,
        judge=judge,
        is_signed=True,
    ),
)
