"""A real API server accepts every object of the deployment, and grants exactly the listed rights.

The namespaces are those of the deployment, so that the objects are unchanged.
"""

from __future__ import annotations

import pytest

from robot_assets.platforms.probe import probe
from tests.k8s.manifests import OVERLAYS
from tests.k8s.test_rights import DAEMON, RUN, WEBSERVER
from tests.on_cluster.deployment import apply, as_account, known_to_server

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


@pytest.mark.parametrize("overlay", [*OVERLAYS, "../helm"])
def test_the_server_accepts_every_object(deployed, manifests, overlay):
    objects, newer = known_to_server(manifests.build(overlay))
    output = apply(objects, "--dry-run=server")
    assert len(output.splitlines()) == len(objects)
    print(f"newer than this server: {', '.join(newer) or 'nothing'}")


@pytest.mark.parametrize("account", ACCOUNTS, ids=lambda account: account[1])
def test_an_account_has_exactly_its_rights(deployed, account):
    granted = {(resource, verb) for resource, verbs in ACCOUNTS[account].items() for verb in verbs}
    assert allowed(account, account[0]) == granted
    elsewhere = {(resource, verb) for resource, verb in granted if resource in CLUSTER_WIDE}
    assert allowed(account, "kube-system") == elsewhere


def allowed(account: tuple[str, str], namespace: str) -> set[tuple[str, str]]:
    """Rights of an account in a namespace, as decided by the authorizer of the server."""
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


def test_the_error_without_a_right_names_it(deployed, tmp_path, monkeypatch):
    from dagster_project.kubernetes.nodes import publish, read_device
    from robot_assets.core.errors import PlatformError

    monkeypatch.setenv("KUBECONFIG", str(as_account(tmp_path, "robot-assets", "robot-assets-step")))
    with pytest.raises(PlatformError, match=r'403 Forbidden .* cannot list resource "nodes"'):
        read_device("cpu")
    with pytest.raises(PlatformError, match=r'403 Forbidden .* cannot get resource "nodes"'):
        publish("any", probe())
