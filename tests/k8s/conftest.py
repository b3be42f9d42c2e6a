"""A cluster of nodes that a test fills, and the manifests as kustomize builds them."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.k8s.manifests import Manifests
from tests.k8s.node_api import Cluster, running


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """An API server whose nodes the test names; the kubeconfig of this process points at it."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with running(tmp_path) as cluster:
        monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
        yield cluster


@pytest.fixture(scope="session")
def manifests(repository: Path) -> Manifests:
    """k8s/, as kustomize builds it; skipped where no kubectl can, and then says so."""
    kubectl = os.environ.get("KUBECTL", shutil.which("kubectl") or "")
    if not kubectl:
        pytest.skip("no kubectl on PATH to build the overlays with; set KUBECTL to one of version 1.21 or newer")
    version = json.loads(subprocess.run([kubectl, "version", "--client", "-o", "json"], capture_output=True).stdout)
    minor = int(version["clientVersion"]["minor"].rstrip("+"))
    if minor < 21:
        pytest.skip(f"{kubectl} is of version 1.{minor}, whose kustomize has no components; needed 1.21 or newer")
    return Manifests(repository / "k8s", kubectl)
