"""The diagnosis of a step's pod: a kind of trouble that retries are decided on, with found, needed and fix."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Trouble(StrEnum):
    """Kinds of trouble. The value is the word of Kubernetes where it has one."""

    OUT_OF_MEMORY = "OOMKilled"
    OUT_OF_STORAGE = "OutOfStorage"
    DEADLINE = "DeadlineExceeded"
    EXITED = "Exited"
    ENDED_SILENTLY = "EndedSilently"
    JOB_DELETED = "JobDeleted"

    EVICTED = "Evicted"
    PREEMPTED = "Preempted"
    NODE_LOST = "NodeLost"
    NODE_SHUTDOWN = "NodeShutdown"
    NODE_REFUSED = "NodeRefused"
    POD_DELETED = "PodDeleted"

    UNSCHEDULABLE = "Unschedulable"
    IMAGE_PULL = "ImagePull"
    NOT_STARTED = "NotStarted"
    POD_REFUSED = "PodRefused"
    NODE_NOT_READY = "NodeNotReady"

    NO_ROOM = "NoRoom"
    PREPARING = "Preparing"


LOST = frozenset(
    {
        Trouble.EVICTED,
        Trouble.PREEMPTED,
        Trouble.NODE_LOST,
        Trouble.NODE_SHUTDOWN,
        Trouble.NODE_REFUSED,
        Trouble.POD_DELETED,
    }
)
"""The pod was removed through no fault of the step: another attempt may succeed."""

REFUSED = frozenset(
    {Trouble.UNSCHEDULABLE, Trouble.IMAGE_PULL, Trouble.NOT_STARTED, Trouble.POD_REFUSED, Trouble.NODE_NOT_READY}
)
"""The pod does not run, and will not until the cluster or the configuration changes."""

WAITING = frozenset({Trouble.NO_ROOM, Trouble.PREPARING})
"""The pod does not run yet, and will without a change."""


@dataclass(frozen=True)
class Diagnosis:
    """What is wrong with a pod.

    Attributes:
        trouble: Its kind.
        found: What was found, with the pod, its node, and the message of Kubernetes.
        needed: What is needed instead.
        fix: What to do; a command where there is one.
        facts: The same for machines: pod, node, image, memory, exit_code; only those that are known.
    """

    trouble: Trouble
    found: str
    needed: str
    fix: str
    facts: dict[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """Found, needed and fix as paragraphs."""
        return f"{self.found}\n\nneeded: {self.needed}\n\nfix: {self.fix}"

    @property
    def metadata(self) -> dict[str, str]:
        """Found, needed, fix and the facts, for an event."""
        return {"found": self.found, "needed": self.needed, "fix": self.fix, **self.facts}

    @property
    def is_over(self) -> bool:
        """Whether the pod has ended or is gone. Otherwise it may still run."""
        return self.trouble not in REFUSED and self.trouble not in WAITING

    @property
    def is_lost(self) -> bool:
        """Whether the pod was removed, so that another attempt may succeed."""
        return self.trouble in LOST
