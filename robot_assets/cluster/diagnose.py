"""What has become of the pod of a step: read off the objects that the API server has.

The objects are plain JSON as the API gives it (``kubectl get pod -o json``), of Kubernetes 1.20 and newer. A step is
a Job that makes one pod, once.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from robot_assets.cluster.diagnosis import Finding
from robot_assets.cluster.ended import (
    failed,
    has_had_a_pod,
    is_going,
    job_deleted,
    silent,
    taken_away,
    vanished,
    why_it_went,
)
from robot_assets.cluster.pending import node_silent, not_started, unmade, unscheduled
from robot_assets.cluster.pod import EventsOf, Json, Pod, moment


def examine(
    job: Json | None, pods: Sequence[Json], events_of: EventsOf, now: datetime, began_on: str | None = None
) -> Finding | None:
    """What is wrong with the pod of a step; None when nothing is.

    Args:
        job: The step's Job; None when there is none any more.
        pods: The pods that the Job has.
        events_of: Asked only where pods and Job do not say enough.
        now: The present moment, with a time zone.
        began_on: The pod that an earlier look saw, if any: when it is gone, a pod that took its place is no step.
    """
    if job is None:
        return job_deleted()
    name = began_on or first_pod(job, pods, events_of)
    known = [pod for pod in pods if pod["metadata"]["name"] == name]
    if known:
        return _examine_pod(Pod(known[0], events_of, now))
    if name is not None or has_had_a_pod(job):
        return vanished(job, name, events_of)
    return unmade(job, events_of)


def first_pod(job: Json, pods: Sequence[Json], events_of: EventsOf) -> str | None:
    """The pod that a Job made first; None when it has made none.

    Kubernetes before 1.26 replaces a pod that was deleted. The one that came in its place ends at once and ends well,
    since Dagster begins no step twice: it says nothing about the step.
    """
    made = [event for event in events_of(job["metadata"]["name"]) if event.get("reason") == "SuccessfulCreate"]
    if made:
        return str(min(made, key=moment).get("message")).removeprefix("Created pod: ")
    oldest = sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")))
    return str(oldest[0]["metadata"]["name"]) if oldest else None


def _examine_pod(pod: Pod) -> Finding | None:
    if pod.phase == "Failed":
        return failed(pod)
    if is_going(pod) or pod.phase == "Unknown":
        return taken_away(pod, *why_it_went(pod))
    if pod.phase == "Succeeded":
        return silent(pod)
    if pod.phase == "Running":
        return node_silent(pod)
    if pod.condition("PodScheduled").get("status") == "False":
        return unscheduled(pod)
    return not_started(pod)
