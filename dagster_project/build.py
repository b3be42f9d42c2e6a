"""``robot-assets build``: materialize what is missing or stale, wave by wave, on the same instance as the UI.

A wave is everything whose inputs are fresh. After each wave the state is read again, so that an asset which
came out with the same bytes cuts off what follows it (a single run of the whole selection could not).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

from dagster_project.instance_reader import gate_descriptions, latest_builds
from dagster_project.names import asset_key, asset_name
from dagster_project.observed import observed_version
from robot_assets.errors import RobotAssetsError
from robot_assets.lineage.graph import Stage, build_graph, with_ancestors
from robot_assets.lineage.staleness import State, Status, statuses
from robot_assets.project import Project

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class BuildError(RobotAssetsError):
    """A step or a gate failed; what does not depend on it has been built."""


@dataclass(frozen=True)
class Wave:
    """What one run materializes, and the gates that it runs again on assets that are fresh."""

    assets: tuple[str, ...]
    gates: tuple[tuple[str, str], ...]


def build(
    project: Project,
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    selection: Sequence[str],
    announce: Callable[[str, Status], None],
) -> tuple[str, ...]:
    """Bring the selection and its ancestors up to date.

    Args:
        project: The project that ``definitions`` were built of.
        definitions: Its code location.
        instance: Where runs and history are kept.
        selection: Asset names, model names, or Dagster asset-selection strings; empty is everything.
        announce: Told of each asset and why, before it is built.

    Returns:
        The assets of the selection and their ancestors, in graph order.

    Raises:
        BuildError: A step failed, or a gate did not pass.
    """
    tried: set[str] = set()
    while True:
        found = present_statuses(project, definitions, instance, selection)
        todo = {name: status for name, status in found.items() if _is_due(status) and name not in tried}
        if not todo:
            break
        for name, status in todo.items():
            announce(name, status)
        _run(definitions, instance, _wave(todo))
        tried |= set(todo)
    _refuse_failed_gates(project, instance, found)
    return tuple(found)


def present_statuses(
    project: Project, definitions: dg.Definitions, instance: dg.DagsterInstance, selection: Sequence[str]
) -> dict[str, Status]:
    """Status of the selection and its ancestors, in graph order, after observing what is observed.

    Raises:
        BuildError: A selection names nothing.
        DataError: A pointer is missing.
    """
    graph = build_graph(project.params)
    wanted = select(project, definitions, selection)
    observed = observe(project, instance, [name for name in wanted if graph[name].is_observed])
    subgraph = {name: graph[name] for name in wanted}
    return statuses(subgraph, latest_builds(instance, subgraph, project.store, observed))


def select(project: Project, definitions: dg.Definitions, selection: Sequence[str]) -> tuple[str, ...]:
    """The assets that ``selection`` names and everything that they are made of, in graph order.

    Raises:
        BuildError: A selection names nothing.
    """
    graph = build_graph(project.params)
    if not selection:
        return tuple(graph)
    asset_graph = definitions.resolve_asset_graph()
    names: set[str] = set()
    for text in selection:
        try:
            chosen = _parse(text, graph, project).resolve(asset_graph)
        except (dg.DagsterError, ValueError) as error:
            raise BuildError(
                f"{text!r} is not an asset selection: {error}",
                needed="an asset name, a model name, or a Dagster asset selection",
                fix=f"one of: {', '.join([*project.params.models, *graph])}",
            ) from None
        if not chosen:
            raise BuildError(
                f"{text!r} selects no asset",
                needed="a selection that names at least one asset",
                fix=f"one of: {', '.join([*project.params.models, *graph])}",
            )
        names |= {asset_name(key) for key in chosen}
    return with_ancestors(graph, names)


def _parse(text: str, graph: Mapping[str, Stage], project: Project) -> dg.AssetSelection:
    """Names of ours first: ``key:`` and ``group:`` need quoting that nobody remembers."""
    if text in graph:
        return dg.AssetSelection.assets(asset_key(text))
    if text in project.params.models:
        return dg.AssetSelection.groups(text)
    return dg.AssetSelection.from_string(text)


def observe(project: Project, instance: dg.DagsterInstance, names: Iterable[str]) -> dict[str, str]:
    """Read the versions of observed assets off the world, and record those that changed.

    Raises:
        DataError: A pointer is missing.
    """
    versions = {}
    for name in names:
        version = observed_version(project, name)
        if version is None:
            continue
        versions[name] = version
        if _last_observed(instance, name) != version:
            tags = {"dagster/data_version": version}
            instance.report_runless_asset_event(dg.AssetObservation(asset_key(name), tags=tags))
    return versions


def _last_observed(instance: dg.DagsterInstance, name: str) -> str | None:
    records = instance.fetch_observations(asset_key(name), limit=1).records
    observation = records[0].asset_observation if records else None
    return (observation.tags or {}).get("dagster/data_version") if observation else None


def _is_due(status: Status) -> bool:
    """Whether something can be done about it now: what waits for an ancestor has no desired state yet."""
    return status.desired_state is not None and status.state is not State.FRESH


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
    failed = [event for event in result.all_events if event.is_step_failure]
    gates_failed = any(not evaluation.passed for evaluation in result.get_asset_check_evaluations())
    # A failed blocking gate fails its step too; the gate says more, after the state has been read again.
    if failed and not gates_failed:
        raise _step_error(failed[0], result.run_id)


def _step_error(event: dg.DagsterEvent, run_id: str) -> BuildError:
    """What a person is told of a failed step: our own words where the domain raised the error."""
    step, data = event.step_key or "a step", event.step_failure_data
    failure = data.user_failure_data
    if failure and failure.metadata and "fix" in failure.metadata:
        found, needed, fix = (str(failure.metadata[key].value) for key in ("found", "needed", "fix"))
        return BuildError(f"{step}: {found}", needed=needed, fix=fix)
    if data.error and data.error.cls_name == "DagsterExecutionInterruptedError":
        return BuildError(
            f"{step} was interrupted",
            needed="the build to end by itself",
            fix="run the same build again: training goes on after the last whole epoch",
        )
    return BuildError(
        f"{step} failed in run {run_id}: {data.error.to_string() if data.error else 'no reason given'}",
        needed="a step that ends without an error",
        fix="mend what the error names, then run the same build again",
    )


def _refuse_failed_gates(project: Project, instance: dg.DagsterInstance, found: Mapping[str, Status]) -> None:
    failed = [name for name, status in found.items() if status.state is State.GATE_FAILED]
    if not failed:
        return
    lines = gate_descriptions(instance, build_graph(project.params), failed)
    raise BuildError(
        "blocking checks did not pass; what depends on them was not built:\n    " + "\n    ".join(lines),
        needed="every blocking check to pass",
        fix="do what the check says above, then run the same build again",
    )
