"""The run launcher of a checkout: Dagster's own, and a run whose process is gone is known to have ended.

A run worker that was killed (out of memory, a power cut, ``kill -9``) cannot say so: with Dagster's default
launcher its run stays "started" for ever, and the rebuild sensor would wait for it for ever. Run monitoring asks
this launcher, which looks for the process. In a cluster Kubernetes knows, and the launcher is another one.
"""

from __future__ import annotations

import os
from pathlib import Path

import dagster as dg

# Dagster has no public name for the answer to a health check; tests/dagster_project/test_event_log.py pins the range.
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus

_PROC = Path("/proc")


class LocalRunLauncher(dg.DefaultRunLauncher):
    """Starts runs as processes of this machine, and can tell whether one still lives."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Whether the process that began the run is still there."""
        starts = self._instance.all_logs(run.run_id, of_type=dg.DagsterEventType.RUN_START)
        if not starts:
            return CheckRunHealthResult(WorkerStatus.UNKNOWN, "it has not begun")
        began, event = starts[-1].timestamp, starts[-1].get_dagster_event()
        if event.pid is None or _lives(event.pid, began):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.NOT_FOUND, f"process {event.pid} is gone: it was killed")


def _lives(pid: int, since: float) -> bool:
    """Whether the process with this id is alive and was so at ``since`` (ids are used again)."""
    try:
        facts = (_PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    state, *rest = facts.rpartition(")")[2].split()
    ticks_after_boot = int(rest[18])
    boot = next(int(line.split()[1]) for line in (_PROC / "stat").read_text().splitlines() if line.startswith("btime "))
    # btime is rounded to a second
    return state != "Z" and boot + ticks_after_boot / os.sysconf("SC_CLK_TCK") <= since + 2
