"""Diagnoses pods that have ended, were removed, or are missing."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime

from robot_assets.cluster.diagnosis import Diagnosis, Trouble
from robot_assets.cluster.pod import EventsOf, Json, Pod, describe_job, last_seen, namespace_option

_DISRUPTIONS = {
    "PreemptionByScheduler": (Trouble.PREEMPTED, "a pod with a higher priority preempted it"),
    "PreemptionByKubeScheduler": (Trouble.PREEMPTED, "a pod with a higher priority preempted it"),
    "DeletionByTaintManager": (Trouble.NODE_LOST, "the node is unreachable, or was tainted NoExecute"),
    "DeletionByPodGC": (Trouble.NODE_LOST, "the node is no longer part of the cluster"),
    "EvictionByEvictionAPI": (Trouble.EVICTED, "the node is being drained"),
    "TerminationByKubelet": (Trouble.EVICTED, "its kubelet terminated it"),
}
_REMOVAL_EVENTS = {
    "TaintManagerEviction": (Trouble.NODE_LOST, "the node is unreachable, or was tainted NoExecute"),
    "NodeNotReady": (Trouble.NODE_LOST, "the node is unreachable"),
    "Preempted": (Trouble.PREEMPTED, "a pod with a higher priority preempted it"),
    "Evicted": (Trouble.EVICTED, "the node was short of a resource"),
}
_STATUS_REASONS = {
    "NodeLost": Trouble.NODE_LOST,
    "Shutdown": Trouble.NODE_SHUTDOWN,
    "NodeShutdown": Trouble.NODE_SHUTDOWN,
    "Terminated": Trouble.NODE_SHUTDOWN,
    "Preempting": Trouble.PREEMPTED,
}
_OWN_STORAGE_LIMIT = re.compile(r"ephemeral local storage usage exceeds|exceeded its local ephemeral storage limit")


def diagnose_failed(pod: Pod) -> Diagnosis:
    """Diagnose a failed pod: causes inside the pod take precedence over its removal."""
    reason, message = str(pod.status.get("reason") or ""), str(pod.status.get("message") or "")
    ended = _terminated(pod)
    if ended and ended[1].get("reason") == "OOMKilled":
        return _out_of_memory(pod, ended[0])
    if reason == "DeadlineExceeded":
        return _deadline(pod)
    if reason == "Evicted":
        return _evicted(pod, message)
    disruption = pod.condition("DisruptionTarget")
    if reason in _STATUS_REASONS:
        return diagnose_removed(pod, _STATUS_REASONS[reason], message or reason)
    if disruption.get("status") == "True":
        return diagnose_removed(pod, *_disruption_cause(disruption))
    if pod.json["metadata"].get("deletionTimestamp"):
        return diagnose_removed(pod, *removal_cause(pod))
    if ended is None:
        return _node_refused(pod, reason, message)
    return _exited(pod, *ended)


def _terminated(pod: Pod) -> tuple[Json, Json] | None:
    """The first container with an exit code other than 0, and its terminated state."""
    for spec, status in pod.containers:
        ended = (status.get("state") or {}).get("terminated")
        if ended and ended.get("exitCode"):
            return spec, ended
    return None


def _out_of_memory(pod: Pod, container: Json) -> Diagnosis:
    limit = _limits(container).get("memory")
    at = f"its limit of {limit}" if limit else "the memory of its node"
    return pod.diagnosis(
        Trouble.OUT_OF_MEMORY,
        f"{pod.place} ran out of memory and was killed (OOMKilled) at {at}",
        f"more memory than {limit}, or a step that needs less" if limit else "a step that needs less memory",
        f"raise {pod.pool}.memory in params.yaml, or {pod.pool}.memory_max, up to which a step that ran out of memory "
        "is retried with more",
        memory=limit,
        exit_code=137,
    )


def _deadline(pod: Pod) -> Diagnosis:
    limit = pod.json["spec"].get("activeDeadlineSeconds")
    return pod.diagnosis(
        Trouble.DEADLINE,
        f"{pod.place} ran longer than {limit} s and was terminated",
        "a step that ends before its deadline",
        f"check the log of the step for progress; if it made some, raise {pod.pool}.active_deadline_s in params.yaml",
    )


def _evicted(pod: Pod, message: str) -> Diagnosis:
    if not _OWN_STORAGE_LIMIT.search(message):
        return diagnose_removed(pod, Trouble.EVICTED, message)
    return pod.diagnosis(
        Trouble.OUT_OF_STORAGE,
        f"{pod.place} exceeded its ephemeral storage and was evicted: {message.strip()}",
        "enough local disk for the files of the step",
        f"raise {pod.pool}.ephemeral_storage in params.yaml",
    )


def _node_refused(pod: Pod, reason: str, message: str) -> Diagnosis:
    given = ": ".join(filter(None, (reason, message))) or "no reason given"
    return pod.diagnosis(
        Trouble.NODE_REFUSED,
        f"the node rejected {pod.place}: {given}",
        "a node that can run the pods that are scheduled on it",
        f"kubectl describe node {pod.node}; after a restart of the node, its device plugin may need a minute",
    )


def _exited(pod: Pod, container: Json, ended: Json) -> Diagnosis:
    code, reason, message = ended["exitCode"], str(ended.get("reason") or ""), str(ended.get("message") or "")
    if reason in ("ContainerStatusUnknown", "Unknown"):
        return diagnose_removed(pod, Trouble.NODE_LOST, message or "the node restarted")
    given = f" ({reason})" if reason not in ("", "Error") else ""
    killed = " (signal 9; possibly the node itself is out of memory)" if code == 137 else ""
    return pod.diagnosis(
        Trouble.EXITED,
        f"the container {container.get('name', '')} of {pod.place} ended with exit code {code}{given}{killed}"
        + (f": {message.strip()}" if message else ""),
        "a process that runs until it has recorded the result of its step",
        f"kubectl logs {pod.name}{namespace_option(pod.json)}; the image needs the project, built for the architecture "
        "of the node",
        exit_code=code,
        image=container.get("image"),
    )


def diagnose_succeeded(pod: Pod) -> Diagnosis:
    """Diagnose a pod that exited with 0 although its step recorded no result."""
    return pod.diagnosis(
        Trouble.ENDED_SILENTLY,
        f"{pod.place} exited with 0 and recorded no result for the step",
        "an event for the end of the step in Dagster's event log",
        f"kubectl logs {pod.name}{namespace_option(pod.json)}; a pod that was started for a step that had already "
        "started ends like this",
    )


def is_past_grace(pod: Pod) -> bool:
    """Whether it is being deleted and its grace period is over. Until then it may still record its step's result."""
    until = pod.json["metadata"].get("deletionTimestamp")
    return bool(until) and pod.phase != "Succeeded" and pod.now >= datetime.fromisoformat(str(until))


