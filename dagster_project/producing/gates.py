"""Blocking checks: one for each gate of the graph. What depends on an asset waits until its gates have passed.

On a cluster a gate runs where its asset is made: an engine is judged on its device. All gates of an engine are one
step, since one trial answers them all; each is a check of its own, and any of them can be asked for again alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from dagster_project.instance.history import READ_KEY
from dagster_project.instance.reader import STATE_KEY
from dagster_project.instance.signing import attest_gate
from dagster_project.keys import asset_key
from dagster_project.producing import pages as metadata
from dagster_project.producing.stage_runner import Workshop, failing_readably
from robot_assets.core.verdict import Verdict
from robot_assets.lineage.chain import GateRecord
from robot_assets.lineage.code_version import load, running_code
from robot_assets.lineage.graph import Gate, Kind, Stage, dataset_name, engine_source, model_asset
from robot_assets.lineage.staleness import Built, gate_state
from robot_assets.pipeline.params import Params, profile_of
from robot_assets.pipeline.placement import placed
from robot_assets.store.pins import letting_go

_DESCRIPTIONS = {
    "no_leakage": "No recording session and no near-duplicate image is in two splits.",
    "classes_in_every_split": "Every class is in every split, unless params.yaml exempts it by name.",
    "boxes_sane": "Every box is finite, inside its image, and there once.",
    "parity": "The ONNX graph answers as the quantized PyTorch model does.",
    "fits": "Together, the engines miss no more deadlines and take no more memory than the target allows.",
}
_ENGINE_DESCRIPTIONS = {
    "accuracy": "The engine loses no more mAP@50 against its checkpoint than the target allows.",
    "parity": "The engine answers as the ONNX graph does that it was built from.",
    "latency": "The engine keeps the latency and throughput budgets of its target.",
    "resources": "The engine keeps the target's budgets of load time, memory, size, power and temperature.",
}


def gate_checks(params: Params, graph: Mapping[str, Stage]) -> list[dg.AssetChecksDefinition]:
    checks: list[dg.AssetChecksDefinition] = []
    for stage in graph.values():
        if stage.kind is Kind.ENGINE:
            checks.append(_engine_checks(params, stage))
        else:
            checks += [_check(params, stage, gate) for gate in stage.gates]
    return checks


def _check(params: Params, stage: Stage, gate: Gate) -> dg.AssetChecksDefinition:
    _note_code(gate)

    @dg.asset_check(
        asset=asset_key(stage.asset),
        name=gate.name,
        blocking=True,
        additional_deps=[asset_key(name) for name in gate.inputs],
        description=_DESCRIPTIONS[gate.name],
        **placed(params, stage.pool),
    )
    def check(context: dg.AssetCheckExecutionContext, workshop: Workshop) -> dg.AssetCheckResult:
        with failing_readably(), letting_go():
            materials = _open(context, workshop, stage, [gate])
            verdict = _judge(params, stage, gate, materials.opened)
        return _result(stage, gate, verdict, materials)

    return check


def _engine_checks(params: Params, stage: Stage) -> dg.AssetChecksDefinition:
    key = asset_key(stage.asset)
    gates = {gate.name: gate for gate in stage.gates}
    for gate in stage.gates:
        _note_code(gate)

    @dg.multi_asset_check(
        name=f"{key.to_python_identifier()}_gates",
        specs=[
            dg.AssetCheckSpec(
                gate.name,
                asset=key,
                blocking=True,
                additional_deps=[asset_key(name) for name in gate.inputs],
                description=_ENGINE_DESCRIPTIONS[gate.name],
            )
            for gate in stage.gates
        ],
        can_subset=True,
        **placed(params, stage.pool),
    )
    def checks(context: dg.AssetCheckExecutionContext, workshop: Workshop) -> Iterator[dg.AssetCheckResult]:
        asked = {check.name for check in context.selected_asset_check_keys}
        wanted = [gate for name, gate in gates.items() if name in asked]
        with failing_readably(), letting_go():
            materials = _open(context, workshop, stage, wanted)
            verdicts = _judge_engine(params, stage, wanted, materials.opened)
            for gate in wanted:
                record = _record(context, gate, verdicts[gate.name])
                attest_gate(workshop.project, stage.asset, materials.versions[stage.asset], record)
        for gate in wanted:
            yield _result(stage, gate, verdicts[gate.name], materials)

    return checks


def _note_code(gate: Gate) -> None:
    """Ask for the version now, so that `load` can tell whether a file was edited between here and the run."""
    running_code().version(gate.module, gate.params)


@dataclass(frozen=True)
class _Materials:
    """What a step of gates reads: versions by asset, and where each is open."""

    versions: Mapping[str, str]
    opened: Mapping[str, Path]


def _open(
    context: dg.AssetCheckExecutionContext, workshop: Workshop, stage: Stage, gates: Sequence[Gate]
) -> _Materials:
    read = dict.fromkeys([stage.asset, *(name for gate in gates for name in gate.inputs)])
    for gate in gates:
        load(gate.module)
    versions = {name: workshop.version(context.instance, name) for name in read}
    return _Materials(versions, {name: workshop.open(name, version) for name, version in versions.items()})


def _result(stage: Stage, gate: Gate, verdict: Verdict, materials: _Materials) -> dg.AssetCheckResult:
    versions = {name: materials.versions[name] for name in (stage.asset, *gate.inputs)}
    built = {name: Built(version) for name, version in versions.items()}
    about = {
        STATE_KEY: gate_state(stage.asset, gate, built, running_code()),
        READ_KEY: dg.MetadataValue.json(versions),
    }
    return dg.AssetCheckResult(
        check_name=gate.name,
        passed=verdict.passed,
        description=verdict.summary if verdict.passed else f"{verdict.summary}\n\nfix: {verdict.fix}",
        metadata={**metadata.verdict(verdict), **about},
    )


def _record(context: dg.AssetCheckExecutionContext, gate: Gate, verdict: Verdict) -> GateRecord:
    return GateRecord(
        name=gate.name,
        passed=verdict.passed,
        summary=verdict.summary,
        facts=verdict.facts,
        run_id=context.run.run_id,
        evaluated_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _judge(params: Params, stage: Stage, gate: Gate, opened: Mapping[str, Path]) -> Verdict:
    """Call the domain's gate of that name, of a data set, an ONNX or a profile."""
    artifact = opened[stage.asset]
    room, _, rest = stage.asset.partition("/")
    if stage.kind is Kind.PROFILE:
        from robot_assets.profiling.fit import check_fit

        return check_fit(artifact, profile_of(params, rest).fit)
    if stage.kind is Kind.ONNX:
        from robot_assets.export.parity import check_parity

        return check_parity(artifact, opened[dataset_name(params.models[room].dataset)])
    from robot_assets.data import checks

    judge = {
        "no_leakage": checks.check_leakage,
        "classes_in_every_split": checks.check_classes,
        "boxes_sane": checks.check_boxes,
    }[gate.name]
    return judge(artifact, params.datasets[rest])


def _judge_engine(
    params: Params, stage: Stage, gates: Sequence[Gate], opened: Mapping[str, Path]
) -> dict[str, Verdict]:
    from robot_assets.engines.gate import check_engine

    model, _, target = stage.asset.split("/")
    return check_engine(
        opened[stage.asset],
        params.targets[target].gate,
        [gate.name for gate in gates],
        dataset=opened[dataset_name(params.models[model].dataset)],
        checkpoint=opened.get(model_asset(model, "checkpoint")),
        onnx=opened.get(engine_source(model, params.models[model])),
    )
