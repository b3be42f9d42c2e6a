"""Diagnoses the pod of a step from the objects of the API server.

The objects are plain JSON (``kubectl get pod -o json``), of Kubernetes 1.20 and newer. A step is a Job that creates one
pod, once.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from robot_assets.cluster.diagnosis import Diagnosis
from robot_assets.cluster.ended import (
    diagnose_deleted_job,
    diagnose_failed,
    diagnose_missing_pod,
    diagnose_removed,
    diagnose_succeeded,
    has_had_pod,
    is_past_grace,
    removal_cause,
)
from robot_assets.cluster.pending import (
    diagnose_running,
    diagnose_uncreated,
    diagnose_unscheduled,
    diagnose_unstarted,
)
from robot_assets.cluster.pod import EventsOf, Json, Pod, last_seen


def diagnose(
    job: Json | None, pods: Sequence[Json], events_of: EventsOf, now: datetime, step_pod: str | None = None
) -> Diagnosis | None:
    """Diagnose the pod of a step; None when nothing is wrong.

    Args:
        job: The step's Job; None when it no longer exists.
        pods: The pods of the Job.
        events_of: Called only where pods and Job do not suffice.
        now: The current time, with a time zone.
        step_pod: Name of the pod that an earlier call found. When it is gone, a replacement does not run the step.
    """
    if job is None:
        return diagnose_deleted_job()
    name = step_pod or first_pod(job, pods, events_of)
    known = [pod for pod in pods if pod["metadata"]["name"] == name]
    if known:
        return _diagnose_pod(Pod(known[0], events_of, now))
    if name is not None or has_had_pod(job):
        return diagnose_missing_pod(job, name, events_of)
    return diagnose_uncreated(job, events_of)


def first_pod(job: Json, pods: Sequence[Json], events_of: EventsOf) -> str | None:
    """Name of the pod that a Job created first; None when it has created none.

    Kubernetes before 1.26 replaces a deleted pod. The replacement exits with 0 at once, since Dagster starts no step
    twice: it says nothing about the step.
    """
    created = [event for event in events_of(job["metadata"]["name"]) if event.get("reason") == "SuccessfulCreate"]
    if created:
        return str(min(created, key=last_seen).get("message")).removeprefix("Created pod: ")
    oldest = sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")))
    return str(oldest[0]["metadata"]["name"]) if oldest else None


def _diagnose_pod(pod: Pod) -> Diagnosis | None:
    if pod.phase == "Failed":
        return diagnose_failed(pod)
    if is_past_grace(pod) or pod.phase == "Unknown":
        return diagnose_removed(pod, *removal_cause(pod))
    if pod.phase == "Succeeded":
        return diagnose_succeeded(pod)
    if pod.phase == "Running":
        return diagnose_running(pod)
    if pod.condition("PodScheduled").get("status") == "False":
        return diagnose_unscheduled(pod)
    return diagnose_unstarted(pod)
