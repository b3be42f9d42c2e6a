"""Why a pod has ended: by itself, for want of something, or because it was taken away."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime

from robot_assets.cluster.diagnosis import Finding, Trouble
from robot_assets.cluster.pod import EventsOf, Json, Pod, describe_job, in_namespace, moment

_DISRUPTIONS = {
    "PreemptionByScheduler": (Trouble.PREEMPTED, "a pod with a higher priority took its place"),
    "PreemptionByKubeScheduler": (Trouble.PREEMPTED, "a pod with a higher priority took its place"),
    "DeletionByTaintManager": (Trouble.NODE_LOST, "the node does not answer, or was tainted NoExecute"),
    "DeletionByPodGC": (Trouble.NODE_LOST, "the node is no longer part of the cluster"),
    "EvictionByEvictionAPI": (Trouble.EVICTED, "somebody drains the node"),
    "TerminationByKubelet": (Trouble.EVICTED, "the node ended it"),
}
_PARTING_EVENTS = {
    "TaintManagerEviction": (Trouble.NODE_LOST, "the node does not answer, or was tainted NoExecute"),
    "NodeNotReady": (Trouble.NODE_LOST, "the node does not answer"),
    "Preempted": (Trouble.PREEMPTED, "a pod with a higher priority took its place"),
    "Evicted": (Trouble.EVICTED, "the node had too little of something"),
}
_STATUS_REASONS = {
    "NodeLost": Trouble.NODE_LOST,
    "Shutdown": Trouble.NODE_SHUTDOWN,
    "NodeShutdown": Trouble.NODE_SHUTDOWN,
    "Terminated": Trouble.NODE_SHUTDOWN,
    "Preempting": Trouble.PREEMPTED,
}
_OWN_STORAGE_LIMIT = re.compile(r"ephemeral local storage usage exceeds|exceeded its local ephemeral storage limit")


def failed(pod: Pod) -> Finding:
    """Why a pod has failed: what it did comes before what was done to it."""
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
        return taken_away(pod, _STATUS_REASONS[reason], message or reason)
    if disruption.get("status") == "True":
        return taken_away(pod, *_disrupted(disruption))
    if pod.json["metadata"].get("deletionTimestamp"):
        return taken_away(pod, *why_it_went(pod))
    if ended is None:
        return _node_refused(pod, reason, message)
    return _exited(pod, *ended)


def _terminated(pod: Pod) -> tuple[Json, Json] | None:
    """The first container that ended otherwise than well, and how."""
    for spec, status in pod.containers:
        ended = (status.get("state") or {}).get("terminated")
        if ended and ended.get("exitCode"):
            return spec, ended
    return None


def _out_of_memory(pod: Pod, container: Json) -> Finding:
    limit = _limits(container).get("memory")
    at = f"its limit of {limit}" if limit else "all that the node has"
    return pod.finding(
        Trouble.OUT_OF_MEMORY,
        f"{pod.place} ran out of memory and was killed (OOMKilled) at {at}",
        f"more memory than {limit}, or a step that needs less" if limit else "a step that needs less memory",
        f"raise {pod.pool}.memory in params.yaml, or memory_max beside it: up to there a step that ran out of memory "
        "is tried again with more",
        memory=limit,
        exit_code=137,
    )


def _deadline(pod: Pod) -> Finding:
    limit = pod.json["spec"].get("activeDeadlineSeconds")
    return pod.finding(
        Trouble.DEADLINE,
        f"{pod.place} ran longer than {limit} s and was ended",
        "a step that ends before its deadline",
        f"see in the log of the step whether it still made progress; if it did, raise {pod.pool}.active_deadline_s",
    )


def _evicted(pod: Pod, message: str) -> Finding:
    if not _OWN_STORAGE_LIMIT.search(message):
        return taken_away(pod, Trouble.EVICTED, message)
    return pod.finding(
        Trouble.OUT_OF_STORAGE,
        f"{pod.place} wrote more than its ephemeral storage holds and was evicted: {message.strip()}",
        "room on the local disk for what the step writes",
        f"raise {pod.pool}.ephemeral_storage in params.yaml",
    )


def _node_refused(pod: Pod, reason: str, message: str) -> Finding:
    said = ": ".join(filter(None, (reason, message))) or "no reason given"
    return pod.finding(
        Trouble.NODE_REFUSED,
        f"the node refused {pod.place}: {said}",
        "a node that can run what the scheduler gives it",
        f"kubectl describe node {pod.node}; after a restart of the node its device plugin may need a minute",
    )


def _exited(pod: Pod, container: Json, ended: Json) -> Finding:
    code, reason, message = ended["exitCode"], str(ended.get("reason") or ""), str(ended.get("message") or "")
    if reason in ("ContainerStatusUnknown", "Unknown"):
        return taken_away(pod, Trouble.NODE_LOST, message or "the node restarted")
    said = f" ({reason})" if reason not in ("", "Error") else ""
    killed = " (killed by signal 9: is the node itself out of memory?)" if code == 137 else ""
    return pod.finding(
        Trouble.EXITED,
        f"the container {container.get('name', '')} of {pod.place} ended with exit code {code}{said}{killed}"
        + (f": {message.strip()}" if message else ""),
        "a process that lives until it has recorded how its step ended",
        f"kubectl logs {pod.name}{in_namespace(pod.json)}; the image must have the project installed, for the "
        "architecture of the node",
        exit_code=code,
        image=container.get("image"),
    )


def silent(pod: Pod) -> Finding:
    """A pod that ended well, though nothing says how its step ended."""
    return pod.finding(
        Trouble.SILENT,
        f"{pod.place} ended without an error and recorded no result for the step",
        "an event in Dagster's log that says how the step ended",
        f"kubectl logs {pod.name}{in_namespace(pod.json)}; this is what a pod does that was started for a step that "
        "had begun before",
    )


def is_going(pod: Pod) -> bool:
    """Whether it is to be deleted and had its time to end well. Until then it may still record how its step ended."""
    until = pod.json["metadata"].get("deletionTimestamp")
    return bool(until) and pod.phase != "Succeeded" and pod.now >= datetime.fromisoformat(str(until))


def why_it_went(pod: Pod) -> tuple[Trouble, str]:
    """What took a pod away, from its conditions or else from the events about it."""
    disruption = pod.condition("DisruptionTarget")
    if disruption.get("status") == "True":
        return _disrupted(disruption)
    if pod.phase == "Unknown" or pod.status.get("reason") == "NodeLost":
        return Trouble.NODE_LOST, str(pod.status.get("message") or "the node does not answer")
    return _parting(pod.events_of(pod.name))


def _disrupted(condition: Json) -> tuple[Trouble, str]:
    reason, message = str(condition.get("reason") or ""), str(condition.get("message") or "")
    trouble, words = _DISRUPTIONS.get(reason, (Trouble.EVICTED, reason))
    return trouble, f"{words} ({message or reason})"


def _parting(events: Iterable[Json]) -> tuple[Trouble, str]:
    for event in sorted(events, key=moment, reverse=True):
        if event.get("reason") in _PARTING_EVENTS:
            trouble, words = _PARTING_EVENTS[event["reason"]]
            return trouble, f"{words} ({event.get('message', '')})"
    return Trouble.POD_DELETED, "somebody or something deleted it"


def taken_away(pod: Pod, trouble: Trouble, why: str) -> Finding:
    """A pod that had no say in its end."""
    return pod.finding(
        trouble,
        f"{pod.place} was taken away: {why.strip()}",
        "a node that stays until the step has ended",
        f"kubectl describe node {pod.node}; then run the step again" if pod.node else "run the step again",
    )


def vanished(job: Json, name: str | None, events_of: EventsOf) -> Finding:
    """A pod that is not there any more, under the name that it had when it was last seen."""
    failure = [each for each in _conditions(job) if each["type"] == "Failed" and each.get("status") == "True"]
    if failure and failure[0].get("reason") == "DeadlineExceeded":
        found = f"job {job['metadata']['name']} ran longer than its deadline and was ended"
        return Finding(Trouble.DEADLINE, found, "a step that ends before its deadline", describe_job(job))
    trouble, why = _parting(events_of(name)) if name else (Trouble.POD_DELETED, "somebody or something deleted it")
    return Finding(
        trouble,
        f"pod {name or 'of job ' + str(job['metadata']['name'])} is gone: {why}",
        "a pod that stays until the step has ended",
        f"{describe_job(job)}; then run the step again",
        {"pod": name} if name else {},
    )


def job_deleted() -> Finding:
    """A Job that is not there any more."""
    return Finding(
        Trouble.JOB_DELETED,
        "the step's Job is gone: somebody deleted it while the step ran",
        "a Job that stays until its step has ended",
        "if nobody meant to end the step, run it again",
    )


def _limits(container: Json) -> Json:
    return (container.get("resources") or {}).get("limits") or {}


def _conditions(job: Json) -> list[Json]:
    return (job.get("status") or {}).get("conditions") or []


def has_had_a_pod(job: Json) -> bool:
    """Whether a Job without pods has had one."""
    status = job.get("status") or {}
    return bool(status.get("failed") or status.get("succeeded") or _conditions(job))
