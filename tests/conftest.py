"""What every test may use: where the repository and the real robot images are, the manifests of k8s/, an S3 server."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import settings

from tests.k8s.manifests import Manifests
from tests.synthetic.postgres import NoPostgres, Server, running_postgres
from tests.synthetic.s3 import running_s3

ROOT = Path(__file__).parents[1]
LONGEST = "test_scenarios.py"

# An instance of the developer's shell is not that of the projects that tests make.
os.environ.pop("DAGSTER_HOME", None)

# The profile that Hypothesis has chosen (in CI it draws the same examples each time), but no example is too slow: a
# busy machine is no fault of the code.
settings.register_profile("unhurried", settings.default, deadline=None)
settings.load_profile("unhurried")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first: a worker that came to it last would go on alone for minutes."""
    items.sort(key=lambda item: item.path.name != LONGEST)


@pytest.fixture(autouse=True)
def _forget_the_instance() -> Iterator[None]:
    """A command that ran in this process has set DAGSTER_HOME, and the next test has another project."""
    yield
    os.environ.pop("DAGSTER_HOME", None)


def cannot_run(reason: str) -> NoReturn:
    """Skip a test that needs a cluster and its tools; fail it when they have been asked for."""
    if os.environ.get("CLUSTER_TESTS") == "required":
        pytest.fail(reason)
    pytest.skip(reason)


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
        cannot_run("no kubectl on PATH to build the overlays with; set KUBECTL to one of version 1.21 or newer")
    version = json.loads(subprocess.run([kubectl, "version", "--client", "-o", "json"], capture_output=True).stdout)
    minor = int(version["clientVersion"]["minor"].rstrip("+"))
    if minor < 21:
        cannot_run(f"{kubectl} is of version 1.{minor}, whose kustomize has no components; needed 1.21 or newer")
    return Manifests(repository / "k8s", kubectl)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of an S3 API server in a process of its own."""
    with running_s3() as address:
        yield address


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A real PostgreSQL server; skipped where there is none."""
    try:
        with running_postgres() as server:
            yield server
    except NoPostgres as missing:
        pytest.skip(str(missing))
