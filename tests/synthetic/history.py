"""Writes a history of builds through Dagster's event API, without training anything.

Each build is the events of a run, with the metadata and the tags of a real one: the materialization with its record,
the observation with its page, the row of its ``builds`` check, its gates. Dagster writes them as it writes those of
any run, only without the executor, which takes some 40 ms per asset. Artifacts are three small files each, in a real
store.
"""

from __future__ import annotations

import hashlib
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import dagster as dg
import sqlalchemy as sql
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData as Target,
)
from dagster._core.events import AssetObservationData, StepMaterializationData

from dagster_project.instance.event_log import MATERIALIZATION, OBSERVATION, Version, latest_versions
from dagster_project.instance.history import READ_KEY
from dagster_project.instance.reader import ASSET_TAG, DESIRED_STATE_TAG, STATE_KEY
from dagster_project.keys import BUILDS_CHECK, asset_key
from robot_assets.lineage.code import CODE_RULE, Code
from robot_assets.lineage.graph import Stage
from robot_assets.lineage.record import Cause, CauseKind, Record, desired_state, surroundings
from robot_assets.lineage.staleness import Built, gate_state
from robot_assets.pipeline.graph import build_graph
from robot_assets.pipeline.project import Project
from robot_assets.store.batch import batch_into
from robot_assets.store.cache import Cache
from robot_assets.store.tree import tree_of

_JOB = "synthetic"


def open_instance(home: Path, postgres_url: str | None = None) -> dg.DagsterInstance:
    """An instance whose runs and events are in SQLite files in ``home``, or in a PostgreSQL database."""
    home.mkdir(parents=True, exist_ok=True)
    lines = ["telemetry:", "  enabled: false"]
    if postgres_url:
        lines += ["storage:", "  postgres:", f"    postgres_url: {postgres_url}"]
    (home / "dagster.yaml").write_text("\n".join(lines) + "\n")
    return dg.DagsterInstance.from_config(str(home))


@contextmanager
def fast_writes(instance: dg.DagsterInstance) -> Iterator[None]:
    """Make Dagster's writes several times as fast: the same statements over reused connections.

    Dagster opens a connection for every one or two statements, on SQLite with an engine that compiles each again, and
    every commit waits for the disk.
    """
    instance.optimize_for_webserver(statement_timeout=60_000, pool_recycle=3600, max_overflow=4)  # PostgreSQL
    engines: dict[str, sql.Engine] = {}

    def reused_engine(url: str, **_: Any) -> sql.Engine:
        if url not in engines:
            engine = engines[url] = sql.create_engine(url, poolclass=sql.pool.QueuePool)
            sql.event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF"))
            engine.dispose = lambda close=True: None  # type: ignore[method-assign]
        return engines[url]

    module = "dagster._core.storage.event_log.sqlite.sqlite_event_log"
    with mock.patch(f"{module}.create_engine", reused_engine):
        yield
    for engine in engines.values():
        sql.Engine.dispose(engine)


