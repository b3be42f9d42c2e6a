"""The one place that reads the instance's history, and turns it into plain records for the domain.

Check evaluations have no public batched reader in this version of Dagster: the event log storage is asked here,
and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import dagster as dg

from dagster_project.names import asset_key, asset_name
from robot_assets.lineage.graph import Stage
from robot_assets.lineage.staleness import Built, GateResult
from robot_assets.store import Store

DATA_VERSION_TAG = "dagster/data_version"
GATE_STATE_KEY = "state"


def latest_data_version(instance: dg.DagsterInstance, name: str) -> str | None:
    """Data version of the latest materialization of an asset, None when there is none."""
    event = instance.get_latest_materialization_event(asset_key(name))
    return _data_version(event) if event else None


def latest_builds(
    instance: dg.DagsterInstance, graph: Mapping[str, Stage], store: Store, observed: Mapping[str, str]
) -> dict[str, Built]:
    """What stands: the latest record of every produced asset, and the given versions of the observed ones."""
    produced = [stage for stage in graph.values() if not stage.is_observed]
    records = instance.get_asset_records([asset_key(stage.asset) for stage in produced])
    gates = _gate_results(instance, produced)
    built = {name: Built(data_version=version) for name, version in observed.items() if name in graph}
    for record in records:
        event = record.asset_entry.last_materialization
        name = asset_name(record.asset_entry.asset_key)
        written = _record(event) if event else None
        if written is not None:
            built[name] = Built(
                data_version=written["data_version"],
                code_version=written["code_version"],
                inputs=written["inputs"],
                gates=gates.get(name, {}),
                is_stored=store.has(written["data_version"]),
            )
    return built


def latest_metadata(instance: dg.DagsterInstance, names: Iterable[str]) -> dict[str, Mapping[str, object]]:
    """Metadata values of the latest materialization of each asset that has one."""
    found = {}
    for record in instance.get_asset_records([asset_key(name) for name in names]):
        event = record.asset_entry.last_materialization
        if event and event.asset_materialization:
            metadata = event.asset_materialization.metadata
            found[asset_name(record.asset_entry.asset_key)] = {
                key: getattr(value, "value", None) for key, value in metadata.items()
            }
    return found


def _data_version(event: dg.EventLogEntry) -> str | None:
    materialization = event.asset_materialization
    return (materialization.tags or {}).get(DATA_VERSION_TAG) if materialization else None


def _record(event: dg.EventLogEntry) -> Mapping[str, object] | None:
    """Our record; None when something else than our asset bodies reported the materialization."""
    materialization = event.asset_materialization
    value = materialization.metadata.get("record") if materialization else None
    return None if value is None else value.value


def gate_descriptions(instance: dg.DagsterInstance, graph: Mapping[str, Stage], names: Iterable[str]) -> list[str]:
    """What the failed gates of some assets said, one entry each."""
    return [
        f"{asset_name(key.asset_key)} {key.name}: {' '.join((evaluation.description or '').split())}"
        for key, evaluation in _evaluations(instance, [graph[name] for name in names]).items()
        if not evaluation.passed
    ]


def _gate_results(instance: dg.DagsterInstance, stages: Iterable[Stage]) -> dict[str, dict[str, GateResult]]:
    results: dict[str, dict[str, GateResult]] = {}
    for key, evaluation in _evaluations(instance, stages).items():
        if GATE_STATE_KEY in evaluation.metadata:
            state = str(evaluation.metadata[GATE_STATE_KEY].value)
            results.setdefault(asset_name(key.asset_key), {})[key.name] = GateResult(state, evaluation.passed)
    return results


def _evaluations(
    instance: dg.DagsterInstance, stages: Iterable[Stage]
) -> dict[dg.AssetCheckKey, dg.AssetCheckEvaluation]:
    """The latest evaluation of every gate that has one; a gate that was planned and cut off has none."""
    keys = [dg.AssetCheckKey(asset_key(stage.asset), gate.name) for stage in stages for gate in stage.gates]
    latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
    found = {key: execution.event.asset_check_evaluation for key, execution in latest.items() if execution.event}
    return {key: evaluation for key, evaluation in found.items() if evaluation is not None}
