"""Builds in this process: what is missing or stale, wave by wave, on the same instance as the UI.

A wave is everything whose inputs are fresh. After each wave the status is read again, so that an asset with the same
bytes as before cuts off what follows it (docs/decisions/003-build-in-waves.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

from dagster_project.instance.reader import gate_descriptions
from dagster_project.instance.selection import select
from dagster_project.instance.status import ProjectStatus, observe_and_read
from dagster_project.keys import asset_key
from robot_assets.core.errors import RobotAssetsError
from robot_assets.lineage.staleness import State, Status
from robot_assets.pipeline.project import Project

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class BuildError(RobotAssetsError):
    """A step or a gate failed; what does not depend on it has been built."""


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
    """
    wanted = select(project, definitions, selection, "robot-assets build")
    attempted: set[str] = set()
    while True:
        status = observe_and_read(project, instance, wanted)
        todo = {name: found for name, found in status.found.items() if found.is_ready and name not in attempted}
        if not todo:
            break
        causes = status.causes(instance, todo)
        for name, found in todo.items():
            announce(name, found, causes[name])
        _run(definitions, instance, _wave(todo))
        attempted |= set(todo)
    _refuse_leftovers(instance, status)
    return tuple(status.found)


def _wave(todo: Mapping[str, Status]) -> Wave:
    rerun_gates = {name for name, status in todo.items() if status.state in (State.GATE_DUE, State.GATE_FAILED)}
    return Wave(
        assets=tuple(name for name in todo if name not in rerun_gates),
        gates=tuple((name, gate) for name in todo if name in rerun_gates for gate in todo[name].due_gates),
    )


def _run(definitions: dg.Definitions, instance: dg.DagsterInstance, wave: Wave) -> None:
    selection = dg.AssetSelection.assets(*map(asset_key, wave.assets)) | dg.AssetSelection.checks(
        *(dg.AssetCheckKey(asset_key(asset), gate) for asset, gate in wave.gates)
    )
    result = dg.materialize(
        [*(definitions.assets or []), *(definitions.asset_checks or [])],
        selection=selection,
        instance=instance,
        resources=definitions.resources,
        run_config=_QUIET,
        raise_on_error=False,
    )
    failed = [event for event in result.all_events if event.is_step_failure and not _is_refusal(event)]
    if failed:
        raise _step_error(failed[0], result.run_id)


def _is_refusal(event: dg.DagsterEvent) -> bool:
    """Whether a step failed because its blocking gate did not pass; the gate says more, once all has been read."""
    error = event.step_failure_data.error
    return error is not None and error.cls_name == "DagsterAssetCheckFailedError"


def _step_error(event: dg.DagsterEvent, run_id: str) -> BuildError:
    """A failed step as an error: in our own words where the domain raised it."""
    step, data = event.step_key or "a step", event.step_failure_data
    failure = data.user_failure_data
    if failure and failure.metadata and "fix" in failure.metadata:
        found, needed, fix = (str(failure.metadata[key].value) for key in ("found", "needed", "fix"))
        return BuildError(f"{step}: {found}", needed=needed, fix=fix)
    if data.error and data.error.cls_name == "DagsterExecutionInterruptedError":
        return BuildError(
            f"{step} was interrupted",
            needed="a build that ends by itself",
            fix="run the same build again: training continues after the last complete epoch",
        )
    return BuildError(
        f"{step} failed in run {run_id}: {data.error.to_string() if data.error else 'no reason given'}",
        needed="a step that ends without an error",
        fix="fix what the error names, then run the same build again",
    )


def _refuse_leftovers(instance: dg.DagsterInstance, status: ProjectStatus) -> None:
    """Each asset has been attempted once; what is still not fresh is an error."""
    failed = [name for name, found in status.found.items() if found.state is State.GATE_FAILED]
    if failed:
        lines = gate_descriptions(instance, status.graph, failed)
        raise BuildError(
            "blocking checks did not pass; what depends on them was not built:\n    " + "\n    ".join(lines),
            needed="every blocking check to pass",
            fix="apply the fix of each check above, then run the same build again",
        )
    left = [name for name, found in status.found.items() if not found.is_fresh]
    if left:
        for name, error in status.refused.items():
            raise BuildError(f"{name}: {error.found}", needed=error.needed, fix=error.fix)
        causes = status.causes(instance, left)
        lines = [f"{name}: {'; '.join(causes[name])}" for name in left]
        raise BuildError(
            "still not fresh after the build:\n    " + "\n    ".join(lines),
            needed="code, parameters and inputs that do not change during a build",
            fix="run the same build again",
        )
