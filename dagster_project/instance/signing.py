"""Signing what a step has just made, while Dagster has not written it down yet.

A materialization enters the event log when its step has returned; the engine is signed before, on the device that
built it. So the history is asked for everything below the engine, and the record in hand stands for the engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import dagster as dg

from dagster_project.instance.history import InstanceHistory
from robot_assets.lineage.audit import Materialization, audit
from robot_assets.lineage.chain import Chain, GateRecord, Link
from robot_assets.lineage.graph import Stage, build_graph
from robot_assets.lineage.record import Record
from robot_assets.pipeline.project import Project
from robot_assets.provenance.signing import sign_engine, sign_gates

_IN_HAND = -1


@dataclass(frozen=True)
class _WithRecord(InstanceHistory):
    """The history, and one materialization that is not in it yet."""

    made: Record

    def materializations(self, asset: str, version: str) -> Sequence[Materialization]:
        if (asset, version) == (self.made.asset, self.made.data_version):
            return [Materialization(_IN_HAND, datetime.now(UTC))]
        return super().materializations(asset, version)

    def record(self, asset: str, number: int) -> Record:
        return self.made if number == _IN_HAND else super().record(asset, number)


def chain_below(project: Project, instance: dg.DagsterInstance, asset: str, version: str) -> Chain:
    """The chain of a version of an asset, but for whether its own gates have run: they may be at work right now."""
    return audit(asset, version, _graph_without_gates_of(asset, project), InstanceHistory(instance), project.store)


def attest_engine(project: Project, instance: dg.DagsterInstance, record: Record) -> Chain:
    """Sign how the engine that ``record`` tells of was made, and give its chain."""
    history, graph = _WithRecord(instance, record), _graph_without_gates_of(record.asset, project)
    chain = audit(record.asset, record.data_version, graph, history, project.store)
    sign_engine(project, chain)
    return chain


def _graph_without_gates_of(asset: str, project: Project) -> dict[str, Stage]:
    graph = build_graph(project.params)
    graph[asset] = replace(graph[asset], gates=())
    return graph


def attest_gate(project: Project, asset: str, version: str, gate: GateRecord) -> None:
    """Sign how a gate of an engine ended on ``version``."""
    expected = tuple(one.name for one in build_graph(project.params)[asset].gates)
    sign_gates(project, Chain(links=(Link(asset=asset, version=version, gates=(gate,), expected_gates=expected),)))
