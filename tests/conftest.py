"""What every test may use: where the repository is, and where the real robot images are."""

import os
from pathlib import Path

import pytest

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
