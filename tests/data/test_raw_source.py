"""The strict reader of raw data sets, and folders that are none."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from robot_assets.core.errors import DataError
from robot_assets.data.entry import RecordedSource
from robot_assets.data.raw import load_raw
from robot_assets.data.raw_source import read_raw
from robot_assets.data.recorded import open_recorded
from robot_assets.lineage.code import Code
from robot_assets.store import open_store, write_pointer
from tests.data.image_sources import CLASSES, read_labels, write_coco, write_labels, write_yolo


def test_raw_data_is_read_with_its_sessions(raw: Path) -> None:
    source = read_raw(raw)
    assert source.categories == CLASSES
    assert len(source.entries) == 30
    assert source.issues == ()
    assert source.entries[0].file_name == "d1/r1/000.jpg"


@pytest.mark.parametrize(
    ("table", "change", "found"),
    [
        ("images", {"file_name": "d1/r1/001.jpg"}, "images[0]: d1/r1/001.jpg is listed 2 times"),
        ("images", {"id": 2}, "images[1]: duplicate image id 2"),
        ("images", {"id": "1"}, "images[0]: no integer id or no file_name"),
        ("images", {"file_name": "d1\\r1\\000.jpg"}, "no such image"),
        ("images", {"file_name": "../images/d1/r1/000.jpg"}, "no such image"),
        ("images", {"width": 1}, "images[0].width: 1, but the image has 64"),
        ("annotations", {"image_id": 999}, "annotations[0]: image_id 999 is not the id of an image"),
        ("annotations", {"image_id": None}, "annotations[0]: image_id None is not the id of an image"),
        ("annotations", {"id": 2}, "annotations[1].id: 2 is not an integer or not unique"),
        ("annotations", {"category_id": 9}, "annotations[0].category_id: unknown class id 9"),
        ("annotations", {"bbox": [1, 2, 3]}, "annotations[0].bbox: [1, 2, 3] is not [x, y, width, height] in pixels"),
        ("annotations", {"iscrowd": 2}, "annotations[0].iscrowd: 2, needed 0 or 1"),
    ],
)
def test_a_bad_entry_is_a_finding(raw: Path, table: str, change: dict[str, Any], found: str) -> None:
    document = read_labels(raw)
    document[table][0].update(change)
    write_labels(raw, document)
    assert any(found in str(issue) for issue in load_raw(raw).issues)


def test_both_entries_of_one_file_are_findings(raw: Path) -> None:
    document = read_labels(raw)
    document["images"].append({**document["images"][0], "id": 999})
    write_labels(raw, document)
    places = [issue.place for issue in read_raw(raw).issues]
    assert places == ["annotations.json: images[0]", "annotations.json: images[30]"]


def test_a_missing_and_an_unlisted_image_are_findings(raw: Path) -> None:
    image = raw / "images" / "d1" / "r1" / "000.jpg"
    image.rename(image.with_name("moved.jpg"))
    source = read_raw(raw)
    assert [issue.found for issue in source.issues] == [
        "no such image: d1/r1/000.jpg",
        "the labels do not list this image",
    ]
    assert source.issues[1].place == "images/d1/r1/moved.jpg"


def test_an_image_outside_of_its_folder_is_a_finding(raw: Path) -> None:
    shutil.copytree(raw / "images" / "d1", raw / "d1")
    issues = read_raw(raw).issues
    assert {issue.found for issue in issues} == {"the labels do not list this image"}
    assert len(issues) == len(list((raw / "d1").rglob("*.jpg")))


def test_a_file_that_the_walk_reports_is_reported_once(raw: Path) -> None:
    image = raw / "images" / "d1" / "r1" / "000.jpg"
    image.unlink()
    image.symlink_to(raw / "images" / "d1" / "r1" / "001.jpg")
    assert [issue.found for issue in read_raw(raw).issues] == ["a symlink"]


@pytest.mark.parametrize("text", ["{", "[]", '{"images": []}'])
def test_malformed_labels_are_named(raw: Path, text: str) -> None:
    (raw / "annotations.json").write_text(text)
    with pytest.raises(DataError, match=r"annotations\.json is malformed"):
        read_raw(raw)


@pytest.mark.parametrize("categories", [[{"id": 1}], [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}], ["a"]])
def test_contradictory_categories_are_named(raw: Path, categories: list[object]) -> None:
    write_labels(raw, {**read_labels(raw), "categories": categories})
    with pytest.raises(DataError, match=r"annotations\.json: categories\["):
        read_raw(raw)


def link_into_cache(raw: Path, cache: Path) -> None:
    """Replace every file by a symlink, as dvc checkout does with cache.type symlink."""
    for number, path in enumerate(sorted(path for path in raw.rglob("*") if path.is_file())):
        kept = cache / "files" / "md5" / "ab" / f"{number:030x}"
        kept.parent.mkdir(parents=True, exist_ok=True)
        path.rename(kept)
        path.symlink_to(kept)


def test_symlinks_of_dvc_are_named_once_with_the_commands(raw: Path, tmp_path: Path) -> None:
    link_into_cache(raw, tmp_path / "cache")
    raw.with_name("raw.dvc").write_text("outs: []\n")
    with pytest.raises(DataError, match="32 symlinks into the cache of DVC") as error:
        read_raw(raw)
    assert error.value.fix == (
        f"dvc config --local cache.type reflink,hardlink,copy && dvc checkout --relink {raw}.dvc"
    )


def test_other_symlinks_are_findings(raw: Path, tmp_path: Path) -> None:
    shutil.move(raw / "annotations.json", tmp_path / "annotations.json")
    (raw / "annotations.json").symlink_to(tmp_path / "annotations.json")
    with pytest.raises(DataError, match=r"annotations\.json.*symlink"):
        read_raw(raw)


def test_an_export_is_named_with_the_command_that_imports_it(tmp_path: Path) -> None:
    yolo = write_yolo(tmp_path / "my yolo", {"d1": 2})
    with pytest.raises(DataError, match="it has YOLO labels") as error:
        read_raw(yolo)
    assert error.value.fix.startswith(f"robot-assets data import yolo '{yolo}' --name 'my yolo_raw'")
    coco = write_coco(tmp_path / "coco", {"d1": 2})
    (coco / "annotations.json").rename(coco / "result.json")
    with pytest.raises(DataError, match="it has COCO labels of another layout") as error:
        read_raw(coco)
    assert error.value.fix.startswith(f"robot-assets data import coco {coco} --name coco_raw")


def test_a_pointer_to_an_export_is_named_by_the_pointer(tmp_path: Path) -> None:
    root = tmp_path / "project"
    store = open_store(".robot_assets/store", root)
    artifact = store.add(write_yolo(root / "data" / "raw" / "yolo_yard", {"d1": 2}))
    write_pointer(root / "data" / "raw" / "yolo_yard.dvc", artifact)
    source = RecordedSource(kind="dvc", pointer="data/raw/yolo_yard.dvc")
    with pytest.raises(DataError) as error:
        open_recorded(source, root, artifact.digest, store)
    assert error.value.found.startswith("the data of data/raw/yolo_yard.dvc is not raw data")
    assert error.value.fix.startswith("robot-assets data import yolo data/raw/yolo_yard --name yolo_yard_raw")


def test_readers_of_exports_are_no_code_of_a_data_set() -> None:
    """Another layout that an import reads makes no packed data set stale."""
    reached = Code().definitions("robot_assets.pipeline.kinds.dataset:run")
    assert any(name.startswith("robot_assets.data.raw_source:") for name in reached)
    assert not [name for name in reached if name.startswith("robot_assets.data.importing")]
