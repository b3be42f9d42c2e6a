"""Reports of devices as annotations of their nodes.

``publish`` writes them, on each node with a target (k8s/nodes/); ``read_device`` reads them, in the sensor
``platforms``. Runs and steps read the latest observation from the instance instead, and need no rights on nodes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from robot_assets.core.errors import PlatformError
from robot_assets.platforms.probe import Platform
from robot_assets.platforms.report import read_report

if TYPE_CHECKING:
    from kubernetes.client import CoreV1Api

ANNOTATION = "robot-assets/platform"
TARGET_LABEL = "robot-assets/target"
_TIMEOUT_S = 10


@dataclass(frozen=True)
class Published:
    """The published report of a node.

    Attributes:
        node: The node with the annotation.
        fingerprint: The fingerprint of the device.
        before: The fingerprint published before; None when there was none, or the annotation was unreadable.
    """

    node: str
    fingerprint: str
    before: str | None

    @property
    def changed(self) -> bool:
        """Whether the annotation was written."""
        return self.fingerprint != self.before


def publish(node: str, device: Platform) -> Published:
    """Write the report of ``device`` to the annotation of ``node`` when the fingerprint differs.

    Raises:
        PlatformError: The API server is unreachable, has no such node, or refuses access.
    """
    with _core(f"node {node}") as core:
        present = (core.read_node(node, _request_timeout=_TIMEOUT_S).metadata.annotations or {}).get(ANNOTATION)
        done = Published(node, device.fingerprint, _fingerprint(present))
        if done.changed:
            report = {"platform": device.as_json(), "fingerprint": device.fingerprint}
            text = json.dumps(report, sort_keys=True, separators=(",", ":"))
            body = {"metadata": {"annotations": {ANNOTATION: text}}}
            core.patch_node(node, body, _request_timeout=_TIMEOUT_S)
    return done


def read_device(target: str) -> tuple[Platform, str]:
    """The published device of ``target``, and a list of the nodes that have published it.

    Nodes without a report are ignored while another has one: a device that has just joined must not block builds for
    the others, and a build on it compares fingerprints anyway.

    Raises:
        PlatformError: The target has no node, no node has a report, the reports differ, a report is unreadable, or the
            API server is unreachable.
    """
    selector = f"{TARGET_LABEL}={target}"
    with _core(f"nodes with the label {selector}") as core:
        nodes = core.list_node(label_selector=selector, _request_timeout=_TIMEOUT_S).items
    texts = {node.metadata.name: (node.metadata.annotations or {}).get(ANNOTATION) for node in nodes}
    if not texts:
        raise PlatformError(
            f"no node has the label {selector}",
            needed=f"that label on every node that is a {target}",
            fix=f"kubectl label node NODE {selector}",
        )
    devices = {
        name: read_report(text, f"the annotation {ANNOTATION} of node {name}")
        for name, text in sorted(texts.items())
        if text
    }
    if not devices:
        raise PlatformError(
            f"{_listed(sorted(texts))} of {target} {'has' if len(texts) == 1 else 'have'} no device report",
            needed=f"the annotation {ANNOTATION}, which the platform publisher writes, on one node",
            fix="kubectl -n robot-assets-nodes logs -l app.kubernetes.io/component=platform-publisher",
        )
    _refuse_disagreement(target, devices)
    return next(iter(devices.values())), _listed(list(devices))


def _refuse_disagreement(target: str, devices: Mapping[str, Platform]) -> None:
    if len({device.fingerprint for device in devices.values()}) == 1:
        return
    facts = {name: device.as_json() for name, device in devices.items()}
    fields = dict.fromkeys(field for known in facts.values() for field in known)
    lines = [
        f"{field}: " + ", ".join(f"{_text(known.get(field))} on {name}" for name, known in facts.items())
        for field in fields
        if len({_text(known.get(field)) for known in facts.values()}) > 1
    ]
    last = list(devices)[-1]
    raise PlatformError(
        f"the nodes of {target} are different devices:\n    " + "\n    ".join(lines),
        needed="identical devices in one target: an engine is built for exactly one",
        fix="flash them with the same release, or move a node to a target of its own: "
        f"kubectl label node {last} {TARGET_LABEL}=OTHER --overwrite",
    )


@contextmanager
def _core(what: str) -> Iterator[CoreV1Api]:
    """The API server of the pod's cluster, else that of the kubeconfig. Its errors become PlatformErrors."""
    from kubernetes.client import CoreV1Api
    from kubernetes.client.exceptions import ApiException
    from kubernetes.config import ConfigException
    from urllib3.exceptions import HTTPError

    try:
        with _client() as client:
            yield CoreV1Api(client)
    except ApiException as error:
        raise PlatformError(
            f"the API server answered {error.status} {error.reason} about {what}{_detail(error.body)}",
            needed="an existing node, and an account with access to it",
            fix="kubectl get nodes --show-labels   # the rights of accounts are in k8s/base/rbac.yaml and k8s/nodes",
        ) from None
    except (HTTPError, OSError) as error:
        raise PlatformError(
            f"the API server is unreachable ({what}): {error}",
            needed="a connection to it",
            fix="kubectl get nodes   # on the same machine; for a pod: kubectl get networkpolicies -A",
        ) from None
    except ConfigException as error:
        raise PlatformError(
            f"no cluster is configured here: {error}",
            needed="a pod with a service account, or a kubeconfig",
            fix="export KUBECONFIG=/etc/rancher/k3s/k3s.yaml   # on the k3s server; elsewhere a copy of that file",
        ) from None


def _client() -> Any:
    """A client with its own configuration: the process-wide one belongs to Dagster."""
    from kubernetes.client import ApiClient, Configuration
    from kubernetes.config import load_incluster_config, load_kube_config

    configuration = Configuration()
    configuration.retries = 2
    if os.environ.get("KUBERNETES_SERVICE_HOST"):
        load_incluster_config(client_configuration=configuration)
    else:
        load_kube_config(os.environ.get("KUBECONFIG"), client_configuration=configuration)
    return ApiClient(configuration)


def _detail(body: Any) -> str:
    """The message in a response of the API server."""
    try:
        return f": {json.loads(body)['message']}"
    except (TypeError, ValueError, KeyError):
        return ""


def _fingerprint(text: str | None) -> str | None:
    """The fingerprint in a report; None when this version cannot read it, so that it is written again."""
    try:
        return read_report(text, ANNOTATION).fingerprint if text else None
    except PlatformError:
        return None


def _listed(names: list[str]) -> str:
    return f"{'node' if len(names) == 1 else 'nodes'} {', '.join(names)}"


def _text(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)
