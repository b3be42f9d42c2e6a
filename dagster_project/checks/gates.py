"""Blocking checks: one for each gate of the graph. What depends on an asset waits until its gates have passed.

On a cluster a gate runs where its asset is made: an engine is judged on its device.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from dagster_project import metadata
from dagster_project.attesting import attest_gate
from dagster_project.history import READ_KEY
from dagster_project.instance_reader import STATE_KEY
from dagster_project.names import asset_key
from dagster_project.placement import placed
from dagster_project.resources.workshop import Workshop, failing_readably
from robot_assets.lineage.chain import GateRecord
from robot_assets.lineage.code_version import load, running_code
from robot_assets.lineage.graph import Gate, Kind, Stage, dataset_name
from robot_assets.lineage.staleness import Built, gate_state
from robot_assets.params import Params, profile_of
from robot_assets.store.holding import letting_go
from robot_assets.verdict import Verdict

_DESCRIPTIONS = {
    "no_leakage": "No recording session and no near-duplicate image is in two splits.",
    "classes_in_every_split": "Every class is in every split, unless params.yaml exempts it by name.",
    "boxes_sane": "Every box is finite, inside its image, and there once.",
    "parity": "The ONNX graph answers as the quantized PyTorch model does.",
    "accuracy": "The engine loses no more mAP@50 against its checkpoint than the target allows.",
    "latency": "The engine keeps the latency budget of its target.",
    "fits": "Together, the engines miss no more deadlines and take no more memory than the target allows.",
}


def gate_checks(params: Params, graph: Mapping[str, Stage]) -> list[dg.AssetChecksDefinition]:
    return [_check(params, stage, gate) for stage in graph.values() for gate in stage.gates]


def _check(params: Params, stage: Stage, gate: Gate) -> dg.AssetChecksDefinition:
    read = (stage.asset, *gate.inputs)
    # Asked now, so that `load` can tell whether a file was edited between here and the run.
    running_code().version(gate.module, gate.params)

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
            load(gate.module)
            versions = {name: workshop.version(context.instance, name) for name in read}
            opened = {name: workshop.open(name, version) for name, version in versions.items()}
            verdict = _judge(params, stage, gate, opened)
            if stage.kind is Kind.ENGINE:
                record = _record(context, gate, verdict)
                attest_gate(workshop.project, stage.asset, versions[stage.asset], record)
        built = {name: Built(version) for name, version in versions.items()}
        about = {
            STATE_KEY: gate_state(stage.asset, gate, built, running_code()),
            READ_KEY: dg.MetadataValue.json(versions),
        }
        return dg.AssetCheckResult(
            passed=verdict.passed,
            description=verdict.summary if verdict.passed else f"{verdict.summary}\n\nfix: {verdict.fix}",
            metadata={**metadata.verdict(verdict), **about},
        )

    return check


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
    """Call the domain's gate of that name."""
    artifact = opened[stage.asset]
    room, _, rest = stage.asset.partition("/")
    if stage.kind is Kind.PROFILE:
        from robot_assets.profiling.fit import check_fit

        return check_fit(artifact, profile_of(params, rest).fit)
    if room == "datasets":
        from robot_assets.data import checks

        spec = params.datasets[rest]
        judge = {
            "no_leakage": checks.check_leakage,
            "classes_in_every_split": checks.check_classes,
            "boxes_sane": checks.check_boxes,
        }[gate.name]
        return judge(artifact, spec)
    model = params.models[room]
    if gate.name == "parity":
        from robot_assets.export.parity import check_parity

        return check_parity(artifact, opened[dataset_name(model.dataset)])
    from robot_assets.engines import gate as engine_gate

    budget = params.targets[rest.removeprefix("engine/")].gate
    if gate.name == "latency":
        return engine_gate.check_latency(artifact, budget)
    return engine_gate.check_accuracy(
        artifact, opened[f"{room}/checkpoint"], opened[dataset_name(model.dataset)], budget
    )
