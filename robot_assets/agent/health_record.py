"""Health of what serves over time, as this process has seen it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class HealthRecord:
    """Since when what serves is healthy, or not.

    Attributes:
        seen_at: The last look, monotonic seconds; None: none yet.
        healthy_from: Since when it is healthy without a break; None: it is not.
        unhealthy_from: Since when it is not; None: it is.
        why: Why it is not.
    """

    seen_at: float | None = None
    healthy_from: float | None = None
    unhealthy_from: float | None = None
    why: str = ""

    def see(self, why: str | None, now: float) -> float:
        """Note a look; the seconds of health since the last one."""
        was = self.healthy_from is not None
        passed = now - self.seen_at if was and why is None and self.seen_at is not None else 0.0
        self.seen_at, self.why = now, why or ""
        if why is None:
            self.unhealthy_from = None
            self.healthy_from = self.healthy_from if was else now
        else:
            self.healthy_from = None
            self.unhealthy_from = now if self.unhealthy_from is None else self.unhealthy_from
        return passed

    def unhealthy_s(self, now: float) -> float:
        """Seconds for which it has not been healthy; 0: it is."""
        return 0.0 if self.unhealthy_from is None else now - self.unhealthy_from
