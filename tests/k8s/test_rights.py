"""The roles grant exactly the listed rights, and each verb is used by Dagster's client."""

import ast
from pathlib import Path

import dagster_k8s.client
import pytest

from tests.k8s.manifests import OVERLAYS

WEBSERVER = {"jobs": {"delete"}, "pods": {"list", "delete"}}
DAEMON = {
    "jobs": {"create", "list", "delete"},
    "jobs/status": {"get"},
    "pods": {"list", "delete"},
    "pods/log": {"get"},
    "events": {"list"},
}
RUN = {
    "jobs": {"create", "delete"},
    "jobs/status": {"get"},
    "pods": {"get", "list", "delete"},
    "pods/log": {"get"},
    "events": {"list"},
}
ROLES = {
    "Role robot-assets/robot-assets-webserver": WEBSERVER,
    "Role robot-assets/robot-assets-daemon": DAEMON,
    "Role robot-assets/robot-assets-run": RUN,
    "ClusterRole robot-assets-code-location": {"nodes": {"list"}},
    "ClusterRole robot-assets-platform-publisher": {"nodes": {"get", "patch"}},
}
GROUPS = {"jobs": "batch", "jobs/status": "batch", "pods": "", "pods/log": "", "events": "", "nodes": ""}

CALLS = {
    "create_namespaced_job": ("jobs", "create"),
    "list_namespaced_job": ("jobs", "list"),
    "delete_namespaced_job": ("jobs", "delete"),
    "read_namespaced_job_status": ("jobs/status", "get"),
    "read_namespaced_pod": ("pods", "get"),
    "list_namespaced_pod": ("pods", "list"),
    "delete_namespaced_pod": ("pods", "delete"),
    "read_namespaced_pod_log": ("pods/log", "get"),
    "list_namespaced_event": ("events", "list"),
}
"""Each call of dagster_k8s' client -> the right that it needs."""


def granted(role: dict) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for rule in role["rules"]:
        for resource in rule["resources"]:
            assert rule["apiGroups"] == [GROUPS[resource]], resource
            assert "resourceNames" not in rule
            found.setdefault(resource, set()).update(rule["verbs"])
    return found


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_roles_grant_exactly_the_listed_rights(manifests, overlay):
    found = {}
    for thing in manifests.build(overlay):
        if thing["kind"] in ("Role", "ClusterRole"):
            namespace = thing["metadata"].get("namespace")
            name = "/".join(filter(None, (namespace, thing["metadata"]["name"])))
            found[f"{thing['kind']} {name}"] = granted(thing)
    assert found == ROLES


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_role_is_bound_only_to_its_own_account(manifests, overlay):
    found = set()
    for thing in manifests.build(overlay):
        if thing["kind"] in ("RoleBinding", "ClusterRoleBinding"):
            (subject,) = thing["subjects"]
            assert subject["kind"] == "ServiceAccount"
            found.add((thing["roleRef"]["name"], subject["namespace"], subject["name"]))
    assert found == {
        ("robot-assets-webserver", "robot-assets", "robot-assets-webserver"),
        ("robot-assets-daemon", "robot-assets", "robot-assets-daemon"),
        ("robot-assets-run", "robot-assets", "robot-assets-run"),
        ("robot-assets-code-location", "robot-assets", "robot-assets-code-location"),
        ("robot-assets-platform-publisher", "robot-assets-nodes", "platform-publisher"),
    }


def test_no_account_in_the_namespace_of_runs_has_rights_on_nodes_or_secrets():
    """Whoever creates a Job may run it as any account of its namespace."""
    for resources in (WEBSERVER, DAEMON, RUN):
        assert resources.keys() <= {"jobs", "jobs/status", "pods", "pods/log", "events"}


def test_the_client_of_dagster_makes_exactly_the_listed_calls():
    """Another call in a new version needs a decision about its right."""
    tree = ast.parse(Path(dagster_k8s.client.__file__).read_text())
    made = {
        node.func.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Attribute)
        and node.func.value.attr in ("batch_api", "core_api")
    }
    assert made == CALLS.keys()


def test_the_granted_rights_are_exactly_those_that_dagster_uses():
    used = set(CALLS.values())
    given = {
        (resource, verb) for role in (WEBSERVER, DAEMON, RUN) for resource, verbs in role.items() for verb in verbs
    }
    assert given == used


def test_every_verb_has_a_comment_with_its_call(repository):
    text = (repository / "k8s/base/rbac.yaml").read_text()
    verbs = [line for line in text.splitlines() if line.strip().startswith("- ") and "verbs" not in line]
    verbs = [line for line in verbs if line.split("#")[0].strip("- \t") in {"get", "list", "create", "delete"}]
    assert len(verbs) == 20
    assert all("#" in line for line in verbs)