def removal_cause(pod: Pod) -> tuple[Trouble, str]:
    """Why a pod was removed, from its conditions or else from its events."""
    disruption = pod.condition("DisruptionTarget")
    if disruption.get("status") == "True":
        return _disruption_cause(disruption)
    if pod.phase == "Unknown" or pod.status.get("reason") == "NodeLost":
        return Trouble.NODE_LOST, str(pod.status.get("message") or "the node is unreachable")
    return _cause_in_events(pod.events_of(pod.name))


def _disruption_cause(condition: Json) -> tuple[Trouble, str]:
    reason, message = str(condition.get("reason") or ""), str(condition.get("message") or "")
    trouble, words = _DISRUPTIONS.get(reason, (Trouble.EVICTED, reason))
    return trouble, f"{words} ({message or reason})"


def _cause_in_events(events: Iterable[Json]) -> tuple[Trouble, str]:
    for event in sorted(events, key=last_seen, reverse=True):
        if event.get("reason") in _REMOVAL_EVENTS:
            trouble, words = _REMOVAL_EVENTS[event["reason"]]
            return trouble, f"{words} ({event.get('message', '')})"
    return Trouble.POD_DELETED, "a user or a controller deleted it"


def diagnose_removed(pod: Pod, trouble: Trouble, cause: str) -> Diagnosis:
    """Diagnose a pod that was removed for ``cause``."""
    return pod.diagnosis(
        trouble,
        f"{pod.place} was removed: {cause.strip()}",
        "a node that stays up until the step has ended",
        f"kubectl describe node {pod.node}; then run the step again" if pod.node else "run the step again",
    )


def diagnose_missing_pod(job: Json, name: str | None, events_of: EventsOf) -> Diagnosis:
    """Diagnose a pod that no longer exists.

    Args:
        job: Its Job.
        name: Its name, where it is known.
        events_of: Returns the events of an object.
    """
    failure = [each for each in _conditions(job) if each["type"] == "Failed" and each.get("status") == "True"]
    if failure and failure[0].get("reason") == "DeadlineExceeded":
        found = f"job {job['metadata']['name']} ran longer than its deadline and was terminated"
        return Diagnosis(Trouble.DEADLINE, found, "a step that ends before its deadline", describe_job(job))
    trouble, cause = _cause_in_events(events_of(name) if name else ())
    return Diagnosis(
        trouble,
        f"pod {name or 'of job ' + str(job['metadata']['name'])} no longer exists: {cause}",
        "a pod that exists until the step has ended",
        f"{describe_job(job)}; then run the step again",
        {"pod": name} if name else {},
    )


def diagnose_deleted_job() -> Diagnosis:
    """Diagnose a Job that no longer exists."""
    return Diagnosis(
        Trouble.JOB_DELETED,
        "the step's Job no longer exists: it was deleted while the step ran",
        "a Job that exists until its step has ended",
        "run the step again, unless it was ended on purpose",
    )


def _limits(container: Json) -> Json:
    return (container.get("resources") or {}).get("limits") or {}


def _conditions(job: Json) -> list[Json]:
    return (job.get("status") or {}).get("conditions") or []


def has_had_pod(job: Json) -> bool:
    """Whether a Job without pods has had one."""
    status = job.get("status") or {}
    return bool(status.get("failed") or status.get("succeeded") or _conditions(job))
