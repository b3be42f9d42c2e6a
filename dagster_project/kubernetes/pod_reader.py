"""Jobs, pods and events of a namespace, as the plain JSON that ``robot_assets.cluster`` judges."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dagster_k8s.client import DagsterKubernetesClient
from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

_TIMEOUT_S = 10
_LOG_LINES = 20
_PASSING = frozenset({401, 408, 429, 500, 502, 503, 504})
"""Answers of an API server that is about to be well again. 401 is one: see dagster_k8s.client."""


class Unreachable(Exception):
    """The API server gives no answer now."""


@dataclass(frozen=True)
class PodReader:
    """The objects of one namespace. Every read has a deadline, so that a hung connection does not hold up a run."""

    client: DagsterKubernetesClient
    namespace: str

    def job(self, name: str) -> dict[str, Any] | None:
        """A Job; None when there is none.

        Raises:
            Unreachable: The API server does not answer.
        """
        # a Job and its status are one object; the right to read the status is the narrower one
        read = self.client.batch_api.read_namespaced_job_status
        try:
            return self._ask(lambda: read(name, self.namespace, _request_timeout=_TIMEOUT_S))
        except ApiException as error:
            if error.status == 404:
                return None
            raise

    def pods(self, job: str) -> list[dict[str, Any]]:
        """The pods of a Job. Raises Unreachable."""
        selector = f"job-name={job}"
        read = self.client.core_api.list_namespaced_pod
        return self._ask(lambda: read(self.namespace, label_selector=selector, _request_timeout=_TIMEOUT_S))["items"]

    def events(self, about: str) -> list[dict[str, Any]]:
        """The events about an object. Raises Unreachable."""
        selector = f"involvedObject.name={about}"
        read = self.client.core_api.list_namespaced_event
        return self._ask(lambda: read(self.namespace, field_selector=selector, _request_timeout=_TIMEOUT_S))["items"]

    def last_words(self, pod: str) -> str:
        """The last lines that a pod printed; empty when they cannot be had: they only help to understand."""
        try:
            text = self.client.core_api.read_namespaced_pod_log(
                pod, self.namespace, tail_lines=_LOG_LINES, _request_timeout=_TIMEOUT_S
            )
        except (ApiException, HTTPError):
            return ""
        return str(text or "").strip()

    def _ask(self, read: Callable[[], Any]) -> Any:
        try:
            return self.client.core_api.api_client.sanitize_for_serialization(read())
        except HTTPError as error:
            raise Unreachable(str(error)) from error
        except ApiException as error:
            if error.status in _PASSING:
                raise Unreachable(f"{error.status} {error.reason}") from error
            raise
