"""The workshop: what an asset body gets its inputs from and hands its output to.

One step of one run: resolve the inputs to hashes, open them read-only from the store, give the domain function
an output folder, add what it wrote to the store, and say what happened as a record and as metadata.
"""

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
from dagster_project.instance.signing import attest_engine
from dagster_project.keys import BUILDS_CHECK
from dagster_project.local import gc_tuning as short_lived
from dagster_project.observed import observed_version, open_observed, refuse_other_platform
from dagster_project.observing.observations import latest_observed_version
from robot_assets.core import progress
from robot_assets.core.errors import DataError, RobotAssetsError, StoreError
from robot_assets.lineage.causes import causes_of
from robot_assets.lineage.code_version import load, running_code
from robot_assets.lineage.graph import Stage, platform_name
from robot_assets.lineage.license_notice import carry_notice
from robot_assets.lineage.record import Cause, Record, desired_state, surroundings
from robot_assets.lineage.report.summary import summary
from robot_assets.pipeline.project import Project
from robot_assets.store.pins import letting_go

RECORD_KEY = "record"
HEADLINE_KEY = "headline"
_SECONDS_BETWEEN_LOG_LINES = 15.0


@dataclass
class Step:
    """One materialization of one stage, from resolved inputs to the returned result."""

    context: dg.AssetExecutionContext
    project: Project
    stage: Stage
    inputs: Mapping[str, str]
    started: float = field(default_factory=time.monotonic)
    started_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    opened: dict[str, Path] = field(default_factory=dict)

    @property
    def module(self) -> str:
        if self.stage.module is None:
            raise RuntimeError(f"{self.stage.asset} is observed, not produced: nothing here makes it")
        return self.stage.module

    @cached_property
    def code_version(self) -> str:
        return running_code().version(self.module, self.stage.params)

    @cached_property
    def causes(self) -> tuple[Cause, ...]:
        """What had changed since the materialization before this one."""
        name = self.stage.asset
        before = latest_records(self.context.instance, [name]).get(name)
        return causes_of(self.stage, before, self.inputs, running_code())

    @cached_property
    def desired_state(self) -> str:
        return desired_state(self.stage.asset, self.code_version, self.inputs)

    @property
    def output(self) -> Path:
        """Where the domain function publishes its artifact."""
        return self.bench / "output"

    @property
    def scratch(self) -> Path:
        """Survives a killed run: the next run for the same desired state finds it again."""
        return self.bench / "scratch"

    @property
    def bench(self) -> Path:
        """The folder of this desired state: one run at a time works in it."""
        return self.project.state / "work" / self.desired_state

    def input(self, name: str) -> Path:
        """Open an input, read-only, at exactly the version that the record will name."""
        path = open_observed(self.project, name, self.inputs[name]) or self.project.store.open(self.inputs[name])
        self.opened[name] = path
        return path

    def refuse_other_platform(self, target: str) -> None:
        """Make sure that this machine is the device that lineage knows as ``target``."""
        refuse_other_platform(self.project, target, self.inputs[platform_name(target)])

    def materialized(self, headline: str, metadata: Mapping[str, Any]) -> dg.MaterializeResult:
        """Add the output to the store and say what was made, of what, and how long it took."""
        return self._result(self._stored(), headline, metadata)

    def signed(self, headline: str, metadata: Mapping[str, Any]) -> dg.MaterializeResult:
        """As ``materialized``, for an engine: sign how it was made, on the device that made it."""
        record = self._stored()
        chain = attest_engine(self.project, self.context.instance, record)
        return self._result(record, headline, {**metadata, "audit": dg.MetadataValue.md(summary(chain))})

    def _stored(self) -> Record:
        if self.opened.keys() != set(self.stage.inputs):
            raise RuntimeError(
                f"{self.stage.asset} declares inputs {sorted(self.stage.inputs)} and opened {sorted(self.opened)}"
            )
        carry_notice(self.opened.values(), self.output)
        artifact = self.project.store.add(self.output)
        return Record(
            asset=self.stage.asset,
            data_version=artifact.digest,
            code_version=self.code_version,
            desired_state=self.desired_state,
            inputs=dict(self.inputs),
            params=dict(self.stage.params),
            modules=running_code().modules(self.module),
            causes=self.causes,
            size_bytes=artifact.size_bytes,
            files=artifact.files,
            started_at=self.started_at,
            duration_s=round(time.monotonic() - self.started, 3),
            run_id=self.context.run.run_id,
            **surroundings(self.project.root),
        )

    def _result(self, record: Record, headline: str, metadata: Mapping[str, Any]) -> dg.MaterializeResult:
        shutil.rmtree(self.bench)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(record.data_version),
            metadata={
                HEADLINE_KEY: headline,
                **metadata,
                "rebuilt_because": "; ".join(map(str, self.causes)) or "somebody asked: nothing had changed",
                "size_bytes": record.size_bytes,
                "duration_s": record.duration_s,
                RECORD_KEY: dg.MetadataValue.json(record.model_dump(mode="json")),
            },
            check_results=[self._checked_in(record)],
        )

    def _checked_in(self, record: Record) -> dg.AssetCheckResult:
        """The short row that staleness reads, for thousands of assets at once, instead of this page."""
        return dg.AssetCheckResult(
            check_name=BUILDS_CHECK,
            passed=True,
            metadata={
                STATE_KEY: record.desired_state,
                "data_version": record.data_version,
                "duration_s": record.duration_s,
            },
        )


