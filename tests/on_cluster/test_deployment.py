"""What is deployed, on a real API server: it takes every object, grants these rights and no others, and a node's
publisher tells what the node is.

The namespaces are those of the deployment, so that it is the very objects that are tried.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from robot_assets.platforms.probe import probe
from robot_assets.platforms.report import read_report
from tests.k8s.manifests import OVERLAYS, Manifests
from tests.k8s.test_rights import DAEMON, RUN, WEBSERVER

NAMESPACES = ("robot-assets", "robot-assets-nodes", "robot-assets-login")
ACCOUNTS: dict[tuple[str, str], dict[str, set[str]]] = {
    ("robot-assets", "robot-assets-webserver"): WEBSERVER,
    ("robot-assets", "robot-assets-daemon"): DAEMON,
    ("robot-assets", "robot-assets-run"): RUN,
    ("robot-assets", "robot-assets-code-location"): {"nodes": {"list"}},
    ("robot-assets", "robot-assets-step"): {},
    ("robot-assets-nodes", "platform-publisher"): {"nodes": {"get", "patch"}},
    ("robot-assets-nodes", "nvidia-device-plugin"): {},
}
RESOURCES = {
    "": [
        *("pods", "pods/log", "pods/exec", "pods/attach", "pods/portforward", "pods/eviction", "events"),
        *("secrets", "configmaps", "serviceaccounts", "serviceaccounts/token", "services", "persistentvolumeclaims"),
        *("nodes", "nodes/status", "nodes/proxy", "namespaces", "persistentvolumes"),
    ],
    "batch": ["jobs", "jobs/status", "cronjobs"],
    "apps": ["deployments", "statefulsets", "daemonsets"],
    "rbac.authorization.k8s.io": ["roles", "rolebindings", "clusterroles", "clusterrolebindings"],
    "networking.k8s.io": ["networkpolicies", "ingresses"],
}
VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "bind", "escalate")
CLUSTER_WIDE = {"nodes", "nodes/status", "nodes/proxy", "namespaces", "persistentvolumes"}


@dataclass(frozen=True)
class Deployed:
    """A cluster with the objects of the k3s overlay that no pod comes from."""

    manifests: Manifests

    def kubectl(self, *arguments: str, text: str | None = None) -> str:
        done = subprocess.run(["kubectl", *arguments], input=text, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def apply(self, objects: list[dict], *options: str) -> str:
        return self.kubectl("apply", *options, "-f", "-", text=yaml.safe_dump_all(objects))

    def get(self, *arguments: str) -> dict:
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))


@pytest.fixture(scope="module")
def deployed(manifests: Manifests) -> Iterator[Deployed]:
    if not os.environ.get("KUBECONFIG") or not shutil.which("kubectl"):
        pytest.skip("no cluster: needs KUBECONFIG and kubectl; make test-cluster sets both")
    deployed = Deployed(manifests)
    quiet = {"Namespace", "ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}
    for namespace in NAMESPACES:
        deployed.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}])
    deployed.apply([thing for thing in manifests.build("k3s") if thing["kind"] in quiet])
    yield deployed
    deployed.kubectl("delete", "namespace", *NAMESPACES, "--wait=false")


def known_to(deployed: Deployed, objects: list[dict]) -> tuple[list[dict], list[str]]:
    """The objects as this server's release has them, and those that are newer than it."""
    served = set(deployed.kubectl("api-versions").split())
    taken, newer = [], []
    for thing in objects:
        if thing["apiVersion"] == "policy/v1" and thing["apiVersion"] not in served:
            thing = {**thing, "apiVersion": "policy/v1beta1"}
        if thing["kind"].startswith("ValidatingAdmissionPolicy"):  # its group is older than the kind
            newer.append(thing["kind"])
            continue
        taken.append(_without_grpc(thing) if "policy/v1" not in served else thing)
    return taken, newer


def _without_grpc(thing: dict) -> dict:
    """Probes over gRPC are of Kubernetes 1.24."""
    thing = json.loads(json.dumps(thing))
    for container in thing.get("spec", {}).get("template", {}).get("spec", {}).get("containers", []):
        for check in (container.get(key, {}) for key in ("startupProbe", "readinessProbe", "livenessProbe")):
            if "grpc" in check:
                check["tcpSocket"] = {"port": check.pop("grpc")["port"]}
    return thing


@pytest.mark.parametrize("overlay", [*OVERLAYS, "../helm"])
def test_the_server_takes_every_object(deployed, overlay):
    objects, newer = known_to(deployed, deployed.manifests.build(overlay))
    said = deployed.apply(objects, "--dry-run=server")
    assert len(said.splitlines()) == len(objects)
    print(f"newer than this server: {', '.join(newer) or 'nothing'}")


