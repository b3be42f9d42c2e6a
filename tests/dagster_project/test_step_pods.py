"""Requirements of the cluster executor: reads through API server outages, concurrency limits, Dagster's internals."""

import inspect
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

import dagster as dg
import kubernetes.client
import pytest
from dagster._core.executor.step_delegating import StepDelegatingExecutor
from dagster_k8s.executor import K8sStepHandler
from kubernetes.client import ApiException

from dagster_project.kubernetes.executor import KubernetesExecutor, set_concurrency_limits
from dagster_project.kubernetes.pod_reader import PodReader, Unreachable, api_client
from dagster_project.kubernetes.step_pods import StepPods
from tests.cluster.kubernetes_objects import ended, event, job, pod


def test_the_internals_of_dagster_are_those_of_the_tested_versions():
    """When one of these versions changes, run make test-cluster, then raise it here."""
    assert version("dagster") == "1.13.27"
    assert version("dagster-k8s") == "0.29.27"


@pytest.mark.parametrize(
    ("own", "theirs", "method"),
    [
        (StepPods, K8sStepHandler, "_get_container_context"),
        (StepPods, K8sStepHandler, "launch_step"),
        (StepPods, K8sStepHandler, "check_step_health"),
        (KubernetesExecutor, StepDelegatingExecutor, "execute"),
        (KubernetesExecutor, StepDelegatingExecutor, "_pop_events"),
        (KubernetesExecutor, StepDelegatingExecutor, "log_failure_or_retry_event_after_error"),
    ],
)
def test_overridden_methods_have_the_original_parameters(own, theirs, method):
    parameters = [list(inspect.signature(getattr(kind, method)).parameters) for kind in (own, theirs)]
    assert parameters[0] == parameters[1]


def test_the_limits_of_params_are_set_on_the_instance(tmp_path):
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        instance.event_log_storage.set_concurrency_slots("training", 5)
        set_concurrency_limits(instance, {"training": 2, "orin_agx": 1})
        limits = {pool.name: pool.limit for pool in instance.event_log_storage.get_pool_limits()}
        assert limits == {"training": 2, "orin_agx": 1}
        set_concurrency_limits(instance, {"training": 3, "orin_agx": 1})
        assert {pool.name: pool.limit for pool in instance.event_log_storage.get_pool_limits()}["training"] == 3


PATHS = {
    "/apis/batch/v1/namespaces/robots/jobs/dagster-step-1f0c/status": job(),
    "/api/v1/namespaces/robots/pods?labelSelector=job-name%3Ddagster-step-1f0c": {
        "kind": "PodList",
        "apiVersion": "v1",
        "items": [pod("Failed", containerStatuses=ended(137, "OOMKilled"))],
    },
    "/api/v1/namespaces/robots/events?fieldSelector=involvedObject.name%3Ddagster-step-1f0c-x7k2p": {
        "kind": "EventList",
        "apiVersion": "v1",
        "items": [event("FailedMount", "configmap not found")],
    },
}


@contextmanager
def serving(answer) -> Iterator[PodReader]:
    """A reader whose API server gives ``answer(path)``: a status and a document, or text."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            code, document = answer(self.path)
            text = document.encode() if isinstance(document, str) else json.dumps(document).encode()
            self.send_response(code)
            self.send_header("Content-Type", "text/plain" if isinstance(document, str) else "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            """No log."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield reader_of(f"http://127.0.0.1:{server.server_address[1]}")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def reader_of(url: str) -> PodReader:
    before = kubernetes.client.Configuration.get_default_copy()
    kubernetes.client.Configuration.set_default(kubernetes.client.Configuration(host=url))
    try:
        return PodReader(api_client(), "robots")
    finally:
        kubernetes.client.Configuration.set_default(before)


def test_objects_are_the_json_of_the_api_server():
    with serving(lambda path: (200, PATHS[path])) as reader:
        assert reader.job("dagster-step-1f0c")["status"]["active"] == 1
        (found,) = reader.pods("dagster-step-1f0c")
        assert found["status"]["containerStatuses"][0]["state"]["terminated"]["reason"] == "OOMKilled"
        assert found["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
        (found,) = reader.events("dagster-step-1f0c-x7k2p")
        assert found["message"] == "configmap not found"


def test_a_missing_job_is_none():
    with serving(lambda path: (404, {"kind": "Status", "message": "not found"})) as reader:
        assert reader.job("dagster-step-1f0c") is None


@pytest.mark.parametrize("code", [401, 429, 500, 503])
def test_a_transient_error_of_the_api_server_is_unreachable(code):
    with serving(lambda path: (code, {"kind": "Status"})) as reader, pytest.raises(Unreachable, match=str(code)):
        reader.job("dagster-step-1f0c")


def test_a_stopped_api_server_is_unreachable():
    with serving(lambda path: (200, {})) as reader:
        url = reader.api.configuration.host
    with pytest.raises(Unreachable, match="refused"):
        reader_of(url).pods("dagster-step-1f0c")


def test_a_missing_right_is_an_error_and_not_an_outage():
    with serving(lambda path: (403, {"kind": "Status"})) as reader, pytest.raises(ApiException, match="403"):
        reader.events("dagster-step-1f0c")


def test_the_log_tail_is_empty_when_unavailable():
    with serving(lambda path: (200, "one\ntwo\n")) as reader:
        assert reader.log_tail("x") == "one\ntwo"
    with serving(lambda path: (403, {"kind": "Status"})) as reader:
        assert reader.log_tail("x") == ""
