"""What the nodes of a cluster say of themselves: the report of a device, as an annotation of its node.

``publish`` writes it, on each node with a target (k8s/nodes/); ``read_device`` reads it, in the sensor ``platforms``.
Runs and steps do neither: they take the latest observation from the instance, and need no rights on nodes.
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
    """What publishing came to.

    Attributes:
        node: The node whose annotation it is.
        fingerprint: What the device is.
        before: The fingerprint that was there; None when there was none, or nothing that could be read.
    """

    node: str
    fingerprint: str
    before: str | None

    @property
    def changed(self) -> bool:
        """Whether there was anything to write."""
        return self.fingerprint != self.before


def publish(node: str, device: Platform) -> Published:
    """Write what ``device`` is to the annotation of ``node``, when something else is there.

    Raises:
        PlatformError: The API server cannot be reached, does not know the node, or does not allow it.
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
    """The device of ``target``, as its nodes tell of it, and which nodes these are.

    Nodes that have not told yet are left out, as long as one has: a device that has just joined must not stop what the
    others can be built for, and a build on it compares fingerprints anyway.

    Raises:
        PlatformError: No node is of this target, none has told, they tell of different devices, one tells what cannot
            be read, or the API server cannot be asked.
    """
    selector = f"{TARGET_LABEL}={target}"
    with _core(f"nodes with the label {selector}") as core:
        nodes = core.list_node(label_selector=selector, _request_timeout=_TIMEOUT_S).items
    texts = {node.metadata.name: (node.metadata.annotations or {}).get(ANNOTATION) for node in nodes}
    if not texts:
        raise PlatformError(
            f"no node has the label {selector}",
            needed=f"the nodes of {target} by that label",
            fix=f"kubectl label node NODE {selector}",
        )
    devices = {
        name: read_report(text, f"the annotation {ANNOTATION} of node {name}")
        for name, text in sorted(texts.items())
        if text
    }
    if not devices:
        raise PlatformError(
            f"{_listed(sorted(texts))} of {target} {'has' if len(texts) == 1 else 'have'} not published what they are",
            needed=f"the annotation {ANNOTATION} on one of them",
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
        f"{field}: " + ", ".join(f"{_said(known.get(field))} on {name}" for name, known in facts.items())
        for field in fields
        if len({_said(known.get(field)) for known in facts.values()}) > 1
    ]
    odd = list(devices)[-1]
    raise PlatformError(
        f"the nodes of {target} are different devices:\n    " + "\n    ".join(lines),
        needed="one device for one target: an engine is built for exactly one",
        fix="flash them alike, or make a target of its own for some: "
        f"kubectl label node {odd} {TARGET_LABEL}=OTHER --overwrite",
    )


@contextmanager
def _core(what: str) -> Iterator[CoreV1Api]:
    """The API server: that of the cluster around this pod, else that of the kubeconfig. Its errors are readable."""
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
            needed="a node that it knows, and an account that may ask for it",
            fix="kubectl get nodes --show-labels; the account's rights are in k8s/base/rbac.yaml and k8s/nodes",
        ) from None
    except (HTTPError, OSError) as error:
        raise PlatformError(
            f"the API server cannot be asked about {what}: {error}",
            needed="a connection to it",
            fix="kubectl get nodes, from where this runs; in a pod, look at its NetworkPolicies",
        ) from None
    except ConfigException as error:
        raise PlatformError(
            f"no cluster is configured here: {error}",
            needed="to run in a pod with an account, or a kubeconfig",
            fix="export KUBECONFIG=FILE; on the k3s server: /etc/rancher/k3s/k3s.yaml",
        ) from None


def _client() -> Any:
    """A client with a configuration of its own: the process-wide one belongs to Dagster."""
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
    """The message in an answer of the API server."""
    try:
        return f": {json.loads(body)['message']}"
    except (TypeError, ValueError, KeyError):
        return ""


def _fingerprint(text: str | None) -> str | None:
    """The fingerprint of what is there; None for what this version does not read, which is then written anew."""
    try:
        return read_report(text, ANNOTATION).fingerprint if text else None
    except PlatformError:
        return None


def _listed(names: list[str]) -> str:
    return f"node{'s' if len(names) > 1 else ''} {', '.join(names)}"


def _said(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)
