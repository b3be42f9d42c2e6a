"""The client with which Jobs are made and deleted. It waits for an API server that is being started again."""

from __future__ import annotations

from dagster_k8s.client import DagsterKubernetesClient
from kubernetes.client import Configuration
from urllib3 import Retry

_WAITS = Retry(total=None, connect=10, read=0, status=0, redirect=0, other=0, backoff_factor=0.5, backoff_max=10)
"""About a minute. Only connections that were refused: then nothing has been asked for that could happen twice."""


def patient_client() -> DagsterKubernetesClient:
    """A client of the API server that this process is configured for."""
    usual = Configuration.get_default_copy()
    patient = Configuration.get_default_copy()
    patient.retries = _WAITS
    Configuration.set_default(patient)
    try:
        return DagsterKubernetesClient.production_client()
    finally:
        Configuration.set_default(usual)
