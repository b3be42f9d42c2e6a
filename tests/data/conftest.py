"""A raw data set and its specification."""

import shutil
from pathlib import Path

import pytest

from robot_assets.data.dataset import build_dataset
from robot_assets.data.importing.importer import import_dataset
from robot_assets.data.spec import DatasetSpec
from tests.data.image_sources import CLASSES, write_yolo

SESSIONS = {"d1/r1": 8, "d1/r2": 6, "d2/r1": 4, "d2/r3": 4, "d3/r1": 3, "d4/r1": 3, "d5/r1": 2}


@pytest.fixture(scope="session")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 images in 7 sessions, imported once; tests copy it."""
    folder = tmp_path_factory.mktemp("imported")
    import_dataset("yolo", write_yolo(folder / "source", SESSIONS), folder / "raw")
    return folder / "raw"


@pytest.fixture
def raw(imported: Path, tmp_path: Path) -> Path:
    """30 images in 7 sessions; a test may modify them."""
    return Path(shutil.copytree(imported, tmp_path / "raw"))


@pytest.fixture(scope="session")
def spec() -> DatasetSpec:
    return DatasetSpec.model_validate(
        {
            "source": {"kind": "dvc", "pointer": "data/raw/x.dvc"},
            "classes": CLASSES,
            "split": {"train": 0.6, "val": 0.2, "test": 0.2},
            "calibration_images": 5,
        }
    )


@pytest.fixture(scope="session")
def built(imported: Path, spec: DatasetSpec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same images, packed once; tests copy it."""
    out = tmp_path_factory.mktemp("built") / "packed"
    build_dataset(imported, spec, out)
    return out


@pytest.fixture
def packed(built: Path, tmp_path: Path) -> Path:
    """The same images, packed; a test may modify them."""
    return Path(shutil.copytree(built, tmp_path / "packed"))
