"""Diagnoses pods that are not created, not scheduled, not started or not ready."""

from __future__ import annotations

import re

from robot_assets.cluster.diagnosis import Diagnosis, Trouble
from robot_assets.cluster.pod import EventsOf, Json, Pod, describe_job, last_seen

_IMAGE_REASONS = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"}
_STARTING_REASONS = {"", "ContainerCreating", "PodInitializing"}
_BUSY = re.compile(r"\bInsufficient \S|\bToo many pods\b|exceed max volume count")


def diagnose_uncreated(job: Json, events_of: EventsOf) -> Diagnosis | None:
    """Diagnose a Job without a pod; None unless the API server rejected it (quota, admission, service account)."""
    warnings = [
        event for event in sorted(events_of(job["metadata"]["name"]), key=last_seen) if event.get("type") == "Warning"
    ]
    if not warnings:
        return None
    return Diagnosis(
        Trouble.POD_REFUSED,
        f"the API server rejected the pod of job {job['metadata']['name']}: {warnings[-1].get('message', '')}",
        "a pod that the quotas, admission rules and service account of the namespace allow",
        describe_job(job),
    )


def diagnose_unscheduled(pod: Pod) -> Diagnosis:
    """Diagnose a pod without a node. Full nodes may become free; nodes that do not match have to change."""
    condition = pod.condition("PodScheduled")
    message = str(condition.get("message") or condition.get("reason") or "").partition(" preemption:")[0]
    wanted = ", ".join(_requirements(pod))
    if condition.get("reason") == "SchedulingGated":
        return pod.diagnosis(
            Trouble.PREPARING, f"{pod.place} is gated: {message}", "its scheduling gates removed", pod.describe
        )
    if _BUSY.search(message):
        return pod.diagnosis(
            Trouble.NO_ROOM,
            f"{pod.place} waits for free resources: {message}",
            f"a node with {wanted}, free at the same time",
            f"wait until running pods end; if no node is that large, lower the requests of {pod.pool} in params.yaml",
        )
    return pod.diagnosis(
        Trouble.UNSCHEDULABLE,
        f"{pod.place} cannot be scheduled: {message}",
        f"a node with {wanted}",
        f"kubectl get nodes --show-labels; give a node the labels of {pod.pool}.node_labels, or start the node",
    )


def diagnose_unstarted(pod: Pod) -> Diagnosis:
    """Diagnose a pod that has a node, but whose containers have not started."""
    for spec, status in pod.containers:
        waiting = (status.get("state") or {}).get("waiting") or {}
        reason, message = str(waiting.get("reason") or ""), str(waiting.get("message") or "")
        if reason in _IMAGE_REASONS:
            return _image_not_pulled(pod, spec, reason, message)
        if reason not in _STARTING_REASONS:
            return _cannot_start(pod, reason, message)
    warnings = pod.warnings()
    if warnings:
        return _cannot_start(pod, str(warnings[-1].get("reason")), str(warnings[-1].get("message")))
    latest = sorted(pod.events_of(pod.name), key=last_seen)
    activity = str(latest[-1].get("message")) if latest else "no events yet"
    return pod.diagnosis(Trouble.PREPARING, f"{pod.place} is starting: {activity}", "more time", pod.describe)


def _image_not_pulled(pod: Pod, container: Json, reason: str, message: str) -> Diagnosis:
    image = container.get("image")
    failures = [str(event.get("message")) for event in pod.events_of(pod.name) if event.get("reason") == "Failed"]
    causes = [text for text in failures if text.startswith("Failed to pull image")]
    # between two attempts the status only says that the pod waits; the cause is in the event of the last attempt
    is_final = reason in ("InvalidImageName", "ErrImageNeverPull")
    cause = causes[-1] if causes and not is_final else f"{reason}: {message or image}"
    return pod.diagnosis(
        Trouble.IMAGE_PULL,
        f"the image of {pod.place} cannot be pulled: {cause}",
        f"an image {image} that the node can pull",
        f"correct execution.images or {pod.pool}.image in params.yaml, or the environment variable that it names; a "
        "private registry needs execution.image_pull_secrets",
        image=image,
    )


def _cannot_start(pod: Pod, reason: str, message: str) -> Diagnosis:
    return pod.diagnosis(
        Trouble.NOT_STARTED,
        f"{pod.place} cannot start: {reason}: {message.strip()}",
        "the Secrets, ConfigMaps and volumes that it references, and a container runtime that can start it",
        f"{pod.describe}; the pod starts by itself after the cause is removed",
    )


def diagnose_running(pod: Pod) -> Diagnosis | None:
    """Diagnose a running pod. It is unready only when its node is: a step has no probes."""
    is_running = any((status.get("state") or {}).get("running") for _, status in pod.containers)
    is_ready = pod.condition("Ready").get("status") != "False"
    if is_ready or not is_running or not all(status.get("ready") for _, status in pod.containers):
        return None
    return pod.diagnosis(
        Trouble.NODE_NOT_READY,
        f"the node of {pod.place} is unreachable",
        "a node that is up and reaches the API server",
        f"kubectl describe node {pod.node}; if it stays unreachable, Kubernetes evicts the pod after some minutes",
    )


def _requirements(pod: Pod) -> list[str]:
    """Labels and resources that a node needs for this pod."""
    affinity = pod.json["spec"].get("affinity") or {}
    required = (affinity.get("nodeAffinity") or {}).get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    terms = required.get("nodeSelectorTerms") or [{}]
    labels = [f"{each['key']}={'|'.join(each.get('values') or [])}" for each in terms[0].get("matchExpressions") or []]
    selector = [f"{key}={value}" for key, value in (pod.json["spec"].get("nodeSelector") or {}).items()]
    requests = ((pod.json["spec"]["containers"][0].get("resources") or {}).get("requests") or {}).items()
    return [*labels, *selector, *(f"{key} {amount}" for key, amount in requests)]
