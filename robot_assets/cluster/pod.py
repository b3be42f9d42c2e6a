"""One pod as the JSON of the API server, with the parts that its diagnoses share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from robot_assets.cluster.diagnosis import Diagnosis, Trouble

POOL_LABEL = "robot-assets/pool"
"""The label of a step's pod with its pool in params.yaml."""

Json = Mapping[str, Any]
EventsOf = Callable[[str], Sequence[Json]]
"""Name of an object -> the events about it in its namespace."""


@dataclass(frozen=True)
class Pod:
    """One pod with the parts that its diagnoses share."""

    json: Json
    events_of: EventsOf
    now: datetime

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.json["metadata"]["name"])

    @property
    def status(self) -> Json:
        """Its status, as reported by its kubelet."""
        return self.json.get("status") or {}

    @property
    def phase(self) -> str:
        """Pending, Running, Succeeded, Failed or Unknown."""
        return str(self.status.get("phase", ""))

    @property
    def node(self) -> str | None:
        """Its node; None before it is scheduled."""
        node = self.json["spec"].get("nodeName")
        return str(node) if node else None

    @property
    def place(self) -> str:
        """The pod and its node, the start of every diagnosis."""
        return f"pod {self.name} on {self.node}" if self.node else f"pod {self.name}"

    @property
    def pool(self) -> str:
        """The key of its pool in params.yaml."""
        labels = self.json["metadata"].get("labels") or {}
        return f"pools.{labels.get(POOL_LABEL, 'POOL')}"

    @property
    def describe(self) -> str:
        """The command that describes it."""
        return f"kubectl describe pod {self.name}{namespace_option(self.json)}"

    @property
    def containers(self) -> list[tuple[Json, Json]]:
        """Specification and status of each container that has a status, in start order."""
        spec, status = self.json["spec"], self.status
        statuses = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
        specs = {each["name"]: each for each in [*(spec.get("initContainers") or []), *spec["containers"]]}
        return [(specs.get(each["name"], {}), each) for each in statuses]

    def condition(self, kind: str) -> Json:
        """Its condition of a kind; empty when it has none."""
        found = [each for each in self.status.get("conditions") or [] if each["type"] == kind]
        return found[0] if found else {}

    def warnings(self) -> list[Json]:
        """Warnings since the last event that was none, oldest first."""
        recent: list[Json] = []
        for event in sorted(self.events_of(self.name), key=last_seen):
            recent = [*recent, event] if event.get("type") == "Warning" else []
        return recent

    def diagnosis(self, trouble: Trouble, found: str, needed: str, fix: str, **facts: object) -> Diagnosis:
        """A diagnosis of this pod. Facts that are None are unknown, and left out."""
        known = {"pod": self.name, "node": self.node, **facts}
        return Diagnosis(
            trouble, found, needed, fix, {key: str(value) for key, value in known.items() if value is not None}
        )


def namespace_option(document: Json) -> str:
    """The kubectl option for the namespace of an object; empty when it has none."""
    namespace = document["metadata"].get("namespace")
    return f" -n {namespace}" if namespace else ""


def describe_job(job: Json) -> str:
    """The command that describes a Job."""
    return f"kubectl describe job {job['metadata']['name']}{namespace_option(job)}"


def last_seen(event: Json) -> str:
    """When an event was last seen. Components fill different fields; all are UTC in ISO 8601."""
    series = event.get("series") or {}
    times = (event.get("lastTimestamp"), event.get("eventTime"), series.get("lastObservedTime"))
    return max((str(time) for time in times if time), default=str(event["metadata"].get("creationTimestamp", "")))
