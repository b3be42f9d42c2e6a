"""The whole graph in the cluster: a manual training run, and the sensors build the rest.

The tests of this module share one deployment and run in order.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from dagster_project.instance.reader import latest_records
from dagster_project.keys import asset_name
from robot_assets.pipeline.graph import build_graph
from robot_assets.platforms.probe import probe
from robot_assets.platforms.report import read_report
from robot_assets.provenance.delivery import deliver
from robot_assets.store import Store
from tests.k8s.manifests import Object
from tests.on_cluster.deployment import (
    DEPLOYED_PARAMS,
    JETSONS,
    NAMESPACE,
    Deployment,
    as_account,
    build_everything,
    get,
    is_fresh,
    kubectl,
    restart_api_server,
    states,
    within,
)

MODEL = "small_detector"
NODE_OF = {"training": "gpu-1", "orin_agx": "orin-agx-1", "orin_nano": "orin-nano-1", "cpu": "server"}
ENGINES = [f"{MODEL}/engine/{target}" for target in ("cpu", "orin_agx", "orin_nano")]
ROBOT_ASSETS = str(Path(sys.executable).with_name("robot-assets"))
TRAINED = {f"{MODEL}/{stage}" for stage in ("checkpoint", "ptq", "qat")}


def pool_of(step: str) -> str:
    """The pool of a step by its name, independent of the code."""
    name = step.replace("__", "/")
    for target in ("cpu", "orin_agx", "orin_nano"):
        if f"engine/{target}" in name and "lineage_intact" not in name:
            return target
    return "training" if any(name.startswith(trained) for trained in TRAINED) else "general"


def step_pods() -> list[Object]:
    return get("pods", "-n", NAMESPACE, "-l", "dagster/op")["items"]


def test_the_publisher_publishes_the_platform_and_the_code_location_reads_it(deployment, tmp_path, monkeypatch):
    """The deployed DaemonSets run only on nodes with a target, with the token of their own account."""
    published = within(90, lambda: annotations().keys() >= {"server", *JETSONS} and annotations(), "all have published")
    assert published.keys() == {"server", *JETSONS}
    assert read_report(published["server"], "the annotation") == probe()
    assert {node: read_report(published[node], node).board for node in JETSONS} == JETSONS

    from dagster_project.kubernetes.nodes import read_device

    monkeypatch.setenv("KUBECONFIG", str(as_account(tmp_path, "robot-assets", "robot-assets-code-location")))
    assert read_device("cpu") == (probe(), "node server")


def annotations() -> dict[str, str]:
    found = {node["metadata"]["name"]: node["metadata"].get("annotations", {}) for node in get("nodes")["items"]}
    return {name: each["robot-assets/platform"] for name, each in found.items() if "robot-assets/platform" in each}


@pytest.fixture(scope="module")
def built(deployment: Deployment) -> Deployment:
    """The deployment with the whole graph built."""
    build_everything(deployment)
    return deployment


def test_each_step_runs_on_a_node_of_its_pool_with_its_resources(built):
    pods = step_pods()
    made = {pod["metadata"]["labels"]["dagster/op"] for pod in pods}
    graph = build_graph(built.project.params)
    assert {name.replace("/", "__") for name, stage in graph.items() if not stage.is_observed} <= made
    for pod in pods:
        pool = pool_of(pod["metadata"]["labels"]["dagster/op"])
        wanted = DEPLOYED_PARAMS["pools"][pool]
        assert pod["metadata"]["labels"]["robot-assets/pool"] == pool
        assert pool == "general" or pod["spec"]["nodeName"] == NODE_OF[pool]
        (container,) = pod["spec"]["containers"]
        limits = container["resources"]["limits"]
        assert limits["memory"] == container["resources"]["requests"]["memory"] == wanted["memory"]
        assert limits.get("nvidia.com/gpu") == (str(wanted["gpus"]) if "gpus" in wanted else None)
        assert container["image"].endswith("edge:0.1.0" if pool.startswith("orin") else "train:0.1.0")


def test_only_steps_with_a_toleration_run_on_edge_nodes(built):
    elsewhere = [pod for pod in step_pods() if pod["spec"]["nodeName"] in JETSONS]
    assert {pool_of(pod["metadata"]["labels"]["dagster/op"]) for pod in elsewhere} == {"orin_agx", "orin_nano"}


def test_a_record_has_the_node_the_image_and_the_commit(built):
    engines = {f"{MODEL}/engine/{target}": node for target, node in NODE_OF.items() if target != "training"}
    with built.instance as instance:
        records = latest_records(instance, list(engines))
    commit = subprocess.run(["git", "-C", str(built.folder), "rev-parse", "HEAD"], capture_output=True, text=True)
    for name, node in engines.items():
        assert records[name].node == node
        assert records[name].image.startswith("registry.lab:5000/robot-assets/")
        assert (records[name].git_commit, records[name].git_dirty) == (commit.stdout.strip(), False)


def test_the_lineage_of_every_engine_is_intact(built):
    run = built.end(built.check("lineage_intact", *ENGINES))
    assert run.is_success, built.log(run.run_id)
    found = {asset_name(each.asset_key): each for each in built.evaluations(run.run_id)}
    assert {name: (each.passed, each.description) for name, each in found.items()} == {
        name: (True, each.description) for name, each in found.items()
    }
    assert found.keys() == set(ENGINES)


def test_an_engine_for_a_jetson_is_valid_there_and_refused_elsewhere(built, tmp_path):
    name = f"{MODEL}/engine/orin_agx"
    deliver(built.project.store.open(built.versions()[name]), tmp_path / "engine", built.project.store)
    command = [ROBOT_ASSETS, "verify", tmp_path / "engine"]
    here = subprocess.run(command, cwd=built.folder, capture_output=True, text=True)
    assert here.returncode == 1
    assert "it was built for NVIDIA Jetson AGX Orin" in here.stdout
    device = {**os.environ, **built.image_environment, "ROBOT_ASSETS_NODE": "orin-agx-1"}
    there = subprocess.run(command, cwd=built.folder, env=device, capture_output=True, text=True)
    assert there.returncode == 0, there.stdout


def test_artifacts_stay_in_the_cache_of_the_node_after_the_pod(built):
    kept = Store(built.cache)
    assert {name: version for name, version in built.versions().items() if not kept.has(version)} == {}


@pytest.fixture
def reflashed(built: Deployment) -> Iterator[str]:
    """The target of a Jetson whose device has changed."""
    built.reflash("orin-nano-1", "NVIDIA Jetson Orin Nano Super")
    yield "orin_nano"
    built.reflash("orin-nano-1", JETSONS["orin-nano-1"])


def test_a_changed_device_rebuilds_exactly_its_own_engine(built, reflashed):
    before = {run.run_id for run in built.runs()}
    versions = built.versions()
    within(60, lambda: not is_fresh(built), lambda: states(built))
    within(300, lambda: is_fresh(built), lambda: states(built))
    new = [run for run in built.runs() if run.run_id not in before]
    assert {run.tags.get("robot_assets/asset") for run in new} == {f"{MODEL}/engine/{reflashed}"}
    assert "platform/orin_nano changed" in new[-1].tags["robot_assets/because"]
    changed = {name for name, version in built.versions().items() if versions.get(name) != version}
    assert changed <= {f"{MODEL}/engine/{reflashed}"}
    assert {pod["spec"]["nodeName"] for run in new for pods in built.pods(run.run_id).values() for pod in pods} <= {
        "orin-nano-1",
        "server",
        "gpu-1",
    }


# faults


def started_step(deployment: Deployment, run_id: str) -> Object:
    """The pod of a step that has started its work."""

    def started() -> Object | None:
        running = [
            pod for pods in deployment.pods(run_id).values() for pod in pods if pod["status"]["phase"] == "Running"
        ]
        with deployment.instance as instance:
            return running[0] if running and instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_START) else None

    return within(90, started, lambda: deployment.log(run_id))


def assert_consistent(deployment: Deployment, tmp_path: Path) -> None:
    """No Job is active, and every artifact can be read from the remote."""
    within(60, lambda: not deployment.active_jobs(), lambda: f"no active Jobs: {deployment.active_jobs()}")
    elsewhere = Store(tmp_path / "cache", deployment.project.store.remote_url)
    for version in deployment.versions().values():
        elsewhere.open(version)


def test_a_run_whose_pod_is_killed_is_resumed_in_another(built, minicluster, tmp_path):
    run_id = built.materialize(f"{MODEL}/engine/orin_agx")
    started_step(built, run_id)
    (worker,) = get("pods", "-n", NAMESPACE, "-l", f"dagster/run-id={run_id},!dagster/op")["items"]
    minicluster("pod-kill", worker["metadata"]["name"], "-n", NAMESPACE)
    assert built.end(run_id).is_success, built.log(run_id)
    assert "resume" in built.log(run_id)
    assert_consistent(built, tmp_path)


def test_a_run_survives_a_restart_of_the_api_server(built, minicluster, tmp_path):
    run_id = built.materialize(f"{MODEL}/engine/orin_agx")
    started_step(built, run_id)
    restart_api_server(down_s=5)
    assert built.end(run_id).is_success, built.log(run_id)
    assert_consistent(built, tmp_path)


def test_a_step_that_is_killed_leaves_the_store_consistent_and_is_retried(built, minicluster, tmp_path):
    run_id = built.materialize(f"{MODEL}/engine/orin_nano")
    pod = started_step(built, run_id)
    kubectl("delete", "pod", pod["metadata"]["name"], "-n", NAMESPACE, "--grace-period=0", "--force", "--wait=false")
    assert built.end(run_id).is_success, built.log(run_id)
    assert "a user or a controller deleted it" in built.log(run_id)
    assert_consistent(built, tmp_path)
