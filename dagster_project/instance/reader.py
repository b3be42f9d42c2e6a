"""Versions, states, gates, records and runs of an instance, as plain records for the domain.

The batched queries are in ``event_log.py``.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import dagster as dg
from pydantic import ValidationError

from dagster_project.instance.event_log import (
    DATA_VERSION_TAG,
    OBSERVATION,
    Materialized,
    latest_evaluations,
    latest_materializations,
    latest_versions,
)
from dagster_project.keys import asset_key, asset_name
from robot_assets.lineage.graph import Stage
from robot_assets.lineage.rebuild import Attempts
from robot_assets.lineage.record import Record
from robot_assets.lineage.staleness import Built, GateResult
from robot_assets.store import Store
from robot_assets.store.status import complete_in_cache

STATE_KEY = "state"
DESIRED_STATE_TAG = "robot_assets/desired_state"
ASSET_TAG = "robot_assets/asset"
_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
_FAILED = {dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}


def latest_data_version(instance: dg.DagsterInstance, name: str) -> str | None:
    """Data version of the latest materialization of an asset, None when there is none."""
    event = instance.get_latest_materialization_event(asset_key(name))
    materialization = event.asset_materialization if event else None
    return (materialization.tags or {}).get(DATA_VERSION_TAG) if materialization else None


def latest_builds(
    instance: dg.DagsterInstance, graph: Mapping[str, Stage], store: Store, observed: Mapping[str, str] | None = None
) -> dict[str, Built]:
    """The latest version of every asset of ``graph`` that has one.

    Args:
        instance: Whose history is read.
        graph: The assets.
        store: Queried for the bytes of each version.
        observed: Present versions of observed assets; their latest observations when None.
    """
    if observed is None:
        seen = latest_versions(instance, OBSERVATION, [name for name, stage in graph.items() if stage.is_observed])
        observed = {name: version.data_version for name, version in seen.items()}
    built = {name: Built(observed[name]) for name, stage in graph.items() if stage.is_observed and name in observed}
    latest = latest_materializations(instance)
    produced = {name: latest[name] for name, stage in graph.items() if not stage.is_observed and name in latest}
    gates = _gate_results(instance, {gate.name for stage in graph.values() for gate in stage.gates})
    stored = _stored(store, {made.version.data_version for made in produced.values()})
    for name, made in produced.items():
        noted = _build_metadata(made)
        built[name] = Built(
            data_version=made.version.data_version,
            state=noted.get(STATE_KEY),
            gates=gates.get(name, {}),
            is_stored=made.version.data_version in stored,
            duration_s=noted.get("duration_s"),
            inputs=noted.get("inputs") or {},
        )
    return built


def latest_records(instance: dg.DagsterInstance, names: Iterable[str]) -> dict[str, Record]:
    """The record of the latest materialization of each asset; one that no build materialized has none."""
    found = {}
    for name, metadata in latest_metadata(instance, names).items():
        try:
            found[name] = Record.model_validate(metadata.get("record"))
        except ValidationError:
            continue
    return found


def latest_metadata(instance: dg.DagsterInstance, names: Iterable[str]) -> dict[str, Mapping[str, Any]]:
    """Metadata values of the latest materialization of each asset that has one."""
    keys = [asset_key(name) for name in names]
    found = {}
    for record in instance.get_asset_records(keys) if keys else []:
        event = record.asset_entry.last_materialization
        if event and event.asset_materialization:
            found[asset_name(record.asset_entry.asset_key)] = _values(event.asset_materialization.metadata)
    return found


def latest_pages(instance: dg.DagsterInstance, names: Iterable[str]) -> dict[str, Mapping[str, Any]]:
    """As ``latest_metadata``, with the metadata of the page that the same run recorded after it."""
    found = {}
    for name, metadata in latest_metadata(instance, names).items():
        records = instance.fetch_observations(asset_key(name), limit=1).records
        page = records[0] if records else None
        is_its_page = page is not None and page.run_id == metadata.get("record", {}).get("run_id")
        observation = page.asset_observation if page and is_its_page else None
        found[name] = {**metadata, **(_values(observation.metadata) if observation else {})}
    return found


def _values(metadata: Mapping[str, dg.MetadataValue]) -> dict[str, Any]:
    return {key: getattr(value, "value", None) for key, value in metadata.items()}


@dataclass(frozen=True)
class FailedGate:
    """The last evaluation of a gate that did not pass, as it described itself."""

    asset: str
    name: str
    summary: str
    fix: str


def failed_gates(instance: dg.DagsterInstance, graph: Mapping[str, Stage], names: Iterable[str]) -> list[FailedGate]:
    """The failed gates of some assets, in the order of the graph."""
    keys = [dg.AssetCheckKey(asset_key(name), gate.name) for name in names for gate in graph[name].gates]
    latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
    evaluations = [(key, row.event.asset_check_evaluation) for key in keys if (row := latest.get(key)) and row.event]
    return [
        _failed_gate(key, evaluation.description or "")
        for key, evaluation in evaluations
        if evaluation is not None and not evaluation.passed
    ]


def _failed_gate(key: dg.AssetCheckKey, description: str) -> FailedGate:
    asset = asset_name(key.asset_key)
    summary, _, fix = description.partition("\n\nfix: ")
    again = f"robot-assets build {asset}   # evaluates the gate again"
    return FailedGate(asset, key.name, " ".join(summary.split()), " ".join(fix.split()) or again)


def in_progress(instance: dg.DagsterInstance) -> frozenset[str]:
    """Assets that unfinished runs materialize or check, whoever started them."""
    runs = instance.get_runs(filters=dg.RunsFilter(statuses=_UNFINISHED))
    names = {asset_name(key) for run in runs for key in run.asset_selection or ()}
    names |= {asset_name(check.asset_key) for run in runs for check in run.asset_check_selection or ()}
    return frozenset(names)


def attempts(instance: dg.DagsterInstance, states: Iterable[str]) -> dict[str, Attempts]:
    """The ended and failed runs for some desired states, in one query."""
    wanted = sorted(states)
    if not wanted:
        return {}
    ended = [dg.DagsterRunStatus.SUCCESS, *_FAILED]
    filters = dg.RunsFilter(tags={DESIRED_STATE_TAG: wanted}, statuses=ended)
    found: dict[str, Attempts] = {}
    for record in reversed(instance.get_run_records(filters=filters)):
        state = record.dagster_run.tags[DESIRED_STATE_TAG]
        before = found.get(state, Attempts())
        if record.dagster_run.status in _FAILED:
            when = datetime.fromtimestamp(record.end_time or record.update_timestamp.timestamp(), UTC)
            found[state] = Attempts(before.ended + 1, before.failed + 1, when)
        else:
            found[state] = Attempts(before.ended + 1)
    return found


def _build_metadata(made: Materialized) -> Mapping[str, Any]:
    """Metadata of the ``builds`` check of a materialization; empty when it is about another data version."""
    noted = made.builds_check.metadata if made.builds_check else {}
    return noted if noted.get("data_version") == made.version.data_version else {}


def _gate_results(instance: dg.DagsterInstance, gates: Collection[str]) -> dict[str, dict[str, GateResult]]:
    results: dict[str, dict[str, GateResult]] = {}
    for (name, check), evaluation in latest_evaluations(instance, of_checks=gates).items():
        if STATE_KEY in evaluation.metadata:
            result = GateResult(str(evaluation.metadata[STATE_KEY]), evaluation.passed)
            results.setdefault(name, {})[check] = result
    return results


_SECONDS_TO_TRUST_A_REMOTE = 600.0
_seen_on_remote: dict[tuple[str, str], float] = {}


def _stored(store: Store, digests: set[str]) -> set[str]:
    """Those of ``digests`` that the store has.

    A remote takes a round trip for each, so a positive answer is cached for ten minutes.
    """
    here = complete_in_cache(store.cache, digests)
    if store.remote_url is None:
        return here
    now, remote, elsewhere = time.monotonic(), store.remote_url, digests - here
    unknown = [digest for digest in elsewhere if _seen_on_remote.get((remote, digest), -1e9) < now]
    with ThreadPoolExecutor(16) as pool:
        for digest, there in zip(unknown, pool.map(store.has, unknown), strict=True):
            if there:
                _seen_on_remote[remote, digest] = now + _SECONDS_TO_TRUST_A_REMOTE
    return here | {digest for digest in elsewhere if _seen_on_remote.get((remote, digest), -1e9) >= now}
