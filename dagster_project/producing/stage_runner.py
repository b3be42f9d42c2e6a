"""Runs one step of one stage: from resolved inputs to a stored artifact, its record and its materialization.

The domain function gets paths and frozen parameters and writes into an output folder; this module stores and records
the result.
"""

import errno
import fcntl
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg

from dagster_project.instance.reader import STATE_KEY, latest_data_version, latest_records
from dagster_project.instance.signing import attest_artifact
from dagster_project.instance.status import read
from dagster_project.keys import BUILDS_CHECK
from dagster_project.local import gc_tuning
from dagster_project.observing.observations import latest_observed_version
from dagster_project.producing.pages import HEADLINE_KEY, PAGE_KEY, facts_metadata, problem_metadata
from robot_assets.core import progress
from robot_assets.core.errors import DataError, RobotAssetsError, StoreError
from robot_assets.core.os_errors import system_error
from robot_assets.lineage.causes import causes_of
from robot_assets.lineage.code import CODE_RULE, load, running_code
from robot_assets.lineage.graph import Stage
from robot_assets.lineage.license_notice import carry_notice
from robot_assets.lineage.record import Cause, Record, desired_state, surroundings
from robot_assets.lineage.report.summary import summary as audit_summary
from robot_assets.pipeline.kind import Production, Step
from robot_assets.pipeline.names import AssetName
from robot_assets.pipeline.observing import observed_version, open_version
from robot_assets.pipeline.project import Project
from robot_assets.store.pins import released

RECORD_KEY = "record"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_SECONDS_BETWEEN_LOG_LINES = 15.0


