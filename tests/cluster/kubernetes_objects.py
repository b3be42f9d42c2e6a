"""Pods, Jobs and events in the shape that a real API server returns; arguments replace single fields."""

from copy import deepcopy

_POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": "dagster-step-1f0c-x7k2p",
        "namespace": "robots",
        "creationTimestamp": "2026-11-22T10:00:00Z",
        "labels": {"job-name": "dagster-step-1f0c", "robot-assets/pool": "training"},
        "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": "dagster-step-1f0c", "controller": True}],
    },
    "spec": {
        "nodeName": "gpu-1",
        "activeDeadlineSeconds": 86400,
        "restartPolicy": "Never",
        "nodeSelector": {},
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [
                        {
                            "matchExpressions": [
                                {"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64"]},
                                {"key": "robot-assets/role", "operator": "In", "values": ["train"]},
                            ]
                        }
                    ]
                }
            }
        },
        "containers": [
            {
                "name": "dagster",
                "image": "registry.example/train:1",
                "resources": {
                    "limits": {"memory": "24Gi", "nvidia.com/gpu": "1"},
                    "requests": {"cpu": "7500m", "memory": "24Gi", "nvidia.com/gpu": "1"},
                },
            }
        ],
    },
    "status": {"phase": "Pending"},
}

_JOB = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "dagster-step-1f0c", "namespace": "robots"},
    "spec": {"backoffLimit": 0},
    "status": {"active": 1, "startTime": "2026-11-22T10:00:00Z"},
}

SCHEDULED = {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-22T10:00:00Z"}


def job(**status: object) -> dict:
    made = deepcopy(_JOB)
    made["status"] = status or made["status"]
    return made


def pod(
    phase: str, node: str | None = "gpu-1", *, name: str | None = None, metadata: dict | None = None, **status
) -> dict:
    made = deepcopy(_POD)
    made["status"] = {"phase": phase, "conditions": [SCHEDULED] if node else [], **status}
    made["metadata"] |= {**({"name": name} if name else {}), **(metadata or {})}
    if node is None:
        del made["spec"]["nodeName"]
    return made


def container(**state: dict) -> list[dict]:
    """``containerStatuses`` of the only container of a step, in the given state."""
    ready = "running" in state
    return [
        {
            "name": "dagster",
            "image": "registry.example/train:1",
            "imageID": "",
            "ready": ready,
            "started": ready,
            "restartCount": 0,
            "lastState": {},
            "state": state,
        }
    ]


def ended(exit_code: int, reason: str = "Error", message: str = "") -> list[dict]:
    times = {"startedAt": "2026-11-22T10:01:00Z", "finishedAt": "2026-11-22T10:31:00Z"}
    more = {"message": message} if message else {}
    return container(terminated={"exitCode": exit_code, "reason": reason, **more, **times})


def unschedulable(message: str) -> dict:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return pod("Pending", None, conditions=[condition])


def disrupted(reason: str, message: str) -> list[dict]:
    return [SCHEDULED, {"type": "DisruptionTarget", "status": "True", "reason": reason, "message": message}]


def event(reason: str, message: str, at: str = "10:00:05", kind: str = "Warning") -> dict:
    return {
        "metadata": {"name": f"x7k2p.{reason}", "namespace": "robots", "creationTimestamp": "2026-11-22T10:00:00Z"},
        "involvedObject": {"kind": "Pod", "name": "dagster-step-1f0c-x7k2p", "namespace": "robots"},
        "type": kind,
        "reason": reason,
        "message": message,
        "lastTimestamp": f"2026-11-22T{at}Z",
        "eventTime": None,
        "count": 1,
    }


def scheduler_event(message: str, at: str) -> dict:
    """An event through the newer events API, as the scheduler uses it: the older fields are empty."""
    made = event("FailedScheduling", message)
    return {**made, "lastTimestamp": None, "count": None, "eventTime": f"2026-11-22T{at}.123456Z"}
