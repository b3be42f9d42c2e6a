"""Runs as pods: dagster_k8s's run launcher, which also knows the difference between dead and not known.

While the API server does not answer, dagster_k8s calls the state of a run's pod unknown, and run monitoring starts a
second pod for the same run beside the first, which still works: the run fails. Here such a run goes on; monitoring asks
again soon.
"""

from __future__ import annotations

from typing import Any

from dagster import DagsterRun

# Dagster has no public names for these; tests/k8s/test_instance.py opens the deployed instance with them.
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus
from dagster_k8s import K8sRunLauncher

from dagster_project.kubernetes.patient_client import patient_client

_GONE = "could not be found"
"""How dagster_k8s ends its words when the API server has answered, and has no such Job."""


class RunPods(K8sRunLauncher):
    """Launches runs, and looks after them."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._api_client = patient_client()

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        found = super().check_run_worker_health(run)
        if found.status is WorkerStatus.UNKNOWN and not (found.msg or "").endswith(_GONE):
            return CheckRunHealthResult(WorkerStatus.RUNNING, found.msg)
        return found
