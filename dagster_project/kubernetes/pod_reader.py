"""Reads Jobs, pods and events of a namespace as plain JSON, for ``robot_assets.cluster``."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kubernetes.client import ApiClient, ApiException, BatchV1Api, Configuration, CoreV1Api
from urllib3.exceptions import HTTPError

_TIMEOUT_S = 5
_LOG_LINES = 20
_TRANSIENT = frozenset({401, 408, 429, 500, 502, 503, 504})
"""Status codes of an API server that is starting or overloaded. 401 is one: see dagster_k8s.client."""


class Unreachable(Exception):
    """The API server does not respond."""


def api_client() -> ApiClient:
    """A client of the configured API server without retries.

    The next health check reads again anyway. With the three retries of the default client, an API server that hangs
    would delay a run four times as long.
    """
    settings = Configuration.get_default_copy()
    settings.retries = False
    return ApiClient(settings)


@dataclass(frozen=True)
class PodReader:
    """The objects of one namespace. Every read has a deadline, so that a hung connection does not delay a run."""

    api: ApiClient
    namespace: str

    def job(self, name: str) -> dict[str, Any] | None:
        """A Job; None when there is none.

        Raises:
            Unreachable: The API server does not respond.
        """
        try:
            # the status subresource is the whole Job, and needs a narrower right than the Job itself
            return self._read(BatchV1Api(self.api).read_namespaced_job_status, name, self.namespace)
        except ApiException as error:
            if error.status == 404:
                return None
            raise

    def pods(self, job: str) -> list[dict[str, Any]]:
        """The pods of a Job. Raises Unreachable."""
        read = CoreV1Api(self.api).list_namespaced_pod
        return self._read(read, self.namespace, label_selector=f"job-name={job}")["items"]

    def events(self, about: str) -> list[dict[str, Any]]:
        """The events about an object. Raises Unreachable."""
        read = CoreV1Api(self.api).list_namespaced_event
        return self._read(read, self.namespace, field_selector=f"involvedObject.name={about}")["items"]

    def log_tail(self, pod: str) -> str:
        """The last lines of a pod's log; empty when unavailable: a diagnosis does not depend on them."""
        read = CoreV1Api(self.api).read_namespaced_pod_log
        try:
            return _content(read, pod, self.namespace, tail_lines=_LOG_LINES).decode(errors="replace").strip()
        except (ApiException, HTTPError):
            return ""

    def _read(self, read: Callable[..., Any], *place: str, **selectors: str) -> Any:
        try:
            return json.loads(_content(read, *place, **selectors))
        except HTTPError as error:
            raise Unreachable(str(error)) from error
        except ApiException as error:
            if error.status in _TRANSIENT:
                raise Unreachable(f"{error.status} {error.reason}") from error
            raise


def _content(read: Callable[..., Any], *place: str, **options: Any) -> bytes:
    """The raw response of the API server: the client's models refuse objects without fields that they require."""
    return read(*place, **options, _preload_content=False, _request_timeout=_TIMEOUT_S).data
