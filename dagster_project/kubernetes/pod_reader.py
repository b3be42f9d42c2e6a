"""Jobs, pods and events of a namespace, as the plain JSON that ``robot_assets.cluster`` judges."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kubernetes.client import ApiClient, ApiException, BatchV1Api, Configuration, CoreV1Api
from urllib3.exceptions import HTTPError

_TIMEOUT_S = 5
_LOG_LINES = 20
_PASSING = frozenset({401, 408, 429, 500, 502, 503, 504})
"""Answers of an API server that is about to be well again. 401 is one: see dagster_k8s.client."""


class Unreachable(Exception):
    """The API server gives no answer now."""


def api_client() -> ApiClient:
    """A client of the API server that this process is configured for, which asks once and no more.

    What it reads is read again soon. With the three further tries of the usual client, an API server that hangs would
    hold up a run for four times as long.
    """
    settings = Configuration.get_default_copy()
    settings.retries = False
    return ApiClient(settings)


@dataclass(frozen=True)
class PodReader:
    """The objects of one namespace. Every read has a deadline, so that a hung connection does not hold up a run."""

    api: ApiClient
    namespace: str

    def job(self, name: str) -> dict[str, Any] | None:
        """A Job; None when there is none.

        Raises:
            Unreachable: The API server does not answer.
        """
        try:
            # a Job and its status are one object; the right to read the status is the narrower one
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

    def last_words(self, pod: str) -> str:
        """The last lines that a pod printed; empty when they cannot be had: they only help to understand."""
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
            if error.status in _PASSING:
                raise Unreachable(f"{error.status} {error.reason}") from error
            raise


def _content(read: Callable[..., Any], *place: str, **options: Any) -> bytes:
    """What the API server sent, as it sent it: the client's models refuse objects that lack what they think needed."""
    return read(*place, **options, _preload_content=False, _request_timeout=_TIMEOUT_S).data
