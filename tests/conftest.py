"""What every test may use: where the repository is, where the real robot images are, and the manifests of k8s/."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.k8s.manifests import Manifests

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout that is tested."""
    return ROOT


@pytest.fixture(scope="session")
def dvc_command(repository: Path) -> Path:
    """The real ``dvc`` in its own environment; a test that needs it fails without it."""
    command = repository / ".venv-dvc" / "bin" / "dvc"
    if not command.exists():
        pytest.fail(f"no dvc command at {command}; run: make setup")
    return command


@pytest.fixture(scope="session")
def robocup_images() -> Path:
    """1,492 labelled images from real robots; skipped where they are not."""
    folder = Path(os.environ.get("ROBOCUP_ML", ROOT.parent / "shared" / "data" / "robocup_ml"))
    if not folder.is_dir():
        pytest.skip(f"no robocup_ml images at {folder}; set ROBOCUP_ML to their folder")
    return folder


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