class Workshop(dg.ConfigurableResource):
    """Opens a project's store for asset bodies and checks."""

    root: str

    @property
    def project(self) -> Project:
        return Project(Path(self.root))

    @contextmanager
    def step(self, context: dg.AssetExecutionContext, stage: Stage) -> Iterator[Step]:
        """Run one stage: its progress is logged, and an error that a person can mend reads as one."""
        with failing_readably(), letting_go(), progress.listening(_logging(context)):
            inputs = {name: self.version(context.instance, name) for name in stage.inputs}
            step = Step(context, self.project, stage, inputs)
            load(step.module)
            short_lived.work_begins()
            with _alone(step.bench, stage.asset):
                yield step

    def version(self, instance: dg.DagsterInstance, name: str) -> str:
        """The present data version of an asset: read off the world where it can be, else from the instance."""
        version = (
            observed_version(self.project, name)
            or latest_data_version(instance, name)
            or latest_observed_version(instance, name)
        )
        if version is None:
            raise DataError(
                f"{name} has no version yet",
                needed=f"a materialization of {name} before what reads it",
                fix=f"robot-assets build {name}",
            )
        return version

    def open(self, name: str, version: str) -> Path:
        """Open an asset at a version, read-only."""
        project = self.project
        return open_observed(project, name, version) or project.store.open(version)


@contextmanager
def _alone(bench: Path, asset: str) -> Iterator[None]:
    """Hold the bench of a desired state; a second run for it would work on the same files.

    Raises:
        StoreError: Another process on this machine holds it.
    """
    bench.mkdir(parents=True, exist_ok=True)
    with open(bench / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError(
                f"another run on this machine is making {asset} from the same code and inputs",
                needed="one run at a time for one desired state",
                fix="wait for the other run: what it makes is what this one would have made",
            ) from None
        yield


@contextmanager
def failing_readably() -> Iterator[None]:
    """Turn an error that a person can mend into a Dagster failure without a retry: trying again won't help."""
    try:
        yield
    except RobotAssetsError as error:
        raise dg.Failure(
            description=f"{error.found}\n\nneeded: {error.needed}\n\nfix: {error.fix}",
            metadata={"found": error.found, "needed": error.needed, "fix": error.fix},
            allow_retries=False,
        ) from error


def _logging(context: dg.AssetExecutionContext) -> progress.Listener:
    """Pass progress on to the terminal, and log a line every so often for who watches in the UI."""
    outer = progress.current()
    last = 0.0

    def listen(what: str, done: int, total: int, note: str) -> None:
        nonlocal last
        outer(what, done, total, note)
        now = time.monotonic()
        if now - last >= _SECONDS_BETWEEN_LOG_LINES:
            last = now
            context.log.info(f"{what}: {done} of {total} {note}".rstrip())

    return listen
