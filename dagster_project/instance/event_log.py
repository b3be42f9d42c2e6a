"""Batched reads of the event log. The only module with the tables of Dagster's event log storage.

Dagster's public readers return whole events: with pages that contain pictures, the latest events of a thousand
assets are a hundred megabytes. Staleness needs a few short values of each asset, which are in indexed columns or in
small rows: each is read with one query, whatever the number of assets and the length of their history. SQLite and
PostgreSQL share the tables; ``tests/dagster_project/test_event_log.py`` compares these readers with Dagster's own on
both, and pins the versions of Dagster that were tested.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import sqlalchemy as sql

from dagster_project.keys import BUILDS_CHECK, asset_key, asset_name

MATERIALIZATION, OBSERVATION = "ASSET_MATERIALIZATION", "ASSET_OBSERVATION"
DATA_VERSION_TAG = "dagster/data_version"

_keys = sql.table(
    "asset_keys",
    *(sql.column(name) for name in ("asset_key", "last_materialization", "last_run_id", "asset_details")),
)
_events = sql.table(
    "event_logs",
    *(sql.column(name) for name in ("id", "run_id", "dagster_event_type", "timestamp", "asset_key")),
)
_tags = sql.table(
    "asset_event_tags",
    *(sql.column(name) for name in ("id", "event_id", "asset_key", "key", "value")),
    sql.column("event_timestamp", sql.DateTime),
)
_checks = sql.table(
    "asset_check_executions",
    *(sql.column(name) for name in ("id", "asset_key", "check_name", "run_id", "execution_status", "evaluation_event")),
    sql.column("evaluation_event_timestamp", sql.DateTime),
    sql.column("materialization_event_storage_id"),
)


_KEYS_MAX = 10_000
"""Keys that one query names: SQLite takes 32,766 parameters."""
_METADATA = '"metadata": {'
_decode = json.JSONDecoder().raw_decode


@dataclass(frozen=True, slots=True)
class Version:
    """The latest event of a type of one asset: its data version, and the run that recorded it ("" for none)."""

    data_version: str
    run_id: str
    storage_id: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The latest evaluation of one check: its outcome, its run and its metadata values."""

    passed: bool
    run_id: str
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Materialized:
    """The latest materialization of an asset, and the evaluation of its ``builds`` check in the same run."""

    version: Version
    builds_check: Evaluation | None


def latest_versions(
    instance: dg.DagsterInstance, event_type: str, of: Collection[str] | None = None
) -> dict[str, Version]:
    """The latest materialization (or observation) of every asset that has one with a data version, by name.

    ``of`` limits observations to some assets: those of produced ones are their pages, and have no version.
    """
    if event_type == MATERIALIZATION:
        return {name: made.version for name, made in latest_materializations(instance).items()}
    latest = _latest(event_type, _keys.c.asset_key, _keys.c.asset_details, of=of)
    columns = (latest.c.asset_key, latest.c.asset_details, latest.c.id, _events.c.run_id)
    query = (
        sql.select(*columns, _tags.c.value, _tags.c.event_timestamp)
        .select_from(_with_version(latest))
        .where(latest.c.id.is_not(None))
    )
    return {
        _name(key): Version(value, run, number)
        for key, details, number, run, value, time in _rows(instance, query)
        if value is not None and not _is_wiped(details, time)
    }


def latest_materializations(instance: dg.DagsterInstance) -> dict[str, Materialized]:
    """The latest materialization of every asset that has one with a data version, by name.

    Dagster keeps it beside the asset, where it outlives its run: runs are deleted to keep an event log small. The
    event log alone is therefore trusted only where its newest materialization belongs to the run that Dagster names
    as the last; the others (wiped, pruned, or being materialized right now) are read with Dagster's own reader.
    """
    is_made = _keys.c.last_materialization.is_not(None).label("is_made")
    latest = _latest(MATERIALIZATION, _keys.c.asset_key, _keys.c.asset_details, _keys.c.last_run_id, is_made)
    is_its_check = sql.and_(
        _checks.c.asset_key == latest.c.asset_key,
        _checks.c.check_name == BUILDS_CHECK,
        _checks.c.run_id == _events.c.run_id,
        _checks.c.execution_status == "SUCCEEDED",
    )
    check = sql.select(_checks.c.evaluation_event).where(is_its_check).order_by(_checks.c.id.desc()).limit(1)
    columns = (latest.c.asset_key, latest.c.asset_details, latest.c.last_run_id, latest.c.id, _events.c.run_id)
    query = (
        sql.select(*columns, _tags.c.value, _tags.c.event_timestamp, check.scalar_subquery())
        .select_from(_with_version(latest))
        .where(sql.or_(latest.c.id.is_not(None), latest.c.is_made))
    )
    found: dict[str, Materialized] = {}
    uncertain = []
    for key, details, last_run, number, run, value, time, event in _rows(instance, query):
        if run != last_run:
            uncertain.append(key)
        elif value is not None and not _is_wiped(details, time):
            builds_check = Evaluation(True, run, _metadata(event)) if event else None
            found[_name(key)] = Materialized(Version(value, run, number), builds_check)
    return found | _from_whole_events(instance, uncertain)


