"""Blocking checks: one for each gate of the graph. Assets that depend on an asset wait until its gates have passed.

On a cluster a gate runs where its asset is built: an engine is evaluated on its device. All gates of an asset are one
step, since one measurement often serves several; each is a check of its own and can be run alone.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from dagster_project.instance.history import READ_KEY
from dagster_project.instance.reader import STATE_KEY
from dagster_project.instance.signing import attest_gate
from dagster_project.keys import asset_key
from dagster_project.producing.pages import verdict_metadata
from dagster_project.producing.stage_runner import StageRunner, failing_readably
from robot_assets.core.verdict import Verdict
from robot_assets.lineage.chain import GateRecord
from robot_assets.lineage.code import load, running_code
from robot_assets.lineage.graph import Gate, Stage
from robot_assets.lineage.staleness import Built, gate_state
from robot_assets.pipeline.kind import GateStep, Production
from robot_assets.pipeline.names import AssetName
from robot_assets.pipeline.params import Params
from robot_assets.pipeline.placement import placed
from robot_assets.pipeline.project import Project
from robot_assets.pipeline.registry import with_kinds
from robot_assets.store.pins import released


def gate_checks(params: Params, graph: Mapping[str, Stage]) -> list[dg.AssetChecksDefinition]:
    """One step of checks for each asset that has gates."""
    return [
        _checks(params, stage, name, kind.production)
        for stage, kind, name in with_kinds(graph)
        if stage.gates and kind.production
    ]


def _checks(params: Params, stage: Stage, name: AssetName, production: Production) -> dg.AssetChecksDefinition:
    key = asset_key(stage.asset)
    for gate in stage.gates:
        # computed now, so that `load` detects a file that is edited between here and the run
        running_code().version(gate.code, gate.params)

    @dg.multi_asset_check(
        name=f"{key.to_python_identifier()}_gates",
        specs=[
            dg.AssetCheckSpec(
                gate.name,
                asset=key,
                blocking=True,
                additional_deps=[asset_key(one) for one in gate.inputs],
                description=gate.description,
            )
            for gate in stage.gates
        ],
        can_subset=True,
        **placed(params, stage.pool),
    )
    def checks(context: dg.AssetCheckExecutionContext, stage_runner: StageRunner) -> Iterator[dg.AssetCheckResult]:
        selected = {check.name for check in context.selected_asset_check_keys}
        gates = tuple(gate for gate in stage.gates if gate.name in selected)
        with failing_readably(), released():
            read = _Read.of(context, stage_runner, stage, gates)
            verdicts = _judged(production, read.step(stage, name, gates))
            if production.is_signed:
                for gate in gates:
                    record = _record(context, gate, verdicts[gate.name])
                    attest_gate(stage_runner.project, stage, read.versions[stage.asset], record)
        for gate in gates:
            yield _result(stage, gate, verdicts[gate.name], read)

    return checks


def _judged(production: Production, step: GateStep) -> Mapping[str, Verdict]:
    if production.judge is None:
        raise ValueError(f"{step.name} has gates, and its kind has no judge")
    return production.judge(step)


@dataclass(frozen=True)
class _Read:
    """The assets that a step of gates reads: their versions, and their paths in the store."""

    versions: Mapping[str, str]
    opened: Mapping[str, Path]
    project: Project

    @classmethod
    def of(
        cls, context: dg.AssetCheckExecutionContext, runner: StageRunner, stage: Stage, gates: tuple[Gate, ...]
    ) -> "_Read":
        for gate in gates:
            load(gate.code)
        names = dict.fromkeys([stage.asset, *(name for gate in gates for name in gate.inputs)])
        versions = {name: runner.version(context.instance, name) for name in names}
        opened = {name: runner.open(name, version) for name, version in versions.items()}
        return cls(versions, opened, runner.project)

    def step(self, stage: Stage, name: AssetName, gates: tuple[Gate, ...]) -> GateStep:
        inputs = {one: path for one, path in self.opened.items() if one != stage.asset}
        return GateStep(stage, name, gates, self.opened[stage.asset], inputs, self.project)


def _result(stage: Stage, gate: Gate, verdict: Verdict, read: _Read) -> dg.AssetCheckResult:
    versions = {name: read.versions[name] for name in (stage.asset, *gate.inputs)}
    built = {name: Built(version) for name, version in versions.items()}
    about = {
        STATE_KEY: gate_state(stage.asset, gate, built, running_code()),
        READ_KEY: dg.MetadataValue.json(versions),
    }
    return dg.AssetCheckResult(
        check_name=gate.name,
        passed=verdict.passed,
        description=verdict.summary if verdict.passed else f"{verdict.summary}\n\nfix: {verdict.fix}",
        metadata={**verdict_metadata(verdict), **about},
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
