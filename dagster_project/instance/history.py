"""The history of an instance: ``robot_assets.lineage.audit.History`` on Dagster's event log.

Large events (a page with its pictures) are read once for each step of a chain; everything else is read from indices,
so that an audit takes as long after ten thousand materializations as after ten.

**An evaluation is about a version** when that version was the latest materialization of its asset during the
evaluation. Dagster records it (the *target materialization*) when a check ends; a gate of this project records the
version that it read in its metadata when it begins. Both have to be the version: otherwise a rebuild that ended while
a gate was running would pass for the version that the gate evaluated. Several materializations of one version are the
same bytes, so a gate that ran on an older one counts. Of several evaluations the last one counts, passed or failed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import dagster as dg
from pydantic import ValidationError

from dagster_project.instance import event_log
from dagster_project.instance.reader import latest_data_version
from dagster_project.keys import asset_key, asset_name
from dagster_project.observing.observations import facts_of, latest_observed_version
from robot_assets.lineage.audit import READ_FACT, Materialization
from robot_assets.lineage.chain import DECLARATIONS, GateRecord
from robot_assets.lineage.errors import LineageError
from robot_assets.lineage.record import Record

READ_KEY = "read"
"""Metadata key of a gate's evaluation: the versions that it opened, by asset."""

_FIX = "robot-assets build {asset}   # a materialization by this command has a record"


@dataclass(frozen=True)
class InstanceHistory:
    """The history of one instance."""

    instance: dg.DagsterInstance

    def assets(self) -> Sequence[str]:
        return sorted(asset_name(key) for key in self.instance.get_asset_keys())

    def latest_version(self, asset: str) -> str | None:
        return latest_data_version(self.instance, asset) or latest_observed_version(self.instance, asset)

    def materializations(self, asset: str, version: str) -> Sequence[Materialization]:
        found = event_log.events_of_version(self.instance, asset, version, event_log.MATERIALIZATION)
        if not found and (kept := self._kept(asset)) is not None:
            tags = kept.asset_materialization.tags if kept.asset_materialization else None
            if (tags or {}).get(event_log.DATA_VERSION_TAG) == version:
                found = [(kept.storage_id, datetime.fromtimestamp(kept.timestamp, UTC))]
        return [Materialization(number, ended_at) for number, ended_at in found]

    def record(self, asset: str, number: int) -> Record:
        wanted = dg.AssetRecordsFilter(asset_key(asset), storage_ids=[number])
        events = self.instance.fetch_materializations(wanted, limit=1).records
        event = events[0] if events else self._kept(asset)
        materialization = event.asset_materialization if event else None
        entry = materialization.metadata.get("record") if materialization else None
        if entry is None:
            raise LineageError(
                "has no record: no build of this system materialized it",
                needed="the record that each build stores in its materialization",
                fix=_FIX.format(asset=asset),
            )
        try:
            return Record.model_validate(entry.value)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise LineageError(
                f"its record cannot be read by this version of the system: {where}: {first['msg']}",
                needed="a record with the fields that this version reads",
                fix=_FIX.format(asset=asset),
            ) from None

    def _kept(self, asset: str) -> dg.EventLogRecord | None:
        """The latest materialization as Dagster keeps it beside the asset, where it outlives a deleted run."""
        records = self.instance.get_asset_records([asset_key(asset)])
        return records[0].asset_entry.last_materialization_record if records else None

    def first_observed(self, asset: str, version: str) -> str | None:
        found = event_log.events_of_version(self.instance, asset, version, event_log.OBSERVATION)
        return found[-1][1].isoformat(timespec="seconds") if found else None

    def declared(self, asset: str, version: str) -> Mapping[str, Any]:
        found = event_log.events_of_version(self.instance, asset, version, event_log.OBSERVATION)
        if not found:
            return {}
        wanted = dg.AssetRecordsFilter(asset_key(asset), storage_ids=[found[0][0]])
        events = self.instance.fetch_observations(wanted, limit=1).records
        facts = facts_of(events[0].asset_observation if events else None) or {}
        return {name: facts[name] for name in DECLARATIONS if name in facts}

    def gates(self, asset: str, version: str) -> Sequence[GateRecord]:
        evaluations = event_log.evaluations_of_version(self.instance, asset, version)
        return [_gate(one) for one in evaluations if one.is_blocking and _is_about(one, asset, version)]

    def holders(self, digest: str) -> Sequence[tuple[str, str]]:
        return event_log.versions_with_prefix(self.instance, digest)


def _is_about(evaluation: event_log.VersionEvaluation, asset: str, version: str) -> bool:
    """Whether the gate read this version; True when its evaluation does not name what it read."""
    read = evaluation.metadata.get(READ_KEY)
    return not isinstance(read, dict) or read.get(asset, version) == version


def _gate(evaluation: event_log.VersionEvaluation) -> GateRecord:
    summary, _, _ = evaluation.description.partition("\n\nfix: ")
    facts = dict(evaluation.metadata.get("facts") or {})
    if isinstance(read := evaluation.metadata.get(READ_KEY), dict):
        facts[READ_FACT] = read
    return GateRecord(
        name=evaluation.check,
        passed=evaluation.passed,
        summary=summary,
        facts=facts,
        run_id=evaluation.run_id,
        evaluated_at=evaluation.evaluated_at.isoformat(timespec="seconds"),
    )
