"""Images without labels: refused or left out by name, and background where a person asks for it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from robot_assets.cli.data import app
from robot_assets.core.errors import DataError
from robot_assets.data.importing.importer import import_dataset, quarantine_path
from tests.data.image_sources import GOOD_LABEL, encoded_image, read_labels, write_coco, write_labels, write_yolo

ABSENT = ("day1/r2/001.txt", "day2/r4/000.txt")


@pytest.fixture
def yolo(tmp_path: Path) -> Path:
    source = write_yolo(tmp_path / "source", {"day1/r2": 3, "day2/r4": 2})
    for label in ABSENT:
        (source / label).unlink()
    return source


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """A source whose labels list 4 of its 5 images."""
    source = write_coco(tmp_path / "source", {"day1/r2": 3, "day2/r4": 2})
    document = read_labels(source)
    absent = document["images"].pop()
    document["annotations"] = [row for row in document["annotations"] if row["image_id"] != absent["id"]]
    write_labels(source, document)
    return source


def sizes(raw: Path) -> tuple[int, int]:
    document = read_labels(raw)
    return len(document["images"]), len(document["annotations"])


def test_missing_yolo_labels_are_refused_with_the_option_for_background(yolo: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        import_dataset("yolo", yolo, tmp_path / "raw")
    assert "for images without objects: run the same command with --unlabelled background" in error.value.found


def test_images_without_a_yolo_label_are_background_when_asked(yolo: Path, tmp_path: Path) -> None:
    summary = import_dataset("yolo", yolo, tmp_path / "raw", unlabelled="background")
    assert sizes(tmp_path / "raw") == (5, 7)
    assert summary.quarantined == ()
    assert summary.notes == (
        "2 images without labels imported as images without objects: day1/r2/001.jpg, day2/r4/000.jpg",
    )


def test_an_empty_label_and_none_give_the_same_bytes(yolo: Path, tmp_path: Path) -> None:
    import_dataset("yolo", yolo, tmp_path / "raw", unlabelled="background")
    for label in ABSENT:
        (yolo / label).write_text("")
    import_dataset("yolo", yolo, tmp_path / "other")
    assert (tmp_path / "raw/annotations.json").read_bytes() == (tmp_path / "other/annotations.json").read_bytes()


def test_a_label_in_the_wrong_place_is_no_background(yolo: Path, tmp_path: Path) -> None:
    (yolo / "day1/r2/only.jpg").write_bytes(encoded_image("only"))
    (yolo / "day2/r4/only.txt").write_text(GOOD_LABEL)
    summary = import_dataset("yolo", yolo, tmp_path / "raw", unlabelled="background", quarantine=True)
    assert [issue.place for issue in summary.quarantined] == ["day2/r4/only.txt"]
    assert sizes(tmp_path / "raw") == (5, 7)


def test_unlisted_coco_images_are_named_and_listed_in_the_report(coco: Path, tmp_path: Path) -> None:
    summary = import_dataset("coco", coco, tmp_path / "raw")
    assert (summary.images, summary.unlisted, summary.quarantined) == (4, 1, ())
    assert any("1 image without an entry in the labels left out: images/day2/r4/001.png" in n for n in summary.notes)
    assert summary.quarantine_report == quarantine_path(tmp_path / "raw")
    (row,) = json.loads(quarantine_path(tmp_path / "raw").read_text())
    assert row["place"] == "images/day2/r4/001.png"


def test_unlisted_coco_images_are_background_when_asked(coco: Path, tmp_path: Path) -> None:
    summary = import_dataset("coco", coco, tmp_path / "raw", unlabelled="background")
    assert (summary.unlisted, summary.quarantine_report) == (0, None)
    document = read_labels(tmp_path / "raw")
    assert document["images"][-1]["file_name"] == "day2/r4/001.png"
    assert summary.notes == ("1 image without labels imported as images without objects: images/day2/r4/001.png",)


def test_unlisted_images_that_would_become_one_file_are_left_out(coco: Path, tmp_path: Path) -> None:
    for folder in ("images", "data"):
        (coco / folder).mkdir(exist_ok=True)
        (coco / folder / "new.png").write_bytes(encoded_image(folder, format="PNG"))
    summary = import_dataset("coco", coco, tmp_path / "raw", unlabelled="background")
    assert (summary.images, summary.unlisted) == (5, 2)


def test_the_command_line_has_the_option_and_repeats_it(
    yolo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "params.yaml").write_text("store: {url: store}\n")
    monkeypatch.chdir(tmp_path)
    words = ["import", "yolo", str(yolo), "--name", "yard", "--unlabelled", "background"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert f"data import yolo {yolo} --name yard --unlabelled background --sessions file:" in result.stdout
