"""The manifests in k8s/ as built by kustomize."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

OVERLAYS = ("k3s", "k3s-login", "external-postgres")
WORKLOADS = {"Deployment", "StatefulSet", "DaemonSet", "Job"}

Object = dict[str, Any]


@dataclass(frozen=True)
class Manifests:
    """The folder k8s/.

    Attributes:
        root: Its path.
        kubectl: A kubectl whose kustomize supports components (1.21 or newer).
    """

    root: Path
    kubectl: str = "kubectl"

    @cache  # noqa: B019 - one instance per session
    def text(self, overlay: str) -> str:
        """The objects that ``kubectl apply -k`` would send, as YAML."""
        command = [self.kubectl, "kustomize", str(self.root / "overlays" / overlay)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert not done.stderr, f"kustomize warns: {done.stderr}"
        return done.stdout

    @cache  # noqa: B019
    def build(self, overlay: str) -> list[Object]:
        """The objects, shared by all tests and not to be changed."""
        return list(yaml.safe_load_all(self.text(overlay)))

    def find(self, overlay: str, kind: str, name: str, namespace: str | None = None) -> Object:
        found = [
            each
            for each in self.build(overlay)
            if (each["kind"], each["metadata"]["name"]) == (kind, name)
            and namespace in (None, each["metadata"].get("namespace"))
        ]
        assert len(found) == 1, f"{len(found)} objects {kind} {name}"
        return found[0]

    def instance(self, overlay: str = "k3s") -> Object:
        """``dagster.yaml`` of the ConfigMap that pods mount."""
        maps = [each for each in self.build(overlay) if each["metadata"]["name"].startswith("robot-assets-instance-")]
        assert len(maps) == 1
        return yaml.safe_load(maps[0]["data"]["dagster.yaml"])


@cache
def read(path: Path) -> tuple[Object, ...]:
    """The documents of a YAML file."""
    return tuple(yaml.safe_load_all(path.read_text()))


def full_name(thing: Object) -> str:
    metadata = thing["metadata"]
    return f"{thing['kind']} {metadata.get('namespace', '')}/{metadata['name']}".replace(" /", " ")


def pods(things: list[Object]) -> Iterator[tuple[str, Object]]:
    """Name and pod spec of each workload."""
    for thing in things:
        if thing["kind"] in WORKLOADS:
            yield full_name(thing), thing["spec"]["template"]["spec"]


def containers(things: list[Object]) -> Iterator[tuple[str, Object, Object]]:
    """Name, pod spec and container spec of each container."""
    for name, pod in pods(things):
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            yield f"{name}: {container['name']}", pod, container