@dataclass
class HistoryWriter:
    """Writes rounds of builds of everything in a project.

    Attributes:
        project: Defines the assets; its store receives the artifacts.
        instance: Receives the events.
        page_bytes: Size of the report on each page; 30 to 230 kB for real ones with pictures.
    """

    project: Project
    instance: dg.DagsterInstance
    page_bytes: int = 2_000
    rounds: int = 0
    built: dict[str, Built] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.graph = build_graph(self.project.params)
        self.code = Code()
        self.surroundings = surroundings(Path(__file__).parent)
        self.code_versions = {
            stage.asset: self.code.version(stage.code, stage.params) for stage in self._produced(self.graph.values())
        }

    def write_round(self) -> None:
        """Build every asset once with new bytes; every gate passes."""
        self.rounds += 1
        run = self.instance.add_run(
            dg.DagsterRun(_JOB, run_id=str(uuid.uuid4()), status=dg.DagsterRunStatus.SUCCESS)
        ).run_id
        for stages in self._levels():
            versions = _written(self.project, {stage.asset: f"{stage.asset} {self.rounds}" for stage in stages})
            pointers = self._pointers()
            for stage in stages:
                self._build(stage, versions[stage.asset], run, pointers)
        materialized = latest_versions(self.instance, MATERIALIZATION)
        for stage in self.graph.values():
            self._judge(stage, run, materialized.get(stage.asset))

    def write_runs(self, count: int) -> None:
        """Write ended runs with the tags of the rebuild sensor."""
        names = [stage.asset for stage in self._produced(self.graph.values())]
        for number in range(count):
            name = names[number % len(names)]
            tags = {ASSET_TAG: name, DESIRED_STATE_TAG: f"{number:032x}"}
            status = dg.DagsterRunStatus.SUCCESS if number % 10 else dg.DagsterRunStatus.FAILURE
            self.instance.add_run(
                dg.DagsterRun(
                    _JOB,
                    run_id=str(uuid.uuid4()),
                    status=status,
                    tags=tags,
                    asset_selection=frozenset({asset_key(name)}),
                )
            )

    def _levels(self) -> list[list[Stage]]:
        """Stages by depth, so that the events of one level can be read with one query."""
        depth: dict[str, int] = {}
        levels: dict[int, list[Stage]] = defaultdict(list)
        for stage in self.graph.values():
            depth[stage.asset] = max((depth[name] + 1 for name in stage.inputs), default=0)
            levels[depth[stage.asset]].append(stage)
        return [levels[number] for number in sorted(levels)]

    @staticmethod
    def _produced(stages: Iterable[Stage]) -> list[Stage]:
        return [stage for stage in stages if not stage.is_observed]

    def _pointers(self) -> Mapping[str, Version]:
        return latest_versions(self.instance, OBSERVATION) | latest_versions(self.instance, MATERIALIZATION)

    def _build(self, stage: Stage, version: str, run: str, pointers: Mapping[str, Version]) -> None:
        tags = {"dagster/data_version": version, "dagster/data_version_is_user_provided": "true"}
        if stage.is_observed:
            observation = dg.AssetObservation(asset_key(stage.asset), tags=tags)
            self._report(dg.DagsterEventType.ASSET_OBSERVATION, AssetObservationData(observation), run)
            self.built[stage.asset] = Built(version)
            return
        record = self._record(stage, version, run)
        tags["dagster/code_version"] = record.code_version
        for name, read in record.inputs.items():
            tags[f"dagster/input_data_version/{name}"] = read
            tags[f"dagster/input_event_pointer/{name}"] = str(pointers[name].storage_id)
        key = asset_key(stage.asset)
        materialization = dg.AssetMaterialization(key, metadata=self._facts(record), tags=tags)
        self._report(dg.DagsterEventType.ASSET_MATERIALIZATION, StepMaterializationData(materialization), run)
        page = dg.AssetObservation(key, metadata={"report": dg.MetadataValue.md("r" * self.page_bytes)})
        self._report(dg.DagsterEventType.ASSET_OBSERVATION, AssetObservationData(page), run)
        self.built[stage.asset] = Built(version, state=record.desired_state)

    def _record(self, stage: Stage, version: str, run: str) -> Record:
        inputs = {name: self.built[name].data_version for name in stage.inputs}
        before = self.built.get(stage.asset)
        cause = Cause(kind=CauseKind.INPUT, what=stage.inputs[0], old=before.data_version if before else None)
        return Record(
            asset=stage.asset,
            data_version=version,
            code_version=self.code_versions[stage.asset],
            desired_state=desired_state(stage.asset, self.code_versions[stage.asset], inputs),
            inputs=inputs,
            params=dict(stage.params),
            code=self.code.definitions(stage.code),
            code_rule=CODE_RULE,
            causes=(cause,),
            size_bytes=4096,
            files=3,
            started_at=datetime.now(UTC).isoformat(timespec="seconds"),
            duration_s=12.5,
            run_id=run,
            **self.surroundings,
        )

    def _facts(self, record: Record) -> dict[str, Any]:
        return {
            "headline": "mAP@50 0.799 on test, 0.737 on val",
            **{f"latency_ms_p{number}": 1.5 + number for number in (50, 95, 99)},
            "rebuilt_because": "; ".join(map(str, record.causes)),
            "size_bytes": record.size_bytes,
            "duration_s": record.duration_s,
            "record": dg.MetadataValue.json(record.model_dump(mode="json")),
        }

    def _judge(self, stage: Stage, run: str, made: Version | None) -> None:
        """Write the evaluations of the ``builds`` check and of every gate."""
        if stage.is_observed or made is None:
            return
        mine = self.built[stage.asset]
        finish = {STATE_KEY: str(mine.state), "data_version": mine.data_version, "duration_s": 12.5}
        self._evaluate(stage, BUILDS_CHECK, finish, run, made)
        for gate in stage.gates:
            read = {name: self.built[name].data_version for name in (stage.asset, *gate.inputs)}
            metadata = {
                "facts": dg.MetadataValue.json({"map50": 0.799388, "checkpoint_map50": 0.799208, "images": 200}),
                STATE_KEY: gate_state(stage.asset, gate, self.built, self.code),
                READ_KEY: dg.MetadataValue.json(read),
            }
            self._evaluate(stage, gate.name, metadata, run, made)

    def _evaluate(self, stage: Stage, check: str, metadata: Mapping[str, Any], run: str, made: Version) -> None:
        evaluation = dg.AssetCheckEvaluation(
            asset_key=asset_key(stage.asset),
            check_name=check,
            passed=True,
            blocking=check != BUILDS_CHECK,
            description="mAP@50 on test 79.94, checkpoint 79.92: 0.02 points gained (may lose 1)",
            metadata=metadata,
            target_materialization_data=Target(storage_id=made.storage_id, run_id=run, timestamp=0.0),
        )
        self._report(dg.DagsterEventType.ASSET_CHECK_EVALUATION, evaluation, run)

    def _report(self, kind: dg.DagsterEventType, data: Any, run: str) -> None:
        event = dg.DagsterEvent(kind.value, job_name=_JOB, event_specific_data=data)
        self.instance.report_dagster_event(event, run_id=run)


def _written(project: Project, contents: Mapping[str, str]) -> dict[str, str]:
    """Write an artifact of three small files for each name in one batch; return the versions."""
    versions = {}
    with batch_into(Cache(project.store.cache)) as batch:
        for name, content in contents.items():
            files = {"model.bin": content * 50, "manifest.json": f'{{"of": "{content}"}}', "NOTICE": "synthetic\n"}
            entries = []
            for relpath, text in files.items():
                payload = text.encode()
                md5 = hashlib.md5(payload, usedforsecurity=False).hexdigest()
                batch.write(md5, payload)
                entries.append((relpath, md5))
            tree = tree_of(entries)
            batch.write(tree.digest, tree.payload)
            versions[name] = tree.digest
    return versions
