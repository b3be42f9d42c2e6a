"""How long a pod that does not run is waited for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from robot_assets.cluster.diagnosis import REFUSED, Finding, Trouble
from robot_assets.cluster.spec import ExecutionSpec


@dataclass
class Patience:
    """Adds up how long one attempt of a step has been refused, and how long it has waited.

    Only time in between two looks with the same outcome counts, so that a pod is not failed for hours that it spent
    in another state, and one that changes to and fro comes to an end all the same.
    """

    limits: Mapping[bool, float]
    _spent: dict[bool, float] = field(default_factory=lambda: {True: 0.0, False: 0.0})
    _last: tuple[bool, float] | None = None

    @classmethod
    def of(cls, execution: ExecutionSpec) -> Patience:
        """Patience as params.yaml has it."""
        return cls({True: execution.refused_max_s, False: execution.pending_max_s})

    def left_s(self, finding: Finding, now_s: float) -> float:
        """Seconds left for a pod that does not run; 0 when there are none.

        Args:
            finding: Why it does not run at this look.
            now_s: The present moment on a clock that only goes forward.
        """
        is_refused = finding.trouble in REFUSED
        if self._last is not None and self._last[0] == is_refused:
            self._spent[is_refused] += now_s - self._last[1]
        self._last = (is_refused, now_s)
        return max(self.limits[is_refused] - self._spent[is_refused], 0.0)

    def waited_s(self, finding: Finding) -> float:
        """Seconds for which looks have come out like this one."""
        return self._spent[finding.trouble in REFUSED]

    def exhausted(self, finding: Finding) -> Finding:
        """The finding as the reason of a failure.

        A node that has been silent for that long is lost, whether or not Kubernetes gives its pods up: while many nodes
        are silent at once, it gives up none.
        """
        trouble = Trouble.NODE_LOST if finding.trouble is Trouble.NODE_SILENT else finding.trouble
        found = f"{finding.found}\n\nThis was so for {_duration(self.waited_s(finding))}."
        return replace(finding, trouble=trouble, found=found)


def _duration(seconds: float) -> str:
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