def latest_evaluations(
    instance: dg.DagsterInstance, *, of_checks: Collection[str] | None = None
) -> dict[tuple[str, str], Evaluation]:
    """The latest evaluation of every check (or of ``of_checks``) of every asset, by (asset, check).

    A check that was planned and interrupted has none, even if it was evaluated before.
    """
    newest = sql.select(sql.func.max(_checks.c.id).label("id"))
    if of_checks is not None:
        newest = newest.where(_checks.c.check_name.in_(of_checks))
    ids = newest.group_by(_checks.c.asset_key, _checks.c.check_name).subquery("ids")
    columns = (_checks.c.asset_key, _checks.c.check_name, _checks.c.execution_status, _checks.c.run_id)
    query = (
        sql.select(*columns, _checks.c.evaluation_event)
        .select_from(_checks.join(ids, _checks.c.id == ids.c.id))
        .where(_checks.c.execution_status.in_(("SUCCEEDED", "FAILED")))
    )
    return {
        (_name(key), check): Evaluation(status == "SUCCEEDED", run, _metadata(event))
        for key, check, status, run, event in _rows(instance, query)
    }


def _latest(event_type: str, *columns: Any, of: Collection[str] | None = None) -> sql.CTE:
    """The newest event of a type of each asset: by the index of assets and types, without reading an event.

    MATERIALIZED makes PostgreSQL compute it once instead of at each reference.
    """
    newest = (
        sql.select(sql.func.max(_events.c.id))
        .where(_events.c.asset_key == _keys.c.asset_key, _events.c.dagster_event_type == event_type)
        .scalar_subquery()
    )
    query = sql.select(*columns, newest.label("id"))
    if of is not None and len(of) <= _KEYS_MAX:
        query = query.where(_keys.c.asset_key.in_([asset_key(name).to_string() for name in of]))
    return query.cte("latest").prefix_with("MATERIALIZED", dialect="postgresql")


def _with_version(latest: sql.CTE) -> sql.Join:
    """The newest events with their data versions, each found by its id.

    Outer joins fix the join order of SQLite: for inner joins it reads the tags of the whole history. SQLite also
    reuses the id of a wiped event and keeps its tags: only tags of the same asset count, and none of a wiped event.
    """
    is_its_version = sql.and_(
        _tags.c.event_id == latest.c.id, _tags.c.asset_key == latest.c.asset_key, _tags.c.key == DATA_VERSION_TAG
    )
    return latest.outerjoin(_events, _events.c.id == latest.c.id).outerjoin(_tags, is_its_version)


def _from_whole_events(instance: dg.DagsterInstance, db_keys: Collection[str]) -> dict[str, Materialized]:
    """As ``latest_materializations``, with Dagster's own reader."""
    if not db_keys:
        return {}
    checks = _builds_checks(instance, db_keys)
    found = {}
    for record in instance.get_asset_records([dg.AssetKey(json.loads(key)) for key in db_keys]):
        latest = record.asset_entry.last_materialization_record
        materialization = latest.asset_materialization if latest else None
        value = (materialization.tags or {}).get(DATA_VERSION_TAG) if materialization else None
        if latest and value:
            name = asset_name(record.asset_entry.asset_key)
            version = Version(value, latest.run_id, latest.storage_id)
            found[name] = Materialized(version, checks.get((name, latest.run_id)))
    return found


def _builds_checks(instance: dg.DagsterInstance, db_keys: Collection[str]) -> dict[tuple[str, str], Evaluation]:
    """Passed evaluations of the ``builds`` checks of some assets, by (asset, run)."""
    query = (
        sql.select(_checks.c.asset_key, _checks.c.run_id, _checks.c.evaluation_event)
        .where(
            _checks.c.asset_key.in_(db_keys),
            _checks.c.check_name == BUILDS_CHECK,
            _checks.c.execution_status == "SUCCEEDED",
        )
        .order_by(_checks.c.id)
    )
    return {(_name(key), run): Evaluation(True, run, _metadata(event)) for key, run, event in _rows(instance, query)}


def _is_wiped(details: str | None, time: datetime) -> bool:
    """Whether an event is older than the last wipe of its asset.

    The column ``wipe_timestamp`` is not used: PostgreSQL writes it in the time zone of the session, and events in UTC.
    """
    wiped_at = json.loads(details).get("last_wipe_timestamp") if details else None
    return wiped_at is not None and time.replace(tzinfo=UTC).timestamp() <= wiped_at


