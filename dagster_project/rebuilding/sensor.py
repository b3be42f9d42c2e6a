"""``stale_assets``: the sensor that rebuilds what is stale and ready.

It decides nothing by itself: what to do is ``robot_assets.lineage.rebuild``; here a decision becomes run
requests, a failing check, and a readable tick.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import dagster as dg

from dagster_project.instance.event_log import latest_evaluations
from dagster_project.instance.reader import ASSET_TAG, DESIRED_STATE_TAG, attempts, in_progress
from dagster_project.instance.status import ProjectStatus, read
from dagster_project.keys import BUILDS_CHECK, asset_key
from robot_assets.lineage.rebuild import Decision, Request, decide
from robot_assets.pipeline.project import Project

ATTEMPT_TAG = "robot_assets/try"
BECAUSE_TAG = "robot_assets/because"
GAVE_UP_KEY = "gave_up_on"


def rebuild_sensor(project: Project, known: Collection[str]) -> dg.SensorDefinition:
    """The sensor of a project.

    Args:
        project: Its folder is read again at every look, since a code location outlives many edits of params.yaml.
        known: Produced assets of the code location. New ones in params.yaml are named, and wait for a reload.
    """

    @dg.sensor(
        name="stale_assets",
        target=dg.AssetSelection.assets(*map(asset_key, known)),
        minimum_interval_seconds=project.params.rebuild.interval_s,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Rebuilds what is stale and ready, as `rebuild` in params.yaml allows. It looks at the present state: a "
            "change made while it was off is seen, and a change that was undone is nothing."
        ),
    )
    def stale_assets(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        return tick(Project(project.root), context.instance, known)

    return stale_assets


def tick(project: Project, instance: dg.DagsterInstance, known: Collection[str]) -> dg.SensorResult:
    """One look: what is started, what is given up, and a sentence on the rest."""
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
    """A failing check for each asset that is left alone, said once for one desired state."""
    if not decision.given_up:
        return
    said = latest_evaluations(instance, of_checks=[BUILDS_CHECK])
    for name, before in decision.given_up.items():
        state = project_status.found[name].desired_state
        last = said.get((name, BUILDS_CHECK))
        if last is not None and last.metadata.get(GAVE_UP_KEY) == state:
            continue
        yield dg.AssetCheckEvaluation(
            asset_key=asset_key(name),
            check_name=BUILDS_CHECK,
            passed=False,
            description=(
                f"{before.failed} attempts failed, the last at {before.last_failed_at:%Y-%m-%d %H:%M:%S} UTC. It is "
                "left alone until its code, its parameters or an input changes.\n\n"
                f"fix: read the failed runs (tag {DESIRED_STATE_TAG}={state}), fix what they name; or materialize "
                f"it by hand: robot-assets build {name}"
            ),
            metadata={GAVE_UP_KEY: str(state), "attempts": before.failed},
        )


def _sentences(project_status: ProjectStatus, decision: Decision, unknown: Sequence[str]) -> Iterator[str]:
    """What a person reads on a tick that starts nothing."""
    groups: dict[str, list[str]] = {}
    for name, reason in decision.held.items():
        groups.setdefault(reason, []).append(name)
    if unknown:
        groups["new in params.yaml; reload the code location to build it"] = list(unknown)
    unseen = [
        name
        for name, status in project_status.found.items()
        if project_status.graph[name].is_observed and not status.is_fresh
    ]
    if unseen:
        groups["never observed"] = unseen
    if not groups:
        yield f"everything is fresh: {len(project_status.found)} assets"
    for reason, names in groups.items():
        yield f"{reason}: {', '.join(names[:5])}" + (f" and {len(names) - 5} more" if len(names) > 5 else "")
