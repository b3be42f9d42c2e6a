"""A run that somebody ends in the UI takes its steps with it.

Dagster's executor leaves the pods of steps alone when runs are resumed after a crash: it takes every interruption for
one that another run worker goes on after. A run that is being canceled is the exception that it does not know.
"""

from __future__ import annotations

import dagster as dg
from dagster_k8s.client import DagsterKubernetesClient

_CANCELED = frozenset({dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED})


def is_canceled(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether somebody has asked for the end of a run."""
    run = instance.get_run_by_id(run_id)
    return run is not None and run.status in _CANCELED


def end_steps(client: DagsterKubernetesClient, namespace: str, run_id: str) -> list[str]:
    """Delete the Jobs of a run's steps that still run or wait; return their names.

    Whichever run worker has launched them: they are known by the labels that dagster_k8s gives.
    """
    selector = f"dagster/run-id={run_id},app.kubernetes.io/component=step_worker"
    pods = client.core_api.list_namespaced_pod(namespace, label_selector=selector).items
    jobs = sorted({pod.metadata.labels["job-name"] for pod in pods if pod.status.phase in ("Pending", "Running")})
    for job in jobs:
        client.delete_job(job, namespace)
    return jobs
