"""The run launcher of a checkout: Dagster's default launcher with a health check of run workers.

A run worker that was killed (out of memory, a power cut, ``kill -9``) cannot report it: with the default launcher its
run stays "started" for ever, and the rebuild sensor would wait for it. Run monitoring calls this launcher, which looks
for the process (docs/decisions/006-local-run-launcher.md). A cluster has another launcher, which asks Kubernetes.
"""

from __future__ import annotations

import os
from pathlib import Path

import dagster as dg

# Dagster has no public name for the answer to a health check; tests/dagster_project/test_event_log.py pins the range.
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus

_PROC = Path("/proc")


class LocalRunLauncher(dg.DefaultRunLauncher):
    """Starts runs as processes of this machine, and checks whether a process is still alive."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Whether the process that started the run is still alive."""
        starts = self._instance.all_logs(run.run_id, of_type=dg.DagsterEventType.RUN_START)
        if not starts:
            return CheckRunHealthResult(WorkerStatus.UNKNOWN, "the run has not started")
        began, event = starts[-1].timestamp, starts[-1].get_dagster_event()
        if event.pid is None or _lives(event.pid, began):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.NOT_FOUND, f"process {event.pid} was killed")


def _lives(pid: int, since: float) -> bool:
    """Whether the process with this id is alive and was alive at ``since``: ids are reused."""
    try:
        facts = (_PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    state, *rest = facts.rpartition(")")[2].split()
    ticks_after_boot = int(rest[18])
    boot = next(int(line.split()[1]) for line in (_PROC / "stat").read_text().splitlines() if line.startswith("btime "))
    # btime is rounded to a second
    return state != "Z" and boot + ticks_after_boot / os.sysconf("SC_CLK_TCK") <= since + 2
