"""docs/kubernetes.md: its params.yaml is valid, and every file, object and command that it names exists."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from robot_assets.pipeline.params import parse_params
from robot_assets.pipeline.placement import edge_affinity
from tests.k8s.manifests import OVERLAYS


@pytest.fixture(scope="module")
def page(repository: Path) -> str:
    return (repository / "docs/kubernetes.md").read_text()


@pytest.fixture(scope="module")
def commands(page: str) -> str:
    blocks = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    assert len(blocks) > 8
    return "\n".join([*blocks, *re.findall(r"`((?:kubectl|robot-assets|k8s/images/build) [^`]+)`", page)])


def test_its_parameters_are_valid_with_those_of_the_repository(page, repository, monkeypatch):
    (block,) = re.findall(r"```yaml params\n(.*?)```", page, re.DOTALL)
    document = yaml.safe_load((repository / "params.yaml").read_text()) | yaml.safe_load(block)
    document["models"]["sidewalk_detector"]["targets"].append("orin_agx")
    params = parse_params(document)
    monkeypatch.setenv("ROBOT_ASSETS_EDGE_IMAGE", "registry.lab:5000/robot-assets/edge:1")
    assert edge_affinity(params, "orin_agx")["pod_spec_config"]["runtimeClassName"] == "nvidia"
    assert params.pools["orin_agx"].jetson
    assert params.execution.cache.path in (repository / "k8s/nodes/k3s/cache.conf").read_text()


def test_its_parameters_name_deployed_objects(page, manifests, repository):
    (block,) = re.findall(r"```yaml params\n(.*?)```", page, re.DOTALL)
    document = yaml.safe_load(block)
    manifests.find("k3s", "ServiceAccount", document["execution"]["service_account"], "robot-assets")
    images = manifests.find("k3s", "ConfigMap", "robot-assets-images")["data"]
    assert {image["env"] for image in document["execution"]["images"].values()} <= images.keys()
    labels = "".join(path.read_text() for path in (repository / "k8s/nodes/k3s").glob("*.yaml"))
    for pool in document["pools"].values():
        for key, value in pool.get("node_labels", {}).items():
            assert f"- {key}={value}" in labels


def test_every_path_that_it_names_exists(page, repository):
    named = set(re.findall(r"\bk8s/[\w./-]*\w", page))
    assert len(named) > 12
    missing = [path for path in named if not (repository / path).exists()]
    assert missing == []


def test_every_overlay_is_mentioned(page):
    assert {*re.findall(r"k8s/overlays/([\w-]+)", page)} == {*OVERLAYS}


def test_every_object_in_a_command_is_deployed(commands, manifests):
    things = {
        (thing["kind"].lower(), thing["metadata"]["name"]) for name in OVERLAYS for thing in manifests.build(name)
    }
    named = set(re.findall(r"\b(deploy|deployment|statefulset|service)/([\w-]+)", commands))
    assert len(named) >= 5
    for kind, name in named:
        assert ({"deploy": "deployment"}.get(kind, kind), name) in things
    labels = {tuple(label) for label in re.findall(r"-l (app\.kubernetes\.io/component)=([\w-]+)", commands)}
    deployed = {
        label
        for thing in manifests.build("k3s-login")
        for label in thing.get("spec", {}).get("template", {}).get("metadata", {}).get("labels", {}).items()
    }
    assert labels - deployed == {("app.kubernetes.io/component", "step_worker")}


def test_the_secrets_of_the_page_are_those_that_the_pods_need(commands, manifests):
    made = set(re.findall(r"create secret (?:generic|tls) ([\w-]+)", commands))
    text = manifests.text("k3s-login")
    wanted = set(re.findall(r"secretKeyRef:\s+key: \S+\s+name: (\S+)", text))
    wanted |= set(re.findall(r"secretRef:\s+name: (\S+)", text)) | set(re.findall(r"secretName: (\S+)", text))
    of_steps = {"robot-assets-signing-key", "robot-assets-releases-key", "robot-assets-rollout-keys"}
    assert wanted | of_steps == made
    keys = dict(re.findall(r"secretKeyRef:\s+key: (\S+)\s+name: (\S+)", text))
    for key in keys:
        assert f"--from-file={key}" in commands


def test_every_command_of_ours_exists(commands):
    names = set(re.findall(r"robot-assets (key create|engine get|verify|platform publish)\b", commands))
    assert {"key create", "engine get", "verify"} <= names
    for name in names:
        command = [str(Path(sys.executable).with_name("robot-assets")), *name.split(), "--help"]
        assert subprocess.run(command, capture_output=True, check=False).returncode == 0, name


def test_untested_steps_are_marked(page):
    assert "**no step below has been done on a real k3s" in " ".join(page.split())
    assert page.count("†") > 5


def test_the_rights_of_the_page_are_those_of_the_roles(page):
    from tests.k8s.test_rights import DAEMON, RUN, WEBSERVER

    rows = dict(re.findall(r"^\| `([\w-]+)` \| [^|]+ \| ([^|]+) \|$", page, re.MULTILINE))
    for account, rights in (("webserver", WEBSERVER), ("daemon", DAEMON), ("run", RUN)):
        row = rows[f"robot-assets-{account}"]
        assert ("create" in row) == ("create" in rights["jobs"])
        assert ("logs" in row) == ("pods/log" in rights)
        assert ("events" in row) == ("events" in rights)
    assert rows["robot-assets-step"] == "nothing"
