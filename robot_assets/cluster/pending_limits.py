"""Limits on how long a pod may be pending."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from robot_assets.cluster.diagnosis import REFUSED, Diagnosis, Trouble
from robot_assets.cluster.spec import ExecutionSpec


@dataclass
class PendingLimits:
    """Sums how long one attempt of a step has been refused, and how long it has waited.

    Only the time between two diagnoses of the same class counts: hours of waiting do not count against a pod that is
    refused later, and a pod that alternates between the two still reaches a limit.
    """

    limits: Mapping[bool, float]
    _spent: dict[bool, float] = field(default_factory=lambda: {True: 0.0, False: 0.0})
    _last: tuple[bool, float] | None = None

    @classmethod
    def of(cls, execution: ExecutionSpec) -> PendingLimits:
        """The limits of params.yaml."""
        return cls({True: execution.refused_max_s, False: execution.pending_max_s})

    def remaining_s(self, diagnosis: Diagnosis, now_s: float) -> float:
        """Seconds that remain for a pod that does not run; 0 when its limit is reached.

        Args:
            diagnosis: The current diagnosis.
            now_s: The current time of a monotonic clock.
        """
        is_refused = diagnosis.trouble in REFUSED
        if self._last is not None and self._last[0] == is_refused:
            self._spent[is_refused] += now_s - self._last[1]
        self._last = (is_refused, now_s)
        return max(self.limits[is_refused] - self._spent[is_refused], 0.0)

    def waited_s(self, diagnosis: Diagnosis) -> float:
        """Seconds spent in the class of this diagnosis, refused or waiting."""
        return self._spent[diagnosis.trouble in REFUSED]

    def failure(self, diagnosis: Diagnosis) -> Diagnosis:
        """The diagnosis as the reason of a failure after the limit.

        A node that was unreachable for that long is lost, whether or not Kubernetes evicts its pods: it evicts none
        while many nodes are unreachable at once.
        """
        trouble = Trouble.NODE_LOST if diagnosis.trouble is Trouble.NODE_NOT_READY else diagnosis.trouble
        found = f"{diagnosis.found}\n\nGave up after {_duration(self.waited_s(diagnosis))}."
        return replace(diagnosis, trouble=trouble, found=found)


def _duration(seconds: float) -> str:
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
