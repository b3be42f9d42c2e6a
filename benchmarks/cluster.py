"""Measures the overhead of a step over a bare Job, and the time until the engines of a changed device are rebuilt.

    KUBECONFIG=... python -m benchmarks.cluster

Needs a cluster with the nodes of tests/on_cluster/nodes.yaml, and runs the deployment of k8s/ on it, as
tests/on_cluster does. Bare Jobs and steps alternate in one run; both are timed with a watch on the API server, from
their creation to their end:

    overhead of a step        without its own work, at most 1.5x a bare Job of `python -c pass` plus `import dagster`
    from device to rebuild    from a new annotation of the node to the start of the run, at most 2 sensor intervals

Exit code 1 when a bound is missed.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
import yaml

from tests.k8s.manifests import Manifests
from tests.on_cluster.deployment import (
    NAMESPACE,
    Deployment,
    build_everything,
    get,
    is_fresh,
    kubectl,
    namespaces,
    running_deployment,
    states,
    within,
)
from tests.synthetic.s3 import running_s3

OVERHEAD_MAX = 1.5
INTERVALS_MAX = 2.0
INTERVAL_S = 30  # the default
_PASS = ["python", "-c", "pass"]
ASSET = "datasets/small"


def main() -> int:
    arguments = _arguments()
    manifests = Manifests(Path(__file__).parents[1] / "k8s")
    with (
        tempfile.TemporaryDirectory(dir="/var/tmp") as folder,
        running_s3() as s3,
        namespaces(manifests),
        running_deployment(manifests, Path(folder), s3) as deployment,
    ):
        # what the sensors build without a manual training run; afterwards they are idle
        within(300, lambda: ASSET in deployment.versions() and not deployment.active_jobs(), "the data set is built")
        missed = _overhead(deployment, arguments.times)
        if arguments.changes:
            build_everything(deployment)
            missed |= _reaction(deployment, arguments.changes)
    return int(missed)


def _overhead(deployment: Deployment, times: int) -> bool:
    jobs, steps, imports = [], [], []
    for number in range(times):
        jobs.append(_bare_job(number))
        steps.append(_step(deployment))
        imports.append(_took(lambda: subprocess.run([sys.executable, "-c", "import dagster"], check=True)))
        imports[-1] -= _took(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True))
        print(f"bare Job {jobs[-1]:.2f} s, step without its work {steps[-1]:.2f} s, import {imports[-1]:.2f} s")
    job, step, dagster = map(statistics.median, (jobs, steps, imports))
    ratio = (step - dagster) / job
    print(f"medians: bare Job {job:.2f} s, step {step:.2f} s, import dagster {dagster:.2f} s")
    print(f"a step takes {ratio:.2f}x a bare Job, plus the import (at most {OVERHEAD_MAX})")
    return ratio > OVERHEAD_MAX


def _bare_job(number: int) -> float:
    """Seconds from the creation of a Job to its completion."""
    pod = {"restartPolicy": "Never", "containers": [{"name": "bare", "image": "any:1", "command": _PASS}]}
    job = {"metadata": {"name": f"bare-{number}"}, "spec": {"template": {"spec": pod}}}
    began = time.time()
    _batch().create_namespaced_job(NAMESPACE, job)
    return _completed(f"metadata.name=bare-{number}") - began


def _step(deployment: Deployment) -> float:
    """Seconds from the creation of a step's Job to its completion, without the work of the step."""
    run_id = deployment.materialize(ASSET, checks=False)
    ended = _completed("", f"dagster/run-id={run_id},dagster/op")
    deployment.end(run_id)
    launched, began, done = _moments(deployment, run_id)
    return (ended - launched) - (done - began)


def _completed(fields: str, labels: str = "") -> float:
    """Time at which the watch reports that the Job is complete."""
    from kubernetes import watch

    stream = watch.Watch()
    listing = _batch().list_namespaced_job
    for event in stream.stream(listing, NAMESPACE, field_selector=fields, label_selector=labels, timeout_seconds=120):
        if event["object"].status.succeeded:
            stream.stop()
            return time.time()
    raise TimeoutError(f"no Job with {fields}{labels} was completed within 120 s")


@cache
def _batch() -> Any:
    from kubernetes import client, config

    return client.BatchV1Api(config.new_client_from_config())


def _moments(deployment: Deployment, run_id: str) -> list[float]:
    """Times at which the run launched the step's Job, the step started its work, and finished it."""
    kinds = dg.DagsterEventType
    wanted = (kinds.STEP_WORKER_STARTING, kinds.STEP_START, kinds.STEP_SUCCESS)
    with deployment.instance as instance:
        logs = instance.all_logs(run_id, of_type={*wanted})
    moments = {entry.dagster_event.event_type: entry.timestamp for entry in logs}
    return [moments[kind] for kind in wanted]


def _reaction(deployment: Deployment, changes: int) -> bool:
    _set_sensor_interval(deployment, INTERVAL_S)
    times = []
    for number in range(changes):
        time.sleep(random.uniform(0, INTERVAL_S))
        times.append(_from_device_to_run(deployment, f"Jetson Orin Nano, flashed {number + 1} times"))
        print(f"from the annotation to the start of the run {times[-1]:.1f} s")
        within(300, lambda: is_fresh(deployment), lambda: states(deployment))
    ratio = max(times) / INTERVAL_S
    print(f"at most {ratio:.2f} intervals of {INTERVAL_S} s, of {changes} measured (at most {INTERVALS_MAX})")
    return ratio > INTERVALS_MAX


def _set_sensor_interval(deployment: Deployment, interval_s: int) -> None:
    params = yaml.safe_load((deployment.folder / "params.yaml").read_text())
    params["rebuild"]["interval_s"] = interval_s
    (deployment.folder / "params.yaml").write_text(yaml.safe_dump(params))
    kubectl("rollout", "restart", "-n", NAMESPACE, "deployment/robot-assets-code-location")
    kubectl("rollout", "status", "-n", NAMESPACE, "deployment/robot-assets-code-location")
    within(120, deployment.is_up, "the code location is up again")
    time.sleep(2 * interval_s)


def _from_device_to_run(deployment: Deployment, model: str) -> float:
    before = {run.run_id for run in deployment.runs()}
    deployment.reflash("orin-nano-1", model)
    within(60, lambda: model in _platform_annotation("orin-nano-1"), "the platform is published")
    published = time.time()

    def started() -> float | None:
        new = [run for run in deployment.runs() if run.run_id not in before]
        with deployment.instance as instance:
            return instance.get_run_stats(new[0].run_id).start_time if new else None

    return within(300, started, lambda: states(deployment)) - published


def _platform_annotation(node: str) -> str:
    return str(get("node", node)["metadata"]["annotations"]["robot-assets/platform"])


def _took(call: Callable[[], Any]) -> float:
    began = time.monotonic()
    call()
    return time.monotonic() - began


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=7, help="number of bare Jobs and of steps")
    parser.add_argument("--changes", type=int, default=5, help="number of changes of the device; 0: only the overhead")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