@pytest.mark.parametrize("account", ACCOUNTS, ids=lambda account: account[1])
def test_an_account_has_these_rights_and_no_others(deployed, account):
    granted = {(resource, verb) for resource, verbs in ACCOUNTS[account].items() for verb in verbs}
    assert allowed(account, account[0]) == granted
    elsewhere = {(resource, verb) for resource, verb in granted if resource in CLUSTER_WIDE}
    assert allowed(account, "kube-system") == elsewhere


def allowed(account: tuple[str, str], namespace: str) -> set[tuple[str, str]]:
    """What the server's authorizer lets an account do there."""
    from kubernetes import client, config

    api = client.AuthorizationV1Api(config.new_client_from_config())
    found = set()
    for group, resources in RESOURCES.items():
        for resource, verb in ((resource, verb) for resource in resources for verb in VERBS):
            name, _, part = resource.partition("/")
            attributes = client.V1ResourceAttributes(
                group=group, resource=name, subresource=part or None, verb=verb, namespace=namespace
            )
            user = f"system:serviceaccount:{account[0]}:{account[1]}"
            groups = ["system:serviceaccounts", f"system:serviceaccounts:{account[0]}", "system:authenticated"]
            spec = client.V1SubjectAccessReviewSpec(user=user, groups=groups, resource_attributes=attributes)
            if api.create_subject_access_review(client.V1SubjectAccessReview(spec=spec)).status.allowed:
                found.add((resource, verb))
    return found


# nodes


@pytest.fixture
def node(deployed: Deployed) -> Iterator[str]:
    """An amd64 node that nobody has a target on, made one of the target ``cpu``."""
    nodes = deployed.get("nodes", "-l", "kubernetes.io/arch=amd64,!robot-assets/target")["items"]
    if not nodes:
        pytest.skip("no amd64 node without the label robot-assets/target")
    name = nodes[-1]["metadata"]["name"]
    yield name
    deployed.kubectl("label", "node", name, "robot-assets/target-")
    deployed.kubectl("annotate", "node", name, "robot-assets/platform-")


def test_the_publisher_tells_of_its_node_and_the_code_location_reads_it(deployed, node, tmp_path, monkeypatch):
    """The DaemonSet as deployed: on nodes with the target and on no other, with its own account's token."""
    (daemon_set,) = (
        thing for thing in deployed.manifests.build("k3s") if thing["metadata"]["name"] == "platform-publisher-cpu"
    )
    deployed.apply([daemon_set])
    try:
        deployed.kubectl("label", "node", node, "robot-assets/target=cpu")
        annotation = published(deployed, node)
        pods = deployed.get("pods", "-n", "robot-assets-nodes", "-l", "robot-assets/device=cpu")["items"]
        assert [pod["spec"]["nodeName"] for pod in pods] == [node]
    finally:
        deployed.kubectl("delete", "daemonset", "platform-publisher-cpu", "-n", "robot-assets-nodes")
    assert read_report(annotation, "the annotation") == probe()

    from dagster_project.kubernetes.nodes import read_device

    monkeypatch.setenv("KUBECONFIG", str(as_account(tmp_path, "robot-assets", "robot-assets-code-location")))
    assert read_device("cpu") == (probe(), f"node {node}")


def test_an_account_without_the_right_is_told_so(deployed, tmp_path, monkeypatch):
    from dagster_project.kubernetes.nodes import publish, read_device
    from robot_assets.errors import PlatformError

    monkeypatch.setenv("KUBECONFIG", str(as_account(tmp_path, "robot-assets", "robot-assets-step")))
    with pytest.raises(PlatformError, match=r'403 Forbidden .* cannot list resource "nodes"'):
        read_device("cpu")
    with pytest.raises(PlatformError, match=r'403 Forbidden .* cannot get resource "nodes"'):
        publish("any", probe())


def published(deployed: Deployed, node: str) -> str:
    """The annotation of a node, once it is there."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        annotations = deployed.get("node", node)["metadata"].get("annotations", {})
        if "robot-assets/platform" in annotations:
            return annotations["robot-assets/platform"]
        time.sleep(0.5)
    pytest.fail(deployed.kubectl("describe", "pods", "-n", "robot-assets-nodes"))


def as_account(folder: Path, namespace: str, account: str) -> Path:
    """A kubeconfig like the present one, for another account."""
    from kubernetes import client, config

    api = client.CoreV1Api(config.new_client_from_config())
    request = client.AuthenticationV1TokenRequest(spec=client.V1TokenRequestSpec(audiences=[]))
    token = api.create_namespaced_service_account_token(account, namespace, request).status.token
    present: dict[str, Any] = yaml.safe_load(Path(os.environ["KUBECONFIG"]).read_text())
    present["users"] = [{"name": "account", "user": {"token": token}}]
    for context in present["contexts"]:
        context["context"]["user"] = "account"
    path = folder / f"kubeconfig-{uuid.uuid4().hex[:8]}"
    path.write_text(yaml.safe_dump(present))
    return path
