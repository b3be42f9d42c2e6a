"""``stale_assets``: the sensor that rebuilds assets that are stale and ready.

``robot_assets.lineage.rebuild`` decides; this module turns a decision into run requests, failed checks and the
message of a tick.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import dagster as dg

from dagster_project.instance.event_log import latest_evaluations
from dagster_project.instance.reader import ASSET_TAG, DESIRED_STATE_TAG, attempts, in_progress
from dagster_project.instance.status import ProjectStatus, read
from dagster_project.keys import BUILDS_CHECK, asset_key
from robot_assets.core.errors import RobotAssetsError
from robot_assets.core.text import listed, plural
from robot_assets.lineage.rebuild import Decision, Request, decide
from robot_assets.pipeline.project import Project

ATTEMPT_TAG = "robot_assets/try"
BECAUSE_TAG = "robot_assets/because"
GAVE_UP_KEY = "gave_up_on"


class StatusUnknown(dg.DagsterError):
    """The project cannot be read. A Dagster error, so that a tick shows its message without a stack trace."""


def rebuild_sensor(project: Project, known: Collection[str]) -> dg.SensorDefinition:
    """The sensor of a project.

    Args:
        project: Each tick reads its folder again, since a code location outlives many edits of params.yaml.
        known: Produced assets of the code location. New ones in params.yaml are named, and built after a reload.
    """

    @dg.sensor(
        name="stale_assets",
        target=dg.AssetSelection.assets(*map(asset_key, known)),
        minimum_interval_seconds=project.params.rebuild.interval_s,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Rebuilds assets that are stale and ready, as `rebuild` in params.yaml allows. It compares the present "
            "state: changes made while it was off count, and changes that were undone do not."
        ),
    )
    def stale_assets(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        try:
            return tick(Project(project.root), context.instance, known)
        except RobotAssetsError as error:
            raise StatusUnknown(f"{error.found}\nneeded: {error.needed}\nfix: {error.fix}") from None

    return stale_assets


def tick(project: Project, instance: dg.DagsterInstance, known: Collection[str]) -> dg.SensorResult:
    """Request runs, fail the checks of assets that are given up, and name the reason for the rest."""
    project_status = read(project, instance)
    unknown = [name for name, status in project_status.found.items() if status.is_ready and name not in known]
    found = project_status.found | {name: replace(project_status.found[name], desired_state=None) for name in unknown}
    states = {str(status.desired_state) for status in found.values() if status.is_ready}
    decision = decide(
        project_status.graph,
        found,
        project.params.rebuild,
        in_progress(instance),
        attempts(instance, states),
        datetime.now(UTC),
    )
    causes = project_status.causes(instance, [request.asset for request in decision.requests])
    return dg.SensorResult(
        run_requests=[_run_request(request, causes[request.asset]) for request in decision.requests],
        skip_reason=None if decision.requests else " | ".join(_sentences(project_status, decision, unknown)),
        asset_events=list(_given_up(instance, project_status, decision)),
    )


def _run_request(request: Request, causes: Sequence[str]) -> dg.RunRequest:
    key = asset_key(request.asset)
    checks = [dg.AssetCheckKey(key, gate) for gate in request.gates]
    return dg.RunRequest(
        run_key=request.key,
        asset_selection=[] if checks else [key],
        asset_check_keys=checks or None,
        tags={
            ASSET_TAG: request.asset,
            DESIRED_STATE_TAG: request.desired_state,
            ATTEMPT_TAG: str(request.number),
            BECAUSE_TAG: "; ".join(causes),
        },
    )


def _given_up(
    instance: dg.DagsterInstance, project_status: ProjectStatus, decision: Decision
) -> Iterator[dg.AssetCheckEvaluation]:
    """A failed check for each asset that is given up, once for each desired state."""
    if not decision.given_up:
        return
    latest = latest_evaluations(instance, of_checks=[BUILDS_CHECK])
    for name, before in decision.given_up.items():
        state = project_status.found[name].desired_state
        last = latest.get((name, BUILDS_CHECK))
        if last is not None and last.metadata.get(GAVE_UP_KEY) == state:
            continue
        yield dg.AssetCheckEvaluation(
            asset_key=asset_key(name),
            check_name=BUILDS_CHECK,
            passed=False,
            description=(
                f"{plural(before.failed, 'attempt')} failed, the last at {before.last_failed_at:%Y-%m-%d %H:%M:%S} "
                "UTC. There is no further attempt until its code, its parameters or an input changes.\n\n"
                f"fix: robot-assets build {name}   # after fixing what its failed runs name (tag "
                f"{DESIRED_STATE_TAG}={state})"
            ),
            metadata={GAVE_UP_KEY: str(state), "attempts": before.failed},
        )


def _sentences(project_status: ProjectStatus, decision: Decision, unknown: Sequence[str]) -> Iterator[str]:
    """The parts of the message of a tick that starts no run."""
    groups: dict[str, list[str]] = {}
    for name, reason in decision.held.items():
        groups.setdefault(reason, []).append(name)
    if unknown:
        groups["new in params.yaml; reload the code location to build it"] = list(unknown)
    graph, found = project_status.graph, project_status.found
    if unobserved := [name for name, status in found.items() if graph[name].is_observed and not status.is_fresh]:
        groups["never observed"] = unobserved
    if not groups:
        yield f"everything is fresh: {plural(len(found), 'asset')}"
    for reason, names in groups.items():
        yield f"{reason}: {listed(names, 5)}"
