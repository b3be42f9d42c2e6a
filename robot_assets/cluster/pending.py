"""Why a pod does not run yet: no node takes it, no image comes, or something that it names is missing."""

from __future__ import annotations

import re

from robot_assets.cluster.diagnosis import Finding, Trouble
from robot_assets.cluster.pod import EventsOf, Json, Pod, describe_job, moment

_IMAGE_REASONS = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"}
_STARTING_REASONS = {"", "ContainerCreating", "PodInitializing"}
_BUSY = re.compile(r"\bInsufficient \S|\bToo many pods\b|exceed max volume count")


def unmade(job: Json, events_of: EventsOf) -> Finding | None:
    """No pod: none has been made yet, or the API server does not take it (quota, admission, service account)."""
    said = [event for event in sorted(events_of(job["metadata"]["name"]), key=moment) if event.get("type") == "Warning"]
    if not said:
        return None
    return Finding(
        Trouble.POD_REFUSED,
        f"the API server takes no pod for job {job['metadata']['name']}: {said[-1].get('message', '')}",
        "a pod that the namespace's quotas, its admission rules and its service account allow",
        describe_job(job),
    )


def unscheduled(pod: Pod) -> Finding:
    """A pod without a node, in the scheduler's own words. Full nodes may become free; others have to change."""
    condition = pod.condition("PodScheduled")
    message = str(condition.get("message") or condition.get("reason") or "").partition(" preemption:")[0]
    wanted = ", ".join(_wishes(pod))
    if condition.get("reason") == "SchedulingGated":
        return pod.finding(Trouble.PREPARING, f"{pod.place} is held back: {message}", "its gate to open", pod.describe)
    if _BUSY.search(message):
        return pod.finding(
            Trouble.NO_ROOM,
            f"{pod.place} waits for room: {message}",
            f"a node with {wanted}, free at the same time",
            f"wait for what holds it now; if no node is as large as that, ask for less in {pod.pool} of params.yaml",
        )
    return pod.finding(
        Trouble.UNSCHEDULABLE,
        f"no node takes {pod.place}: {message}",
        f"a node with {wanted}",
        f"kubectl get nodes --show-labels; label the right one as {pod.pool}.node_labels says, or start it",
    )


def not_started(pod: Pod) -> Finding:
    """A pod that has a node, and whose containers have not started on it."""
    for spec, status in pod.containers:
        waiting = (status.get("state") or {}).get("waiting") or {}
        reason, message = str(waiting.get("reason") or ""), str(waiting.get("message") or "")
        if reason in _IMAGE_REASONS:
            return _no_image(pod, spec, reason, message)
        if reason not in _STARTING_REASONS:
            return _cannot_start(pod, reason, message)
    warnings = pod.warnings()
    if warnings:
        return _cannot_start(pod, str(warnings[-1].get("reason")), str(warnings[-1].get("message")))
    latest = sorted(pod.events_of(pod.name), key=moment)
    doing = str(latest[-1].get("message")) if latest else "nothing is known yet"
    return pod.finding(Trouble.PREPARING, f"{pod.place} is being prepared: {doing}", "some time", pod.describe)


def _no_image(pod: Pod, container: Json, reason: str, message: str) -> Finding:
    image = container.get("image")
    told = [str(event.get("message")) for event in pod.events_of(pod.name) if event.get("reason") == "Failed"]
    causes = [text for text in told if text.startswith("Failed to pull image")]
    # between two tries the pod only says that it waits; the cause is in the event of the last try
    is_settled = reason in ("InvalidImageName", "ErrImageNeverPull")
    said = causes[-1] if causes and not is_settled else f"{reason}: {message or image}"
    return pod.finding(
        Trouble.IMAGE,
        f"{pod.place} has no image: {said}",
        f"an image {image} that the node can pull",
        f"mend execution.images or {pod.pool}.image in params.yaml, or the variable that they name; a private registry "
        "needs execution.image_pull_secrets",
        image=image,
    )


def _cannot_start(pod: Pod, reason: str, message: str) -> Finding:
    return pod.finding(
        Trouble.NOT_STARTED,
        f"{pod.place} cannot start: {reason}: {message.strip()}",
        "the Secrets, ConfigMaps and volumes that it names, and a runtime that can start it",
        f"{pod.describe}; it starts by itself once the cause is gone",
    )


def node_silent(pod: Pod) -> Finding | None:
    """A running pod is unready only when its node is: a step has no probes."""
    is_running = any((status.get("state") or {}).get("running") for _, status in pod.containers)
    is_fine = pod.condition("Ready").get("status") != "False"
    if is_fine or not is_running or not all(status.get("ready") for _, status in pod.containers):
        return None
    return pod.finding(
        Trouble.NODE_SILENT,
        f"the node of {pod.place} does not answer",
        "a node that is up and reaches the API server",
        f"kubectl describe node {pod.node}; if it does not come back, Kubernetes gives the pod up after some minutes",
    )


def _wishes(pod: Pod) -> list[str]:
    """What a node must have for this pod: labels, and room."""
    affinity = pod.json["spec"].get("affinity") or {}
    required = (affinity.get("nodeAffinity") or {}).get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    terms = required.get("nodeSelectorTerms") or [{}]
    labels = [f"{each['key']}={'|'.join(each.get('values') or [])}" for each in terms[0].get("matchExpressions") or []]
    selector = [f"{key}={value}" for key, value in (pod.json["spec"].get("nodeSelector") or {}).items()]
    requests = ((pod.json["spec"]["containers"][0].get("resources") or {}).get("requests") or {}).items()
    return [*labels, *selector, *(f"{key} {amount}" for key, amount in requests)]
