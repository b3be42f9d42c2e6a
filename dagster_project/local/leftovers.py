"""What a build has left: each cause with a fix of its own.

Each asset has been attempted once. What is not fresh now is a gate that did not pass, an input that could not be
observed, a device that has not reported itself, or a change that happened during the build. What waits for one of these
is not named again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import dagster as dg

from dagster_project.instance.reader import failed_gates
from dagster_project.instance.status import ProjectStatus
from robot_assets.core.errors import RobotAssetsError
from robot_assets.core.text import plural
from robot_assets.lineage.staleness import State
from robot_assets.pipeline.observing import why_unseen
from robot_assets.pipeline.project import Project


class BuildError(RobotAssetsError):
    """A step or a gate failed; what does not depend on it has been built."""


@dataclass(frozen=True)
class _Leftover:
    """One cause: the three parts of an error."""

    found: str
    needed: str
    fix: str

    def __str__(self) -> str:
        return f"{self.found}\n      fix: {self.fix}"


def refuse_leftovers(project: Project, instance: dg.DagsterInstance, status: ProjectStatus, again: str) -> None:
    """Raise when something is not fresh after a build.

    Args:
        project: The project.
        instance: Its instance.
        status: Read after the last attempt.
        again: The command that was run.

    Raises:
        BuildError: Every cause with its fix.
    """
    causes = [*_failed_gates(instance, status), *_unobserved(project, status), *_changed(instance, status, again)]
    if not causes:
        return
    if len(causes) == 1:
        raise BuildError(causes[0].found, needed=causes[0].needed, fix=causes[0].fix)
    listed = "".join(f"\n    {cause}" for cause in causes)
    raise BuildError(
        f"{plural(len(causes), 'cause')} left assets that were not built or are not to be used:{listed}",
        needed="; ".join(dict.fromkeys(cause.needed for cause in causes)),
        fix=f"{again}   # after the fixes above",
    )


def _failed_gates(instance: dg.DagsterInstance, status: ProjectStatus) -> Iterator[_Leftover]:
    failed = [name for name, found in status.found.items() if found.state is State.GATE_FAILED]
    for gate in failed_gates(instance, status.graph, failed):
        waits = any(gate.asset in stage.inputs for stage in status.graph.values())
        yield _Leftover(
            f"{gate.asset}: the gate {gate.name} did not pass: {gate.summary}",
            needed="every gate to pass" + (f"; what depends on {gate.asset} was not built" if waits else ""),
            fix=gate.fix,
        )


def _unobserved(project: Project, status: ProjectStatus) -> Iterator[_Leftover]:
    missing = [name for name, found in status.found.items() if found.state is State.MISSING]
    for name in (name for name in missing if status.graph[name].is_observed):
        error = status.refused.get(name) or why_unseen(project, name)
        found = error.found if error.found.startswith(name) else f"{name}: {error.found}"
        yield _Leftover(found, error.needed, error.fix)


def _changed(instance: dg.DagsterInstance, status: ProjectStatus, again: str) -> Iterator[_Leftover]:
    """Assets that were built, and are not up to date again.

    A rollout never rests: robots report while it is built, and the next build decides by what they say then.
    """
    built = [name for name, stage in status.graph.items() if not stage.is_urgent]
    ready = [
        name for name in built if status.found[name].is_ready and status.found[name].state is not State.GATE_FAILED
    ]
    causes: Mapping[str, tuple[str, ...]] = status.causes(instance, ready)
    for name in ready:
        yield _Leftover(
            f"{name} was built, and is not up to date: {'; '.join(causes[name])}",
            needed="code, parameters and inputs that do not change during a build",
            fix=again,
        )
