from pathlib import Path

import pytest

from robot_assets.data.dataset import build_dataset
from tests.detector_chain import dataset_spec, draw_raw


@pytest.fixture(scope="session")
def drawn_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 noisy images of coloured rectangles, packed."""
    root = tmp_path_factory.mktemp("drawn")
    draw_raw(root / "raw")
    build_dataset(root / "raw", dataset_spec(), root / "dataset")
    return root / "dataset"
