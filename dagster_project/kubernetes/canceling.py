"""Deletes the step Jobs of a run that is canceled in the UI.

Where runs are resumed after a crash, Dagster's executor keeps the pods of steps at every interruption, for the next run
worker. It makes no exception for a run that is being canceled.
"""

from __future__ import annotations

import dagster as dg
from dagster_k8s.client import DagsterKubernetesClient

_CANCELED = frozenset({dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED})


def is_canceled(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether the cancellation of a run was requested."""
    run = instance.get_run_by_id(run_id)
    return run is not None and run.status in _CANCELED


def delete_step_jobs(client: DagsterKubernetesClient, namespace: str, run_id: str) -> list[str]:
    """Delete the Jobs of a run's steps that are running or pending; return their names.

    They are found by the labels of dagster_k8s, whichever run worker launched them.
    """
    selector = f"dagster/run-id={run_id},app.kubernetes.io/component=step_worker"
    pods = client.core_api.list_namespaced_pod(namespace, label_selector=selector).items
    jobs = sorted({pod.metadata.labels["job-name"] for pod in pods if pod.status.phase in ("Pending", "Running")})
    for job in jobs:
        client.delete_job(job, namespace)
    return jobs
