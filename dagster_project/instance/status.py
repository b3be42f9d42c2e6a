"""The status of a project, from its parameters, its code, its history and its store at one time.

``build``, ``plan`` and the rebuild sensor all read it here, so that they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import dagster as dg

from dagster_project.instance.reader import latest_builds, latest_records
from dagster_project.observing.observations import is_new, latest_observation, new_observation, observed_data_version
from robot_assets.core.errors import RobotAssetsError
from robot_assets.core.gc_pause import paused_gc
from robot_assets.core.os_errors import system_error
from robot_assets.lineage.causes import explain
from robot_assets.lineage.code import Code
from robot_assets.lineage.graph import Stage, with_ancestors
from robot_assets.lineage.plan import Step, make_plan
from robot_assets.lineage.staleness import Built, State, Status, statuses
from robot_assets.pipeline.graph import build_graph
from robot_assets.pipeline.kind import Observer
from robot_assets.pipeline.observing import observe, require_available
from robot_assets.pipeline.project import Project


@dataclass(frozen=True)
class ProjectStatus:
    """The status of some stages at one time.

    Attributes:
        graph: The stages, inputs before their readers.
        built: The latest version of each that has one.
        code: The code at that time.
        found: The status of each.
        refused: Why an observed asset could not be observed, by asset.
    """

    graph: dict[str, Stage]
    built: dict[str, Built]
    code: Code
    found: dict[str, Status]
    refused: Mapping[str, RobotAssetsError] = field(default_factory=dict)

    def causes(self, instance: dg.DagsterInstance, names: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Why each of ``names`` is not fresh. Reads whole records, but only of these assets."""
        wanted = [name for name in names if not self.found[name].is_fresh]
        stale = [name for name in wanted if self.found[name].state is State.STALE]
        records = latest_records(instance, stale)
        return {
            name: (self.refused[name].found,)
            if name in self.refused
            else explain(self.graph[name], self.found[name], self.built, records.get(name), self.code)
            for name in wanted
        }

    def plan(self, instance: dg.DagsterInstance) -> tuple[Step, ...]:
        """The planned step and its causes for everything that is not fresh."""
        causes = self.causes(instance, self.found)
        return make_plan(self.graph, self.found, self.built, causes)


def read(project: Project, instance: dg.DagsterInstance, names: Iterable[str] | None = None) -> ProjectStatus:
    """The status of ``names`` (all assets when None) and their ancestors, by the latest observations."""
    graph = build_graph(project.params)
    if names is not None:
        graph = {name: graph[name] for name in with_ancestors(graph, names)}
    return _status(project, instance, graph, None, {})


def observe_and_read(project: Project, instance: dg.DagsterInstance, names: Iterable[str]) -> ProjectStatus:
    """As ``read``, after observing all observed assets; changes are recorded.

    An asset that cannot be observed counts as never observed, with its error in ``refused``.
    """
    graph = build_graph(project.params)
    graph = {name: graph[name] for name in with_ancestors(graph, names)}
    observer = Observer(project)
    versions: dict[str, str] = {}
    refused: dict[str, RobotAssetsError] = {}
    for name in (stage.asset for stage in graph.values() if stage.is_observed):
        try:
            version = _observe(observer, instance, name)
        except (RobotAssetsError, OSError) as error:
            refused[name] = _in_three_parts(error)
            continue
        if version is not None:
            versions[name] = version
    return _status(project, instance, graph, versions, refused)


def _in_three_parts(error: RobotAssetsError | OSError) -> RobotAssetsError:
    if isinstance(error, RobotAssetsError):
        return error
    found = system_error(error)
    if found is None:
        raise error
    return found


@paused_gc()
def _status(
    project: Project,
    instance: dg.DagsterInstance,
    graph: dict[str, Stage],
    observed: Mapping[str, str] | None,
    refused: Mapping[str, RobotAssetsError],
) -> ProjectStatus:
    code = Code()
    built = latest_builds(instance, graph, project.store, observed)
    return ProjectStatus(graph, built, code, statuses(graph, built, code), refused)


def _observe(observer: Observer, instance: dg.DagsterInstance, name: str) -> str | None:
    """The present version of an observed asset, recorded when it differs from the last observation."""
    last = latest_observation(instance, name)
    sighting = observe(observer, name)
    if sighting is None or not is_new(sighting, last):
        return observed_data_version(last)
    require_available(observer.project, name, sighting.version)
    instance.report_runless_asset_event(new_observation(name, sighting, last))
    return sighting.version