@dataclass(frozen=True)
class _OpenedOnDemand(Mapping[str, Path]):
    """Paths of inputs by asset, each opened when it is asked for."""

    project: Project
    versions: Mapping[str, str]

    def __getitem__(self, name: str) -> Path:
        return open_version(self.project, name, self.versions[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self.versions)

    def __len__(self) -> int:
        return len(self.versions)


@dataclass
class StageRun:
    """One materialization of one stage."""

    context: dg.AssetExecutionContext
    project: Project
    stage: Stage
    name: AssetName
    versions: Mapping[str, str]
    started: float = field(default_factory=time.monotonic)
    started_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    @cached_property
    def step(self) -> Step:
        """The argument of the domain function: every input is open at the version that the record will name.

        The inputs of an urgent stage are opened when they are asked for: an order must not wait for a download, nor
        fail because bytes that it does not read are lost.
        """
        opened = _OpenedOnDemand(self.project, self.versions)
        return Step(
            stage=self.stage,
            name=self.name,
            inputs=opened if self.stage.is_urgent else dict(opened),
            versions=self.versions,
            output=self.workdir / "output",
            scratch=self.workdir / "scratch",
            store=self.project.store,
            note=self.context.log.info,
            project=self.project,
        )

    @property
    def workdir(self) -> Path:
        """The folder of this desired state. One run at a time uses it, and resumes from the files of a killed run."""
        return self.project.state / "work" / self.desired_state

    @cached_property
    def code_version(self) -> str:
        return running_code().version(self.stage.code, self.stage.params)

    @cached_property
    def causes(self) -> tuple[Cause, ...]:
        """The changes since the last materialization."""
        name = self.stage.asset
        before = latest_records(self.context.instance, [name]).get(name)
        return causes_of(self.stage, before, self.versions, running_code())

    @cached_property
    def desired_state(self) -> str:
        return desired_state(self.stage.asset, self.code_version, self.versions)

    def materialized(self, production: Production, summary: object) -> dg.MaterializeResult:
        """Store the output, and return the materialization with its record."""
        record = self._stored()
        signed: dict[str, Any] = {}
        if production.is_signed:
            chain = attest_artifact(self.project, self.context.instance, record)
            signed = {"audit": dg.MetadataValue.md(audit_summary(chain))}
        return dg.MaterializeResult(
            data_version=dg.DataVersion(record.data_version),
            metadata={
                **self._facts(production, summary),
                PAGE_KEY: dg.MetadataValue.url(f"/assets/{self.stage.asset}?view=events"),
                **signed,
                "rebuilt_because": "; ".join(map(str, self.causes)) or "requested: nothing had changed",
                "size_bytes": record.size_bytes,
                "duration_s": record.duration_s,
                RECORD_KEY: dg.MetadataValue.json(record.model_dump(mode="json")),
            },
            check_results=[_build_check(self.stage, record)],
        )

    def clean_up(self) -> None:
        """Remove the work folder after its output is stored and recorded."""
        shutil.rmtree(self.workdir)

    def _stored(self) -> Record:
        carry_notice(() if self.stage.is_urgent else self.step.inputs.values(), self.step.output)
        artifact = self.project.store.add(self.step.output)
        return Record(
            asset=self.stage.asset,
            data_version=artifact.digest,
            code_version=self.code_version,
            desired_state=self.desired_state,
            inputs=dict(self.versions),
            params=dict(self.stage.params),
            code=running_code().definitions(self.stage.code),
            code_rule=CODE_RULE,
            causes=self.causes,
            size_bytes=artifact.size_bytes,
            files=artifact.files,
            started_at=self.started_at,
            duration_s=round(time.monotonic() - self.started, 3),
            run_id=self.context.run.run_id,
            **surroundings(self.project.root),
        )

    def _facts(self, production: Production, summary: object) -> dict[str, Any]:
        try:
            return facts_metadata(production.facts(summary))
        except Exception as error:  # figures of a page are not worth the artifact, which is stored by now
            self.context.log.warning(f"the figures of {self.stage.asset} cannot be shown: {error!r}")
            return {HEADLINE_KEY: "no figures", **problem_metadata("reading the figures", error)}


def _build_check(stage: Stage, record: Record) -> dg.AssetCheckResult:
    """The small row that staleness reads instead of whole records, for thousands of assets at once."""
    inputs = {"inputs": dg.MetadataValue.json(record.inputs)} if stage.is_urgent else {}
    return dg.AssetCheckResult(
        check_name=BUILDS_CHECK,
        passed=True,
        metadata={
            STATE_KEY: record.desired_state,
            "data_version": record.data_version,
            "duration_s": record.duration_s,
            **inputs,
        },
    )


class StageRunner(dg.ConfigurableResource):
    """Runs the steps of a project, and opens its store for checks."""

    root: str

    @property
    def project(self) -> Project:
        return Project(Path(self.root))

    @contextmanager
    def step(self, context: dg.AssetExecutionContext, stage: Stage, name: AssetName) -> Iterator[StageRun]:
        """Run one stage; log its progress, and turn a RobotAssetsError into a readable Dagster failure."""
        with failing_readably(self.project.state / "work"), released(), progress.listening(_logging(context)):
            versions = self._versions(context.instance, stage)
            run = StageRun(context, self.project, stage, name, versions)
            load(stage.code)
            gc_tuning.work_begins()
            with _exclusive(run.workdir, stage.asset):
                yield run

    def _versions(self, instance: dg.DagsterInstance, stage: Stage) -> dict[str, str]:
        """The versions that a step reads; those of its last build where the inputs of an urgent stage are not fresh."""
        kept: Mapping[str, str] = {}
        if stage.is_urgent:
            kept = read(self.project, instance, [stage.asset]).found[stage.asset].kept
        return {name: kept.get(name) or self.version(instance, name) for name in stage.inputs}

    def version(self, instance: dg.DagsterInstance, name: str) -> str:
        """The present data version of an asset: observed where that is possible, else from the instance."""
        version = (
            observed_version(self.project, name)
            or latest_data_version(instance, name)
            or latest_observed_version(instance, name)
        )
        if version is None:
            raise DataError(
                f"{name} has no version yet",
                needed=f"a materialization of {name} before the assets that depend on it",
                fix=f"robot-assets build {name}",
            )
        return version

    def open(self, name: str, version: str) -> Path:
        """Open an asset at a version, read-only."""
        return open_version(self.project, name, version)


@contextmanager
def _exclusive(workdir: Path, asset: str) -> Iterator[None]:
    """Lock the work folder of a desired state: a second run for it would write the same files.

    Raises:
        StoreError: Another process on this machine has the lock.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    with open(workdir / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError(
                f"another run on this machine is making {asset} from the same code and inputs",
                needed="one run at a time for one desired state",
                fix="wait for the other run: its result is the same",
            ) from None
        yield


@contextmanager
def failing_readably(workdir: Path | None = None) -> Iterator[None]:
    """Turn a RobotAssetsError, or one of the operating system, into a readable Dagster failure.

    Only a failed connection is worth another attempt.

    Args:
        workdir: The folder that the block writes to: a write to a full disk does not say where it was.
    """
    try:
        yield
    except RobotAssetsError as error:
        raise _failure(error) from error
    except OSError as error:
        if error.filename is None and error.errno in _FULL and workdir is not None:
            error.filename = str(workdir)
        found = system_error(error)
        if found is None:
            raise
        raise _failure(found, allow_retries=isinstance(error, ConnectionError | TimeoutError)) from error


def _failure(error: RobotAssetsError, allow_retries: bool = False) -> dg.Failure:
    return dg.Failure(
        description=f"{error.found}\n\nneeded: {error.needed}\n\nfix: {error.fix}",
        metadata={"found": error.found, "needed": error.needed, "fix": error.fix},
        allow_retries=allow_retries,
    )


def _logging(context: dg.AssetExecutionContext) -> progress.Listener:
    """Forward progress to the terminal, and log a line at intervals for the UI."""
    outer = progress.current_listener()
    last = 0.0

    def listen(what: str, done: int, total: int, note: str) -> None:
        nonlocal last
        outer(what, done, total, note)
        now = time.monotonic()
        if now - last >= _SECONDS_BETWEEN_LOG_LINES:
            last = now
            context.log.info(f"{what}: {done} of {total} {note}".rstrip())

    return listen
