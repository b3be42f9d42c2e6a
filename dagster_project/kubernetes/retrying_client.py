"""A client that creates Jobs, and retries while the API server restarts.

dagster_k8s makes four attempts within twenty seconds, and then the run fails. An API server that has just started may
also refuse every request for a moment. And a Job whose response was lost exists at the next attempt: its name has the
run, the step and the attempt, so it is the requested one.
"""

from __future__ import annotations

import time
from typing import Any

from dagster_k8s.client import (
    DagsterK8sAPIRetryLimitExceeded,
    DagsterK8sUnrecoverableAPIError,
    DagsterKubernetesClient,
)

_RETRY_S = 120.0
_PAUSE_S = 2.0
_TRANSIENT = frozenset({401, 403, 408, 429, 500, 502, 503, 504})
_CONFLICT = 409


class RetryingClient(DagsterKubernetesClient):
    """``DagsterKubernetesClient`` with more attempts at the creation of a Job."""

    def create_namespaced_job_with_retries(self, body: Any, namespace: str, *arguments: Any, **settings: Any) -> None:
        deadline = time.monotonic() + _RETRY_S
        while True:
            try:
                super().create_namespaced_job_with_retries(body, namespace, *arguments, **settings)
                return
            except (DagsterK8sAPIRetryLimitExceeded, DagsterK8sUnrecoverableAPIError) as error:
                # None: there was no response
                status = getattr(error.k8s_api_exception, "status", None)
                if status == _CONFLICT:
                    return
                if (status is not None and status not in _TRANSIENT) or time.monotonic() > deadline:
                    raise
            time.sleep(_PAUSE_S)


def retrying_client() -> RetryingClient:
    """A client of the configured API server."""
    usual = DagsterKubernetesClient.production_client()
    return RetryingClient(usual.batch_api, usual.core_api, usual.logger, usual.sleeper, usual.timer)
