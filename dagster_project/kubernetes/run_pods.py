"""Runs as pods: dagster_k8s's run launcher, which keeps runs through an outage of the API server.

While the API server does not respond, dagster_k8s reports the health of a run worker as unknown, and run monitoring
starts a second pod for the same run while the first still works: the run fails. Here such a run counts as running until
the next check.
"""

from __future__ import annotations

from typing import Any

from dagster import DagsterRun

# Dagster has no public names for these; tests/k8s/test_instance.py opens the deployed instance with them.
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus
from dagster_k8s import K8sRunLauncher

from dagster_project.kubernetes.retrying_client import retrying_client

_GONE = "could not be found"
"""End of dagster_k8s's message when the API server has responded and has no such Job."""


class RunPods(K8sRunLauncher):
    """Launches runs as Jobs and checks their health."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._api_client = retrying_client()

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        found = super().check_run_worker_health(run)
        if found.status is WorkerStatus.UNKNOWN and not (found.msg or "").endswith(_GONE):
            return CheckRunHealthResult(WorkerStatus.RUNNING, found.msg)
        return found
