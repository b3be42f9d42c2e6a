"""The code location has every asset of the graph, imports nothing heavy, and loads through workspace.yaml."""

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import dagster as dg
import pytest

from dagster_project.definitions import build_definitions
from dagster_project.keys import BUILDS_CHECK, INTACT_CHECK, asset_key
from dagster_project.rebuilding.sensor import rebuild_sensor
from robot_assets.pipeline.graph import build_graph
from robot_assets.pipeline.project import Project

HEAVY = (
    "numpy",
    "torch",
    "onnx",
    "onnxruntime",
    "panda3d",
    "datumaro",
    "matplotlib",
    "pycocotools",
    "PIL",
    "cv2",
    "pandas",
    "kubernetes",
)


def test_every_stage_of_the_graph_is_an_asset_with_its_inputs(repository):
    project = Project(repository)
    assets = build_definitions(project).resolve_asset_graph()
    for stage in build_graph(project.params).values():
        node = assets.get(asset_key(stage.asset))
        assert node.parent_keys == {asset_key(name) for name in stage.inputs}
        own = set() if stage.is_observed else {BUILDS_CHECK}
        proof = {INTACT_CHECK} if stage.kind == "engine" else set()
        assert {key.name for key in node.check_keys} == {gate.name for gate in stage.gates} | own | proof
        assert bool(node.code_version) == (not stage.is_observed)


def test_every_gate_blocks(repository):
    definitions = build_definitions(Project(repository))
    specs = [spec for check in definitions.asset_checks for spec in check.check_specs]
    assert {spec.blocking for spec in specs if spec.name != INTACT_CHECK} == {True}
    assert {spec.blocking for spec in specs if spec.name == INTACT_CHECK} == {False}


def test_nothing_heavy_is_imported_with_the_code_location(repository):
    code = f"import sys, dagster_project.definitions; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_definitions_are_loadable():
    from dagster_project.definitions import defs

    dg.Definitions.validate_loadable(defs)


@pytest.fixture
def web_server(built):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        ["robot-assets", "ui", "--port", str(port)],
        cwd=built.root,
        env=built.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    yield f"http://127.0.0.1:{port}"
    server.terminate()
    server.wait(timeout=60)


def ask(url: str, query: str) -> dict:
    request = urllib.request.Request(
        f"{url}/graphql", json.dumps({"query": query}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)["data"]


def when_up(url: str, query: str) -> dict:
    deadline = time.monotonic() + 120
    while True:
        try:
            return ask(url, query)
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.3)


def test_the_ui_serves_the_same_instance_on_the_loopback_address_only(web_server):
    answer = when_up(
        web_server, "{ assetNodes { groupName assetKey { path } assetMaterializations(limit: 1) { runId } } }"
    )
    nodes = {"/".join(node["assetKey"]["path"]): node for node in answer["assetNodes"]}
    assert nodes["small_detector/engine/cpu"]["assetMaterializations"]
    assert nodes["small_detector/engine/cpu"]["groupName"] == "small_detector"
    assert listening_addresses(int(web_server.rsplit(":", 1)[1])) == {"127.0.0.1"}


def listening_addresses(port: int) -> set[str]:
    """IPv4 and IPv6 addresses on which this machine listens at ``port``, from /proc."""
    found = set()
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            address, local_port = local.split(":")
            if state == "0A" and int(local_port, 16) == port:
                words = [bytes.fromhex(address[at : at + 8])[::-1] for at in range(0, len(address), 8)]
                found.add(socket.inet_ntop(family, b"".join(words)))
    return found


def test_a_tick_of_the_rebuild_sensor_names_a_mistake_in_params(tmp_path):
    """Without a stack trace: Dagster shows none for its own errors."""
    params = tmp_path / "params.yaml"
    params.write_text("store: {url: s}\ndatasets: {}\nmodels: {}\ntargets: {}\n")
    sensor = rebuild_sensor(Project(tmp_path), [])
    params.write_text("store: {url: s}\ndatasets: {}\nmodels: {}\ntargets: {}\nretries: 3\n")
    with dg.DagsterInstance.ephemeral() as instance, pytest.raises(dg.DagsterError, match="retries") as caught:
        sensor(dg.build_sensor_context(instance))
    assert "fix:" in str(caught.value)
