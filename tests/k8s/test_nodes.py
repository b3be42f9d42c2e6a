"""Nodes publish their platform, and the sensor ``platforms`` records observations of it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest
import yaml

from dagster_project.keys import asset_key
from dagster_project.kubernetes.nodes import ANNOTATION, publish, read_device
from dagster_project.observing.sensor import ObservationFailed, observing_sensors
from robot_assets.core.errors import PlatformError
from robot_assets.pipeline.observing import observed_version
from robot_assets.pipeline.project import Project
from robot_assets.platforms.probe import probe
from tests.k8s.node_api import Cluster
from tests.platforms.sample_platforms import ORIN

REFLASHED = ORIN.model_copy(update={"l4t": "36.4.4", "libnvinfer": "10.7.0.23-1+cuda12.6"})
TARGET = {"kind": "onnxruntime", "gate": {"latency_ms_p95_max": 40}}


def orin_nodes(cluster: Cluster, *names: str) -> None:
    for name in names:
        cluster.add(name, {"robot-assets/target": "orin"})


def patches(cluster: Cluster) -> list[str]:
    return [request for request in cluster.requests if request.startswith("PATCH")]


# publish


def test_a_node_is_patched_only_when_its_platform_changed(cluster):
    orin_nodes(cluster, "orin-1")
    assert publish("orin-1", ORIN).before is None
    assert not publish("orin-1", ORIN).changed
    again = publish("orin-1", REFLASHED)
    assert (again.before, again.fingerprint) == (ORIN.fingerprint, REFLASHED.fingerprint)
    assert patches(cluster) == ["PATCH /api/v1/nodes/orin-1"] * 2


def test_only_the_annotation_is_changed(cluster):
    orin_nodes(cluster, "orin-1")
    publish("orin-1", ORIN)
    node = cluster.nodes["orin-1"]
    assert node["annotations"].keys() == {ANNOTATION, "k3s.io/hostname"}
    assert node["labels"] == {"robot-assets/target": "orin"}
    assert json.loads(node["annotations"][ANNOTATION])["fingerprint"] == ORIN.fingerprint


@pytest.mark.parametrize("garbage", ["", "{}", "not json", '{"fingerprint": "0", "platform": {}}'])
def test_an_unreadable_annotation_is_replaced(cluster, garbage):
    orin_nodes(cluster, "orin-1")
    cluster.nodes["orin-1"]["annotations"][ANNOTATION] = garbage
    assert publish("orin-1", ORIN).before is None
    assert read_device("orin")[0] == ORIN


def test_a_missing_node_and_missing_rights_are_reported(cluster):
    with pytest.raises(PlatformError, match='404 Not Found about node orin-1: nodes "orin-1" not found'):
        publish("orin-1", ORIN)
    cluster.forbidden = True
    with pytest.raises(PlatformError, match="403 Forbidden about nodes with the label robot-assets/target=orin"):
        read_device("orin")


def test_an_unreachable_cluster_and_a_missing_configuration_are_reported(tmp_path, monkeypatch):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "missing"))
    with pytest.raises(PlatformError, match="no cluster is configured here"):
        read_device("orin")
    from tests.k8s.node_api import running

    with running(tmp_path) as stopped:
        monkeypatch.setenv("KUBECONFIG", str(stopped.kubeconfig))
    with pytest.raises(PlatformError, match=r"is unreachable \(nodes with the label robot-assets/target=orin\)"):
        read_device("orin")


# read_device


def test_the_platform_is_read_from_all_nodes_of_a_target(cluster):
    orin_nodes(cluster, "orin-2", "orin-1")
    cluster.add("gpu-1", {"robot-assets/role": "train"})
    for name in ("orin-1", "orin-2"):
        publish(name, ORIN)
    assert read_device("orin") == (ORIN, "nodes orin-1, orin-2")


def test_a_node_that_has_not_published_yet_is_ignored(cluster):
    orin_nodes(cluster, "orin-1", "orin-2")
    publish("orin-2", ORIN)
    assert read_device("orin") == (ORIN, "node orin-2")


def test_nodes_with_different_platforms_are_reported_with_the_differences(cluster):
    orin_nodes(cluster, "orin-1", "orin-2")
    publish("orin-1", ORIN)
    publish("orin-2", REFLASHED)
    with pytest.raises(PlatformError) as caught:
        read_device("orin")
    assert caught.value.found == (
        "the nodes of orin are different devices:\n"
        "    l4t: 36.4.3 on orin-1, 36.4.4 on orin-2\n"
        "    libnvinfer: 10.3.0.30-1+cuda12.5 on orin-1, 10.7.0.23-1+cuda12.6 on orin-2"
    )
    assert "kubectl label node orin-2 robot-assets/target=OTHER --overwrite" in caught.value.fix


def test_no_node_and_no_published_platform_are_different_errors(cluster):
    with pytest.raises(PlatformError, match="no node has the label robot-assets/target=orin"):
        read_device("orin")
    orin_nodes(cluster, "orin-1")
    with pytest.raises(PlatformError, match="node orin-1 of orin has no device report") as caught:
        read_device("orin")
    assert "logs -l app.kubernetes.io/component=platform-publisher" in caught.value.fix


def test_an_edited_annotation_is_refused_with_its_node(cluster):
    orin_nodes(cluster, "orin-1")
    publish("orin-1", ORIN)
    annotations = cluster.nodes["orin-1"]["annotations"]
    annotations[ANNOTATION] = annotations[ANNOTATION].replace("36.4.3", "36.4.4")
    with pytest.raises(PlatformError, match="the annotation robot-assets/platform of node orin-1 has fingerprint"):
        read_device("orin")


# the sensor


class PlatformsSensor:
    """The sensor ``platforms`` of a project with one target on nodes."""

    def __init__(self, root: Path) -> None:
        params = {
            "store": {"url": ".robot_assets/store"},
            "datasets": {},
            "models": {},
            "targets": {"orin": {**TARGET, "platform": "node"}},
        }
        (root / "params.yaml").write_text(yaml.safe_dump(params))
        (root / ".dagster").mkdir()
        self.project = Project(root)
        self.instance = dg.DagsterInstance.from_config(str(root / ".dagster"))
        self.sensor = next(sensor for sensor in observing_sensors(root) if sensor.name == "platforms")

    def tick(self) -> str:
        result = self.sensor.evaluate_tick(dg.build_sensor_context(instance=self.instance))
        for event in result.asset_events:
            self.instance.report_runless_asset_event(event)
        return result.skip_message

    def versions(self) -> list[str]:
        records = self.instance.fetch_observations(asset_key("platform/orin"), limit=10).records
        return [record.asset_observation.tags["dagster/data_version"] for record in records]


@pytest.fixture
def platforms(tmp_path: Path) -> PlatformsSensor:
    (tmp_path / "project").mkdir()
    return PlatformsSensor(tmp_path / "project")


def test_a_published_platform_is_recorded_only_when_it_changed(cluster, platforms):
    orin_nodes(cluster, "orin-1")
    publish("orin-1", ORIN)
    assert platforms.tick() == f"recorded platform/orin: first version {ORIN.fingerprint[:8]} (node orin-1)"
    assert platforms.tick() == "1 platform unchanged: platform/orin"
    publish("orin-1", REFLASHED)
    assert platforms.tick() == (
        f"recorded platform/orin: {ORIN.fingerprint[:8]} -> {REFLASHED.fingerprint[:8]} (l4t: 36.4.3 -> 36.4.4, "
        "libnvinfer: 10.3.0.30-1+cuda12.5 -> 10.7.0.23-1+cuda12.6)"
    )
    assert platforms.versions() == [REFLASHED.fingerprint, ORIN.fingerprint]


def test_nodes_with_different_platforms_fail_the_tick_and_change_no_version(cluster, platforms):
    orin_nodes(cluster, "orin-1", "orin-2")
    publish("orin-1", ORIN)
    platforms.tick()
    publish("orin-2", REFLASHED)
    with pytest.raises(ObservationFailed, match="the nodes of orin are different devices"):
        platforms.tick()
    assert platforms.versions() == [ORIN.fingerprint]


def test_a_step_reads_the_instance_and_never_the_nodes(cluster, platforms):
    orin_nodes(cluster, "orin-1")
    publish("orin-1", ORIN)
    before = list(cluster.requests)
    assert observed_version(platforms.project, "platform/orin") is None
    assert cluster.requests == before


# the command


def command(*arguments: str) -> list[str]:
    return [str(Path(sys.executable).with_name("robot-assets")), "platform", *arguments]


def test_the_command_publishes_this_machine(cluster):
    cluster.add("here", {"robot-assets/target": "cpu"})
    environment = {**os.environ, "ROBOT_ASSETS_NODE": "here"}
    done = subprocess.run(command("publish"), env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == f"node here is {probe().fingerprint[:8]}: published for the first time\n"
    done = subprocess.run(command("publish", "--node", "here", "--json"), capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {
        "node": "here",
        "fingerprint": probe().fingerprint,
        "before": probe().fingerprint,
        "changed": False,
    }
    failed = subprocess.run(command("publish", "--node", "there"), capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert "fix: kubectl get nodes --show-labels" in failed.stderr


def test_the_publisher_continues_after_an_error_and_ends_on_sigterm(cluster, tmp_path):
    mark = tmp_path / "published"
    publisher = subprocess.Popen(
        command("publish", "--node", "late", "--every", "1", "--mark", str(mark)), stdout=subprocess.PIPE, text=True
    )
    try:
        wait_for(lambda: any("late" in request for request in cluster.requests))
        assert not mark.exists()
        cluster.add("late", {"robot-assets/target": "cpu"})
        wait_for(mark.exists)
        assert ANNOTATION in cluster.nodes["late"]["annotations"]
        publisher.send_signal(signal.SIGTERM)
        output, _ = publisher.communicate(timeout=30)
    finally:
        publisher.kill()
    assert publisher.returncode == 0
    assert output == f"node late is {probe().fingerprint[:8]}: published for the first time\n"


def wait_for(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
