"""Signs the artifact of a step before its materialization is in the event log.

The artifact is signed on the device that built it: the chain below it comes from the history, and its own record from
the step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import dagster as dg

from dagster_project.instance.history import InstanceHistory
from robot_assets.lineage.audit import Materialization, audit
from robot_assets.lineage.chain import Chain, GateRecord, Link
from robot_assets.lineage.graph import Stage
from robot_assets.lineage.record import Record
from robot_assets.pipeline.graph import build_graph, traits
from robot_assets.pipeline.project import Project
from robot_assets.provenance.signing import sign_engine, sign_gates

_UNRECORDED = -1


@dataclass(frozen=True)
class _WithRecord(InstanceHistory):
    """The history, and one materialization that is not in it yet."""

    made: Record

    def materializations(self, asset: str, version: str) -> Sequence[Materialization]:
        if (asset, version) == (self.made.asset, self.made.data_version):
            return [Materialization(_UNRECORDED, datetime.now(UTC))]
        return super().materializations(asset, version)

    def record(self, asset: str, number: int) -> Record:
        return self.made if number == _UNRECORDED else super().record(asset, number)


def chain_below(project: Project, instance: dg.DagsterInstance, asset: str, version: str) -> Chain:
    """The chain of a version of an asset, without its own gates, which may be running right now."""
    return _chain(project, InstanceHistory(instance), asset, version)


def attest_artifact(project: Project, instance: dg.DagsterInstance, record: Record) -> Chain:
    """Sign the provenance of the artifact that ``record`` describes, and return its chain."""
    chain = _chain(project, _WithRecord(instance, record), record.asset, record.data_version)
    sign_engine(project.store, project.key, chain)
    return chain


def attest_gate(project: Project, stage: Stage, version: str, gate: GateRecord) -> None:
    """Sign the result of a gate on ``version`` of an artifact."""
    expected = tuple(one.name for one in stage.gates)
    link = Link(asset=stage.asset, version=version, gates=(gate,), expected_gates=expected)
    sign_gates(project.store, project.key, Chain(links=(link,)))


def _chain(project: Project, history: InstanceHistory, asset: str, version: str) -> Chain:
    graph = build_graph(project.params)
    graph[asset] = replace(graph[asset], gates=())
    return audit(asset, version, graph, history, project.store, traits)
