"""The admission policy of the publisher, evaluated as by an API server."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import celpy
import pytest

from tests.k8s.manifests import read

NODE = {
    "metadata": {
        "name": "orin-1",
        "labels": {"robot-assets/role": "edge"},
        "annotations": {"k3s.io/hostname": "orin-1"},
    },
    "spec": {"podCIDR": "10.42.1.0/24"},
}
PUBLISHER = "system:serviceaccount:robot-assets-nodes:platform-publisher"


@pytest.fixture(scope="module")
def decide(repository) -> Callable[..., str]:
    policy, binding = (document["spec"] for document in read(repository / "k8s/nodes/publisher-policy.yaml"))
    assert policy["failurePolicy"] == "Fail"
    assert binding["validationActions"] == ["Deny"]
    environment = celpy.Environment()

    def evaluate(expression: str, activation: dict):
        return environment.program(environment.compile(expression)).evaluate(activation)

    def decide(edit: Callable[[dict], object], *, user: str = PUBLISHER, where: str | None = "orin-1", old=NODE) -> str:
        new = deepcopy(old)
        edit(new)
        extra = {"authentication.kubernetes.io/node-name": [where]} if where else {}
        activation = {
            "request": celpy.json_to_cel({"userInfo": {"username": user, "extra": extra}}),
            "object": celpy.json_to_cel(new),
            "oldObject": celpy.json_to_cel(old),
        }
        if not all(evaluate(each["expression"], activation) for each in policy["matchConditions"]):
            return "not matched"
        variables = {
            celpy.celtypes.StringType(each["name"]): evaluate(each["expression"], activation)
            for each in policy["variables"]
        }
        activation["variables"] = celpy.celtypes.MapType(variables)
        for each in policy["validations"]:
            if not evaluate(each["expression"], activation):
                return each["message"]
        return "allowed"

    return decide


def annotate(key: str, value: str = "x") -> Callable[[dict], object]:
    return lambda node: node["metadata"].setdefault("annotations", {}).update({key: value})


def test_the_annotation_may_be_created_and_changed(decide):
    assert decide(annotate("robot-assets/platform")) == "allowed"
    published = deepcopy(NODE)
    annotate("robot-assets/platform", "before")(published)
    assert decide(annotate("robot-assets/platform", "after"), old=published) == "allowed"
    bare = {"metadata": {"name": "orin-1"}, "spec": {}}
    assert decide(annotate("robot-assets/platform"), old=bare) == "allowed"


@pytest.mark.parametrize("where", ["orin-2", None])
def test_another_node_and_a_token_without_a_node_are_denied(decide, where):
    assert decide(annotate("robot-assets/platform"), where=where).endswith("only the node that it runs on")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (annotate("other"), "not other annotations"),
        (annotate("k3s.io/hostname", "orin-9"), "not other annotations"),
        (lambda node: node["metadata"]["annotations"].clear(), "not other annotations"),
        (lambda node: node["metadata"]["labels"].update({"robot-assets/target": "cpu"}), "not labels"),
        (lambda node: node["metadata"].pop("labels"), "not labels"),
        (lambda node: node["spec"].update({"taints": []}), "not the spec"),
        (lambda node: node["spec"].update({"unschedulable": True}), "not the spec"),
    ],
)
def test_any_other_change_is_denied_with_the_reason(decide, edit, message):
    assert decide(edit).endswith(message)


def test_other_users_are_not_affected(decide):
    assert decide(lambda node: node["spec"].update({"taints": []}), user="system:node:orin-1") == "not matched"


def test_the_policy_has_the_account_of_the_publisher(manifests):
    for overlay in ("k3s", "external-postgres"):
        daemon_set = manifests.find(overlay, "DaemonSet", "platform-publisher")
        account = daemon_set["spec"]["template"]["spec"]["serviceAccountName"]
        assert f"system:serviceaccount:{daemon_set['metadata']['namespace']}:{account}" == PUBLISHER
