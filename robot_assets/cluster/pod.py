"""One pod as the API server has it, in plain JSON, with the words that all findings about it share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from robot_assets.cluster.diagnosis import Finding, Trouble

POOL_LABEL = "robot-assets/pool"
"""The label of a step's pod that names its pool in params.yaml."""

Json = Mapping[str, Any]
EventsOf = Callable[[str], Sequence[Json]]
"""Gives the events about an object of the namespace, by its name."""


@dataclass(frozen=True)
class Pod:
    """One pod with the words that all findings about it share."""

    json: Json
    events_of: EventsOf
    now: datetime

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.json["metadata"]["name"])

    @property
    def status(self) -> Json:
        """Its status, as its kubelet reports it."""
        return self.json.get("status") or {}

    @property
    def phase(self) -> str:
        """Pending, Running, Succeeded, Failed or Unknown."""
        return str(self.status.get("phase", ""))

    @property
    def node(self) -> str | None:
        """Its node; None before it has one."""
        node = self.json["spec"].get("nodeName")
        return str(node) if node else None

    @property
    def place(self) -> str:
        """The pod and its node, as every finding begins."""
        return f"pod {self.name} on {self.node}" if self.node else f"pod {self.name}"

    @property
    def pool(self) -> str:
        """The entry of params.yaml that placed it."""
        labels = self.json["metadata"].get("labels") or {}
        return f"pools.{labels.get(POOL_LABEL, 'POOL')}"

    @property
    def describe(self) -> str:
        """The command that tells all about it."""
        return f"kubectl describe pod {self.name}{in_namespace(self.json)}"

    @property
    def containers(self) -> list[tuple[Json, Json]]:
        """Specification and status of each container that has a status, in the order of their start."""
        spec, status = self.json["spec"], self.status
        statuses = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
        specs = {each["name"]: each for each in [*(spec.get("initContainers") or []), *spec["containers"]]}
        return [(specs.get(each["name"], {}), each) for each in statuses]

    def condition(self, kind: str) -> Json:
        """Its condition of a kind; empty when it has none."""
        found = [each for each in self.status.get("conditions") or [] if each["type"] == kind]
        return found[0] if found else {}

    def warnings(self) -> list[Json]:
        """Events about the pod since the last that was no warning, oldest first."""
        late: list[Json] = []
        for event in sorted(self.events_of(self.name), key=moment):
            late = [*late, event] if event.get("type") == "Warning" else []
        return late

    def finding(self, trouble: Trouble, found: str, needed: str, fix: str, **facts: object) -> Finding:
        """A finding about this pod. Facts that are None are not known, and left out."""
        known = {"pod": self.name, "node": self.node, **facts}
        return Finding(
            trouble, found, needed, fix, {key: str(value) for key, value in known.items() if value is not None}
        )


def in_namespace(thing: Json) -> str:
    """The words that make kubectl look where an object is."""
    namespace = thing["metadata"].get("namespace")
    return f" -n {namespace}" if namespace else ""


def describe_job(job: Json) -> str:
    """The command that tells all about a Job."""
    return f"kubectl describe job {job['metadata']['name']}{in_namespace(job)}"


def moment(event: Json) -> str:
    """When an event was last seen. Older and newer components fill different fields; all are UTC in one form."""
    series = event.get("series") or {}
    times = (event.get("lastTimestamp"), event.get("eventTime"), series.get("lastObservedTime"))
    return max((str(time) for time in times if time), default=str(event["metadata"].get("creationTimestamp", "")))
