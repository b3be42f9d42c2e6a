"""A stand-in API server for nodes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.k8s.node_api import Cluster, running


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """An API server without nodes; KUBECONFIG of this process points to it."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with running(tmp_path) as cluster:
        monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
        yield cluster
