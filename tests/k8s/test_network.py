"""Connections that the network policies allow, evaluated as by a network policy controller."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from tests.k8s.manifests import OVERLAYS

Labels = Mapping[str, str]


@dataclass(frozen=True)
class Pod:
    namespace: str
    labels: Labels
    address: str = "10.42.0.7"


@dataclass(frozen=True)
class Network:
    """The network policies of a cluster."""

    policies: tuple[dict, ...]

    def allows(self, source: Pod | None, target: Pod | None, port: int, address: str = "203.0.113.5") -> bool:
        """Whether a connection is allowed; None is outside of the cluster, at ``address``."""
        leaves = source is None or self._permits(source, target, port, "Egress", address)
        return leaves and (target is None or self._permits(target, source, port, "Ingress", address))

    def _permits(self, pod: Pod, other: Pod | None, port: int, direction: str, address: str) -> bool:
        selecting = [
            policy["spec"]
            for policy in self.policies
            if policy["metadata"]["namespace"] == pod.namespace
            and direction in policy["spec"]["policyTypes"]
            and matches(policy["spec"]["podSelector"], pod.labels)
        ]
        rules = [rule for spec in selecting for rule in spec.get(direction.lower(), [])]
        peer = "to" if direction == "Egress" else "from"
        return not selecting or any(
            _port(rule, port)
            and (peer not in rule or any(_peer(each, pod.namespace, other, address) for each in rule[peer]))
            for rule in rules
        )


def _port(rule: dict, port: int) -> bool:
    return "ports" not in rule or any(each["port"] == port for each in rule["ports"])


def _peer(peer: dict, namespace: str, other: Pod | None, address: str) -> bool:
    if "ipBlock" in peer:
        where = ipaddress.ip_address(address if other is None else other.address)
        return where in ipaddress.ip_network(peer["ipBlock"]["cidr"])
    if other is None:
        return False
    inside = (
        matches(peer["namespaceSelector"], {"kubernetes.io/metadata.name": other.namespace})
        if "namespaceSelector" in peer
        else other.namespace == namespace
    )
    return inside and matches(peer.get("podSelector", {}), other.labels)


def matches(selector: dict, labels: Labels) -> bool:
    exact = selector.get("matchLabels", {}).items() <= labels.items()
    return exact and all(
        expression["operator"] == "In" and labels.get(expression["key"]) in expression["values"]
        for expression in selector.get("matchExpressions", [])
    )


def dagster(component: str) -> Pod:
    return Pod("robot-assets", {"app.kubernetes.io/component": component})


DNS = Pod("kube-system", {"k8s-app": "kube-dns"})
LOGIN = Pod("robot-assets-login", {"app.kubernetes.io/component": "login"})
TRAEFIK = Pod("kube-system", {"app.kubernetes.io/name": "traefik"})
PUBLISHER = Pod("robot-assets-nodes", {"app.kubernetes.io/component": "platform-publisher"})
STRANGER = Pod("default", {"app.kubernetes.io/component": "webserver"})
ALL = ("webserver", "daemon", "code-location", "run_worker", "step_worker")
API = 6443


@pytest.fixture(params=OVERLAYS)
def overlay(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def network(manifests, overlay) -> Network:
    return Network(tuple(thing for thing in manifests.build(overlay) if thing["kind"] == "NetworkPolicy"))


def test_every_namespace_with_pods_denies_by_default(manifests, overlay, network):
    with_pods = {
        thing["metadata"]["namespace"] for thing in manifests.build(overlay) if "template" in thing.get("spec", {})
    }
    denied = {
        policy["metadata"]["namespace"]
        for policy in network.policies
        if policy["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    }
    assert denied == with_pods


@pytest.mark.parametrize("component", ALL)
def test_dagster_reaches_dns_the_object_store_and_the_database(overlay, network, component):
    pod = dagster(component)
    assert network.allows(pod, DNS, 53)
    assert network.allows(pod, None, 443)
    assert network.allows(pod, None, 9000)
    if overlay == "external-postgres":
        assert network.allows(pod, None, 5432, "192.0.2.10")
        assert not network.allows(pod, None, 5432, "192.0.2.11")
    else:
        assert network.allows(pod, dagster("postgres"), 5432)


def test_steps_never_reach_the_api_server_and_the_others_do(network):
    assert not network.allows(dagster("step_worker"), None, API)
    for component in ("webserver", "daemon", "code-location", "run_worker"):
        assert network.allows(dagster(component), None, API)
    assert network.allows(PUBLISHER, None, API)


def test_only_webserver_and_daemon_reach_the_code_location(network):
    for component in ("webserver", "daemon"):
        assert network.allows(dagster(component), dagster("code-location"), 4000)
    for component in ("run_worker", "step_worker", "postgres"):
        assert not network.allows(dagster(component), dagster("code-location"), 4000)


def test_the_webserver_is_reachable_only_from_the_login(overlay, network):
    webserver = dagster("webserver")
    for source in (*map(dagster, ALL), STRANGER, TRAEFIK, PUBLISHER, None):
        assert not network.allows(source, webserver, 3000)
    assert network.allows(LOGIN, webserver, 3000) == (overlay == "k3s-login")


def test_a_step_reaches_no_other_step_and_no_other_port(network):
    step = dagster("step_worker")
    assert not network.allows(step, dagster("step_worker"), 443)
    for port in (22, 80, 5000, 8080, 10250):
        assert not network.allows(step, None, port)
    # the metadata service of cloud providers, which has credentials
    assert not network.allows(step, None, 80, "169.254.169.254")


def test_the_database_accepts_connections_of_dagster_and_opens_none(overlay, network):
    if overlay == "external-postgres":
        return
    assert not network.allows(dagster("postgres"), None, 443)
    assert not network.allows(STRANGER, dagster("postgres"), 5432)


def test_the_login_is_between_traefik_and_the_webserver(overlay, network):
    if overlay != "k3s-login":
        return
    assert network.allows(TRAEFIK, LOGIN, 4180)
    assert not network.allows(STRANGER, LOGIN, 4180)
    assert network.allows(LOGIN, None, 443)
    assert not network.allows(LOGIN, dagster("postgres"), 5432)
    assert not network.allows(LOGIN, dagster("code-location"), 4000)
