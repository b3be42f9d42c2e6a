"""Real robot images: 1,492 images of 65 sessions are imported, split, packed and checked by the gates."""

from pathlib import Path

import pytest

from robot_assets.data.checks import check_classes, check_labels, check_leakage
from robot_assets.data.dataset import DatasetSummary, build_dataset
from robot_assets.data.importing.importer import import_dataset
from robot_assets.data.packed import open_split
from robot_assets.data.spec import DatasetSpec
from robot_assets.pipeline.params import load_params


@pytest.fixture(scope="module")
def spec(repository: Path) -> DatasetSpec:
    return load_params(repository / "params.yaml").datasets["robocup"]


@pytest.fixture(scope="module")
def packed(
    robocup_images: Path, spec: DatasetSpec, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, DatasetSummary]:
    folder = tmp_path_factory.mktemp("robocup")
    imported = import_dataset("yolo", robocup_images, folder / "raw")
    assert (imported.images, imported.annotations, imported.sessions) == (1492, 10294, 65)
    assert (imported.clipped, imported.quarantined) == (0, ())
    return folder / "packed", build_dataset(folder / "raw", spec, folder / "packed")


def test_shares_are_within_half_a_point_of_the_parameters(
    packed: tuple[Path, DatasetSummary], spec: DatasetSpec
) -> None:
    images = packed[1].images
    for name, share in (("train", spec.split.train), ("val", spec.split.val), ("test", spec.split.test)):
        assert abs(images[name] / sum(images.values()) - share) < 0.005


def test_val_and_test_have_a_fair_share_of_every_class(packed: tuple[Path, DatasetSummary]) -> None:
    boxes = packed[1].counts
    for label in packed[1].classes:
        total = sum(boxes[name][label] for name in boxes)
        assert 0.12 < boxes["val"][label] / total < 0.18
        assert 0.12 < boxes["test"][label] / total < 0.18


def test_the_gates_pass(packed: tuple[Path, DatasetSummary], spec: DatasetSpec) -> None:
    for check in (check_leakage, check_classes, check_labels):
        verdict = check(packed[0], spec, "robocup")
        assert verdict.passed, verdict.summary


def test_the_licence_notice_is_copied(packed: tuple[Path, DatasetSummary]) -> None:
    assert "Andre Pool" in (packed[0] / "NOTICE").read_text()
    assert open_split(packed[0], "test").image(0).shape == (400, 304, 3)
