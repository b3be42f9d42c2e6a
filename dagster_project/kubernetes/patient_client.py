"""The client with which Jobs are made. It waits for an API server that is being started again.

dagster_k8s tries four times within twenty seconds, and then the run fails. An API server that has just begun to answer
may also say for a moment that nobody may do anything. And a Job whose answer was lost on the way is there already at
the next try: its name is that of the run, the step and the attempt, so it is the one that was wanted.
"""

from __future__ import annotations

import time
from typing import Any

from dagster_k8s.client import (
    DagsterK8sAPIRetryLimitExceeded,
    DagsterK8sUnrecoverableAPIError,
    DagsterKubernetesClient,
)

_PATIENCE_S = 120.0
_PAUSE_S = 2.0
_PASSING = frozenset({401, 403, 408, 429, 500, 502, 503, 504})
_ALREADY_THERE = 409


class PatientClient(DagsterKubernetesClient):
    """As the usual client, but for the creation of Jobs."""

    def create_namespaced_job_with_retries(self, body: Any, namespace: str, *arguments: Any, **settings: Any) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                super().create_namespaced_job_with_retries(body, namespace, *arguments, **settings)
                return
            except (DagsterK8sAPIRetryLimitExceeded, DagsterK8sUnrecoverableAPIError) as error:
                # None: there was no answer at all
                status = getattr(error.k8s_api_exception, "status", None)
                if status == _ALREADY_THERE:
                    return
                if (status is not None and status not in _PASSING) or time.monotonic() > deadline:
                    raise
            time.sleep(_PAUSE_S)


def patient_client() -> PatientClient:
    """A client of the API server that this process is configured for."""
    usual = DagsterKubernetesClient.production_client()
    return PatientClient(usual.batch_api, usual.core_api, usual.logger, usual.sleeper, usual.timer)
