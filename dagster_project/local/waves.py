"""Builds in this process: what is missing or stale, wave by wave, on the same instance as the UI.

A wave is everything whose inputs are fresh. After each wave the status is read again, so that an asset with the same
bytes as before cuts off what follows it (docs/decisions/003-build-in-waves.md).
"""

from __future__ import annotations

import shlex
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import dagster as dg

from dagster_project.instance.selection import select
from dagster_project.instance.status import observe_and_read
from dagster_project.keys import asset_key
from dagster_project.local.leftovers import BuildError, refuse_leftovers
from robot_assets.lineage.staleness import State, Status
from robot_assets.pipeline.project import Project

_INTERRUPTED = ("DagsterExecutionInterruptedError", "KeyboardInterrupt")
_WAVE_TAG = "robot_assets/wave"
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class BuildInterrupted(KeyboardInterrupt):
    """A person has ended the build; what was built before is recorded."""


@dataclass(frozen=True)
class Wave:
    """What one run materializes, and the gates that it evaluates again on assets that are fresh."""

    assets: tuple[str, ...]
    gates: tuple[tuple[str, str], ...]


def build(
    project: Project,
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    selection: Sequence[str],
    announce: Callable[[str, Status, Sequence[str]], None],
) -> tuple[str, ...]:
    """Bring the selection and its ancestors up to date.

    Args:
        project: The project of ``definitions``.
        definitions: Its code location.
        instance: Where runs and history are kept.
        selection: Asset names, model names, or Dagster asset selections; empty is everything.
        announce: Called with each asset, its status and its causes before it is built.

    Returns:
        The assets of the selection and their ancestors, in graph order.

    Raises:
        SelectionError: A selection names nothing.
        BuildError: A step failed, a gate did not pass, or an input could not be observed.
        BuildInterrupted: The build was interrupted.
    """
    again = shlex.join(["robot-assets", "build", *selection])
    wanted = select(project, definitions, selection, "robot-assets build")
    attempted: set[str] = set()
    while True:
        status = observe_and_read(project, instance, wanted)
        todo = _next(status.found, attempted)
        if not todo:
            break
        causes = status.causes(instance, todo)
        for name, found in todo.items():
            announce(name, found, causes[name])
        _run(definitions, instance, _wave(todo), again)
        attempted |= {str(found.desired_state) if found.kept else name for name, found in todo.items()}
    refuse_leftovers(project, instance, status, again)
    return tuple(status.found)


def _next(found: Mapping[str, Status], attempted: Collection[str]) -> dict[str, Status]:
    """What to build next; orders that wait for no input come first, and are built again once their inputs are fresh.

    Args:
        found: The present statuses.
        attempted: Assets that were built, and desired states of orders.
    """
    todo = {
        name: status
        for name, status in found.items()
        if status.is_ready and name not in attempted and status.desired_state not in attempted
    }
    return {name: status for name, status in todo.items() if status.kept} or todo


def _wave(todo: Mapping[str, Status]) -> Wave:
    rerun_gates = {name for name, status in todo.items() if status.state in (State.GATE_DUE, State.GATE_FAILED)}
    return Wave(
        assets=tuple(name for name in todo if name not in rerun_gates),
        gates=tuple((name, gate) for name in todo if name in rerun_gates for gate in todo[name].due_gates),
    )


def _run(definitions: dg.Definitions, instance: dg.DagsterInstance, wave: Wave, again: str) -> None:
    selection = dg.AssetSelection.assets(*map(asset_key, wave.assets)) | dg.AssetSelection.checks(
        *(dg.AssetCheckKey(asset_key(asset), gate) for asset, gate in wave.gates)
    )
    tag = str(uuid.uuid4())
    with _ending_run(instance, tag):
        result = dg.materialize(
            [*(definitions.assets or []), *(definitions.asset_checks or [])],
            selection=selection,
            instance=instance,
            resources=definitions.resources,
            run_config=_QUIET,
            raise_on_error=False,
            tags={_WAVE_TAG: tag},
        )
    failed = [event for event in result.all_events if event.is_step_failure and not _is_refusal(event)]
    if failed:
        raise _step_error(failed[0], result.run_id, again, _assets(wave))


@contextmanager
def _ending_run(instance: dg.DagsterInstance, tag: str) -> Iterator[None]:
    """Record the end of a run that an exception has ended outside of its steps; the sensor would wait for it."""
    try:
        yield
    except BaseException:
        # the exception may be about the instance itself; then it cannot be recorded
        with suppress(Exception):
            for run in instance.get_runs(filters=dg.RunsFilter(tags={_WAVE_TAG: tag})):
                if not run.is_finished:
                    instance.report_run_canceled(run)
        raise


def _assets(wave: Wave) -> Iterator[str]:
    yield from wave.assets
    yield from (asset for asset, _ in wave.gates)


def _is_refusal(event: dg.DagsterEvent) -> bool:
    """Whether a step failed because its blocking gate did not pass; the gate says more, once all has been read."""
    error = event.step_failure_data.error
    return error is not None and error.cls_name == "DagsterAssetCheckFailedError"


def _step_error(event: dg.DagsterEvent, run_id: str, again: str, names: Iterable[str]) -> BuildError | BuildInterrupted:
    """A failed step as an error: in our own words where the domain raised it."""
    asset, data = _asset_of_step(event.step_key or "", names), event.step_failure_data
    failure = data.user_failure_data
    if failure and failure.metadata and "fix" in failure.metadata:
        found, needed, fix = (str(failure.metadata[key].value) for key in ("found", "needed", "fix"))
        return BuildError(f"{asset}: {found}", needed=needed, fix=fix)
    if data.error and data.error.cls_name in _INTERRUPTED:
        return BuildInterrupted(f"interrupted while building {asset}; to continue: {again}")
    cause = data.error
    while cause is not None and cause.cause is not None:
        cause = cause.cause
    reason = " ".join(cause.message.split()) if cause else "no reason given"
    error = BuildError(
        f"{asset} failed: {reason}",
        needed="a step that ends without an error",
        fix=f"robot-assets ui   # the log of run {run_id} has the traceback, as does --debug; then: {again}",
    )
    error.add_note(data.error.to_string() if data.error else "")
    return error


def _asset_of_step(step: str, names: Iterable[str]) -> str:
    """The asset of a step such as ``datasets__yard`` or ``datasets__yard_gates``."""
    steps = {asset_key(name).to_python_identifier(): name for name in names}
    asset = steps.get(step) or steps.get(step.removesuffix("_gates"))
    return asset or step or "a step"
