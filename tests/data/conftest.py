"""A raw data set and its specification."""

from pathlib import Path

import pytest

from robot_assets.data.importers import import_dataset
from robot_assets.data.spec import DatasetSpec
from tests.data.image_sources import CLASSES, write_yolo

SESSIONS = {"d1/r1": 8, "d1/r2": 6, "d2/r1": 4, "d2/r3": 4, "d3/r1": 3, "d4/r1": 3, "d5/r1": 2}


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """30 images in 7 sessions, imported."""
    import_dataset("yolo", write_yolo(tmp_path / "source", SESSIONS), tmp_path / "raw")
    return tmp_path / "raw"


@pytest.fixture
def spec() -> DatasetSpec:
    return DatasetSpec.model_validate(
        {
            "source": {"kind": "dvc", "pointer": "data/raw/x.dvc"},
            "classes": CLASSES,
            "split": {"train": 0.6, "val": 0.2, "test": 0.2},
            "calibration_images": 5,
        }
    )
