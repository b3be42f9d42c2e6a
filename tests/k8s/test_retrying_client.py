"""Jobs are created exactly once while the API server is unavailable for some time. Over HTTP, with the real client."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import kubernetes
import pytest
from dagster_k8s.client import DagsterK8sUnrecoverableAPIError

from dagster_project.kubernetes import retrying_client
from dagster_project.kubernetes.retrying_client import RetryingClient

JOB = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "dagster-step-1"}}
DROPPED = 0
CREATED = 201


@contextmanager
def answering(*codes: int) -> Iterator[tuple[RetryingClient, list[int]]]:
    """A client of a server that responds with these codes in turn, and the remaining codes."""
    left = list(codes)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            code = left.pop(0)
            if code == DROPPED:
                self.close_connection = True
                return
            text = json.dumps(JOB if code == CREATED else {"kind": "Status", "message": str(code)}).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            """No log."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever).start()
    settings = kubernetes.client.Configuration(host=f"http://127.0.0.1:{server.server_port}")
    api = kubernetes.client.ApiClient(settings)
    batch, core = kubernetes.client.BatchV1Api(api), kubernetes.client.CoreV1Api(api)
    try:
        yield RetryingClient(batch, core, print, lambda _: None, lambda: 0.0), left
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying_client, "_PAUSE_S", 0)


@pytest.mark.parametrize(
    "codes", [(CREATED,), (403, CREATED), (503, 500, DROPPED, 403, CREATED), (DROPPED, 409), (503, 403, 409)]
)
def test_a_job_is_created_exactly_once_when_the_server_accepts_it(codes):
    with answering(*codes) as (client, left):
        client.create_namespaced_job_with_retries(JOB, "robot-assets", wait_time_between_attempts=0)
    assert left == []


def test_an_invalid_job_is_refused_at_once():
    with answering(422, CREATED) as (client, left):
        with pytest.raises(DagsterK8sUnrecoverableAPIError):
            client.create_namespaced_job_with_retries(JOB, "robot-assets", wait_time_between_attempts=0)
        assert left == [CREATED]


def test_attempts_end_after_the_limit(monkeypatch):
    monkeypatch.setattr(retrying_client, "_RETRY_S", -1)
    with answering(403, CREATED) as (client, left):
        with pytest.raises(DagsterK8sUnrecoverableAPIError):
            client.create_namespaced_job_with_retries(JOB, "robot-assets", wait_time_between_attempts=0)
        assert left == [CREATED]
