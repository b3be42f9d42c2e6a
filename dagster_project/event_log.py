"""The event log, read in batches. The one module that knows the tables of Dagster's event log storage.

Dagster's public readers give whole events: with pages that carry pictures, the latest events of a thousand assets
are a hundred megabytes. What staleness needs of each asset is two short values, and they are in indexed columns
or in small rows: so they are read with two queries, whatever the number of assets. SQLite and PostgreSQL share
the tables; ``tests/dagster_project/test_event_log.py`` holds these readers against Dagster's own on both, and
pins the versions of Dagster that this was seen to hold for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import sqlalchemy as sql

from dagster_project.names import asset_key, asset_name

MATERIALIZATION, OBSERVATION = "ASSET_MATERIALIZATION", "ASSET_OBSERVATION"
DATA_VERSION_TAG = "dagster/data_version"

_keys = sql.table("asset_keys", sql.column("asset_key"), sql.column("wipe_timestamp"))
_events = sql.table(
    "event_logs",
    *(sql.column(name) for name in ("id", "run_id", "dagster_event_type", "timestamp", "asset_key")),
)
_tags = sql.table(
    "asset_event_tags",
    *(sql.column(name) for name in ("event_id", "asset_key", "key", "value")),
    sql.column("event_timestamp", sql.DateTime),
)
_checks = sql.table(
    "asset_check_executions",
    *(sql.column(name) for name in ("id", "asset_key", "check_name", "run_id", "execution_status", "evaluation_event")),
    sql.column("evaluation_event_timestamp", sql.DateTime),
    sql.column("materialization_event_storage_id"),
)


@dataclass(frozen=True)
class Version:
    """The latest event of a kind of one asset: its data version, and the run that made it ("" for none)."""

    data_version: str
    run_id: str
    storage_id: int


@dataclass(frozen=True)
class Evaluation:
    """The latest evaluation of one check: how it ended, in which run, and the metadata values it carries."""

    passed: bool
    run_id: str
    metadata: Mapping[str, Any]


def latest_versions(instance: dg.DagsterInstance, event_type: str) -> dict[str, Version]:
    """The latest materialization (or observation) of every asset that has one with a data version, by name."""
    newest = (
        sql.select(sql.func.max(_events.c.id))
        .where(_events.c.asset_key == _keys.c.asset_key, _events.c.dagster_event_type == event_type)
        .correlate(_keys)
        .scalar_subquery()
    )
    latest = sql.select(newest.label("id"), _keys.c.wipe_timestamp).subquery("latest")
    query = (
        sql.select(_events.c.asset_key, _tags.c.value, _events.c.run_id, _events.c.id)
        .select_from(
            latest.join(_events, _events.c.id == latest.c.id).join(
                _tags, sql.and_(_tags.c.event_id == _events.c.id, _tags.c.key == DATA_VERSION_TAG)
            )
        )
        .where(sql.or_(latest.c.wipe_timestamp.is_(None), _events.c.timestamp > latest.c.wipe_timestamp))
    )
    return {_name(key): Version(value, run or "", number) for key, value, run, number in _rows(instance, query)}


def latest_evaluations(
    instance: dg.DagsterInstance, *, of_check: str | None = None, passed_only: bool = False
) -> dict[tuple[str, str], Evaluation]:
    """The latest evaluation of every check (or of ``of_check``) of every asset, by (asset, check).

    A check that was planned and cut off before it ended has none, however often it had been evaluated before.

    Args:
        instance: Whose event log is read.
        of_check: Only checks of this name.
        passed_only: Leave out all but the evaluations that passed: the latest success.
    """
    newest = sql.select(sql.func.max(_checks.c.id).label("id"))
    if of_check:
        newest = newest.where(_checks.c.check_name == of_check)
    if passed_only:
        newest = newest.where(_checks.c.execution_status == "SUCCEEDED")
    ids = newest.group_by(_checks.c.asset_key, _checks.c.check_name).subquery("ids")
    query = (
        sql.select(
            _checks.c.asset_key,
            _checks.c.check_name,
            _checks.c.run_id,
            _checks.c.execution_status,
            _checks.c.evaluation_event,
        )
        .select_from(_checks.join(ids, _checks.c.id == ids.c.id))
        .where(_checks.c.execution_status.in_(("SUCCEEDED", "FAILED")))
    )
    return {
        (_name(key), check): Evaluation(status == "SUCCEEDED", run or "", _metadata(event))
        for key, check, run, status, event in _rows(instance, query)
    }


def _rows(instance: dg.DagsterInstance, query: Any) -> Iterator[Any]:
    with instance.event_log_storage.index_connection() as connection:
        yield from connection.execute(query)


def _name(asset_key: str) -> str:
    key = dg.AssetKey.from_db_string(asset_key)
    if key is None:
        raise ValueError(f"the event log holds {asset_key!r}, which is no asset key")
    return asset_name(key)


def _metadata(event: str) -> dict[str, Any]:
    """Values of the metadata of a serialized check evaluation.

    Read as plain JSON: rebuilding Dagster's objects takes six times as long, and this runs for every check.
    """
    return _values(json.loads(event)["dagster_event"]["event_specific_data"]["metadata"])


def _values(entries: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: next((entry[key] for key in ("text", "value", "data") if key in entry), None)
        for name, entry in entries.items()
    }


@dataclass(frozen=True)
class Judgement:
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
    """(storage id, time in UTC) of every event of a kind that gave an asset this data version, the newest first.

    Answered from the index of the tags alone: no event is read, however large its page is.
    """
    of_type = sql.select(_events.c.id).where(
        _events.c.asset_key == _db_key(name), _events.c.dagster_event_type == event_type
    )
    query = (
        sql.select(_tags.c.event_id, _tags.c.event_timestamp)
        .where(*_of_version(name, version), _tags.c.event_id.in_(of_type))
        .order_by(_tags.c.event_id.desc())
    )
    return [(number, time.replace(tzinfo=UTC)) for number, time in _rows(instance, query)]


def judgements_of_version(instance: dg.DagsterInstance, name: str, version: str) -> list[Judgement]:
    """The last evaluation of each check among those whose target is a materialization of this version."""
    targets = sql.select(_tags.c.event_id).where(*_of_version(name, version))
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
    return [_judgement(*row) for row in _rows(instance, query)]


def _judgement(check: str, status: str, run: str | None, time: datetime, event: str) -> Judgement:
    data = json.loads(event)["dagster_event"]["event_specific_data"]
    return Judgement(
        check=check,
        passed=status == "SUCCEEDED",
        is_blocking=bool(data["blocking"]),
        description=data["description"] or "",
        run_id=run or "",
        evaluated_at=time.replace(tzinfo=UTC),
        metadata=_values(data["metadata"]),
    )


def versions_from(instance: dg.DagsterInstance, digest: str) -> list[tuple[str, str]]:
    """(asset, data version) of every version that begins with ``digest``, each once, the latest first."""
    query = (
        sql.select(_tags.c.asset_key, _tags.c.value)
        .where(
            _tags.c.key == DATA_VERSION_TAG,
            _tags.c.value.startswith(digest, autoescape=True),
            _not_wiped(),
        )
        .group_by(_tags.c.asset_key, _tags.c.value)
        .order_by(sql.func.max(_tags.c.event_id).desc())
    )
    return [(_name(key), value) for key, value in _rows(instance, query)]


def _of_version(name: str, version: str) -> tuple[Any, ...]:
    return (
        _tags.c.asset_key == _db_key(name),
        _tags.c.key == DATA_VERSION_TAG,
        _tags.c.value == version,
        _not_wiped(),
    )


def _not_wiped() -> Any:
    """Whether the tag's event is younger than the last time that somebody wiped the asset."""
    return ~sql.exists().where(
        _keys.c.asset_key == _tags.c.asset_key, _keys.c.wipe_timestamp >= _tags.c.event_timestamp
    )


def _db_key(name: str) -> str:
    return asset_key(name).to_string()
