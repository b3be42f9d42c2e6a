"""What is wrong with the pod of a step, in words and as a kind that a retry can be decided on."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Trouble(StrEnum):
    """Kinds of trouble. The value is what Kubernetes calls it, where it has a word for it."""

    OUT_OF_MEMORY = "OOMKilled"
    OUT_OF_STORAGE = "OutOfStorage"
    DEADLINE = "DeadlineExceeded"
    EXITED = "Exited"
    SILENT = "EndedSilently"
    JOB_DELETED = "JobDeleted"

    EVICTED = "Evicted"
    PREEMPTED = "Preempted"
    NODE_LOST = "NodeLost"
    NODE_SHUTDOWN = "NodeShutdown"
    NODE_REFUSED = "NodeRefused"
    POD_DELETED = "PodDeleted"

    UNSCHEDULABLE = "Unschedulable"
    IMAGE = "ImagePull"
    NOT_STARTED = "NotStarted"
    POD_REFUSED = "PodRefused"
    NODE_SILENT = "NodeNotReady"

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
"""The pod was taken away through no fault of the step: another attempt may well do."""

REFUSED = frozenset(
    {Trouble.UNSCHEDULABLE, Trouble.IMAGE, Trouble.NOT_STARTED, Trouble.POD_REFUSED, Trouble.NODE_SILENT}
)
"""The pod does not run, and will not before somebody or something changes."""

WAITING = frozenset({Trouble.NO_ROOM, Trouble.PREPARING})
"""The pod does not run yet, and will when others are done."""


@dataclass(frozen=True)
class Finding:
    """What is wrong with a pod.

    Attributes:
        trouble: Its kind.
        found: What was met, with the pod, its node, and what Kubernetes says.
        needed: What has to be there instead.
        fix: What to do now; a command where there is one.
        facts: The same for machines: pod, node, image, memory, exit_code; only those that are known.
    """

    trouble: Trouble
    found: str
    needed: str
    fix: str
    facts: dict[str, str] = field(default_factory=dict)

    @property
    def is_over(self) -> bool:
        """Whether the pod has ended, or is gone. If not, it may still come to run."""
        return self.trouble not in REFUSED and self.trouble not in WAITING

    @property
    def is_lost(self) -> bool:
        """Whether the pod was taken away, so that another attempt may do."""
        return self.trouble in LOST