def _rows(instance: dg.DagsterInstance, query: Any) -> Sequence[Any]:
    with instance.event_log_storage.index_connection() as connection:
        return connection.execute(query).all()


def _name(asset_key: str) -> str:
    """``asset_name`` of a key in the tables, without constructing an ``AssetKey``: this runs for every row."""
    return "/".join(json.loads(asset_key))


def _metadata(event: str) -> dict[str, Any]:
    """Values of the metadata of a serialized check evaluation.

    Only this part is parsed, as plain JSON: deserializing Dagster's objects takes ten times as long, and this runs
    for every check. A quote inside a text would be escaped, so the first match is the key itself.
    """
    entries, _ = _decode(event, event.index(_METADATA) + len(_METADATA) - 1)
    return _values(entries)


def _values(entries: Mapping[str, Any]) -> dict[str, Any]:
    return {name: entry.get("text", entry.get("value", entry.get("data"))) for name, entry in entries.items()}


@dataclass(frozen=True)
class VersionEvaluation:
    """The last evaluation of one check on one version of its asset."""

    check: str
    passed: bool
    is_blocking: bool
    description: str
    run_id: str
    evaluated_at: datetime
    metadata: Mapping[str, Any]


def events_of_version(
    instance: dg.DagsterInstance, name: str, version: str, event_type: str
) -> list[tuple[int, datetime]]:
    """(storage id, time in UTC) of every event of a type with this data version of an asset, newest first.

    Read from the index of the tags alone: no event is loaded, however large its page is.
    """
    of_type = sql.select(_events.c.id).where(
        _events.c.asset_key == _db_key(name), _events.c.dagster_event_type == event_type
    )
    query = (
        sql.select(_tags.c.event_id, _tags.c.event_timestamp, _keys.c.asset_details)
        .join_from(_tags, _keys, _keys.c.asset_key == _tags.c.asset_key)
        .where(
            _tags.c.asset_key == _db_key(name),
            _tags.c.key == DATA_VERSION_TAG,
            _tags.c.value == version,
            _tags.c.event_id.in_(of_type),
        )
        .order_by(_tags.c.event_id.desc())
    )
    return [
        (number, time.replace(tzinfo=UTC))
        for number, time, details in _rows(instance, query)
        if not _is_wiped(details, time)
    ]


def evaluations_of_version(instance: dg.DagsterInstance, name: str, version: str) -> list[VersionEvaluation]:
    """The last evaluation of each check among those whose target is a materialization of this version."""
    targets = [number for number, _ in events_of_version(instance, name, version, MATERIALIZATION)]
    newest = (
        sql.select(sql.func.max(_checks.c.id))
        .where(
            _checks.c.asset_key == _db_key(name),
            _checks.c.materialization_event_storage_id.in_(targets),
            _checks.c.execution_status.in_(("SUCCEEDED", "FAILED")),
        )
        .group_by(_checks.c.check_name)
    )
    columns = (
        _checks.c.check_name,
        _checks.c.execution_status,
        _checks.c.run_id,
        _checks.c.evaluation_event_timestamp,
        _checks.c.evaluation_event,
    )
    query = sql.select(*columns).where(_checks.c.id.in_(newest)).order_by(_checks.c.check_name)
    return [_version_evaluation(*row) for row in _rows(instance, query)]


def _version_evaluation(check: str, status: str, run: str | None, time: datetime, event: str) -> VersionEvaluation:
    data = json.loads(event)["dagster_event"]["event_specific_data"]
    return VersionEvaluation(
        check=check,
        passed=status == "SUCCEEDED",
        is_blocking=bool(data["blocking"]),
        description=data["description"] or "",
        run_id=run,
        evaluated_at=time.replace(tzinfo=UTC),
        metadata=_values(data["metadata"]),
    )


def versions_with_prefix(instance: dg.DagsterInstance, prefix: str) -> list[tuple[str, str]]:
    """(asset, data version) of every data version that begins with ``prefix``, each once, latest first."""
    query = (
        sql.select(_tags.c.asset_key, _tags.c.value, _tags.c.event_timestamp, _keys.c.asset_details)
        .join_from(_tags, _keys, _keys.c.asset_key == _tags.c.asset_key)
        .where(_tags.c.key == DATA_VERSION_TAG, _tags.c.value.startswith(prefix, autoescape=True))
        .order_by(_tags.c.event_id.desc())
    )
    found = {
        (_name(key), value): None
        for key, value, time, details in _rows(instance, query)
        if not _is_wiped(details, time)
    }
    return list(found)


def _db_key(name: str) -> str:
    return asset_key(name).to_string()
