"""What an import publishes and refuses, whatever the format of the labels."""

import json
import os
import pickle
from pathlib import Path

import pytest

from robot_assets.core import progress
from robot_assets.core.errors import DataError, StoreError
from robot_assets.core.label_issues import explaining_disk_errors
from robot_assets.core.os_errors import mount_of
from robot_assets.data.importing import importer
from robot_assets.data.importing.importer import ImportRefused, import_dataset, quarantine_path
from robot_assets.data.labels import LabelWriter
from robot_assets.store import Store, open_store
from robot_assets.tasks.detection.boxes import Box
from tests.data.image_sources import GOOD_LABEL, read_labels, tree_bytes, write_yolo


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_yolo(tmp_path / "source", {"day1/r2": 3, "day2/r4": 2})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store("store", tmp_path)


def objects(store: Store) -> list[Path]:
    return [path for path in (store.cache / "files").rglob("*") if path.is_file()]


def test_images_go_to_the_store_while_they_are_copied(source: Path, store: Store, tmp_path: Path) -> None:
    out = tmp_path / "raw"
    summary = import_dataset("yolo", source, out, store=store)
    assert len(objects(store)) == 5
    assert set(summary.written) == {f"images/{image['file_name']}" for image in read_labels(out)["images"]}
    artifact = store.add(out, summary.written)
    assert artifact == open_store("other", tmp_path).add(out)
    store.get(artifact.digest, tmp_path / "again")
    assert tree_bytes(tmp_path / "again") == tree_bytes(out)


def test_adding_reads_no_image_again(
    source: Path, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "raw"
    summary = import_dataset("yolo", source, out, store=store)
    opened: list[str] = []
    real = os.open

    def recorded(path: str, *args: int, **kwargs: int) -> int:
        opened.append(os.fspath(path))
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", recorded)
    store.add(out, summary.written)
    assert str(out / "annotations.json") in opened
    assert not [path for path in opened if path.endswith(".jpg")]


def test_an_image_that_changed_after_the_import_is_read_again(source: Path, store: Store, tmp_path: Path) -> None:
    out = tmp_path / "raw"
    summary = import_dataset("yolo", source, out, store=store)
    changed = out / "images/day1/r2/001.jpg"
    changed.write_bytes(changed.read_bytes() + b"\0")
    assert store.add(out, summary.written) == open_store("other", tmp_path).add(out)


def test_a_refused_import_leaves_nothing_in_the_store(source: Path, store: Store, tmp_path: Path) -> None:
    (source / "day1/r2/001.jpg").write_bytes(b"")
    with pytest.raises(ImportRefused):
        import_dataset("yolo", source, tmp_path / "raw", store=store)
    assert objects(store) == []
    assert not (tmp_path / "raw").exists()


def test_an_import_for_a_limited_cache_stores_when_it_is_added(source: Path, tmp_path: Path) -> None:
    (tmp_path / "remote").mkdir()
    store = open_store(str(tmp_path / "remote"), tmp_path, tmp_path / "cache", limit_bytes=10**6)
    summary = import_dataset("yolo", source, tmp_path / "raw", store=store)
    assert objects(store) == []
    assert store.has(store.add(tmp_path / "raw", summary.written).digest)


def test_a_refused_import_has_every_issue_in_the_error_and_in_a_file(tmp_path: Path) -> None:
    source = write_yolo(tmp_path / "source", {"a": 70})
    for number, label in enumerate(sorted(source.glob("a/*.txt"))):
        label.write_text(f"{number + 9} 0.5 0.5 0.1 0.1\n")
    with pytest.raises(ImportRefused) as error:
        import_dataset("yolo", source, tmp_path / "raw")
    assert len(error.value.issues) == 70
    assert error.value.found.count("unknown class id") == 20
    assert "and 50 more" in error.value.found
    assert str(quarantine_path(tmp_path / "raw")) in error.value.found
    rows = json.loads(quarantine_path(tmp_path / "raw").read_text())
    assert rows == [issue.as_json() for issue in error.value.issues]
    assert error.value.details == {"issues": rows}


def test_a_refusal_survives_a_process_boundary(source: Path, tmp_path: Path) -> None:
    (source / "day1/r2/001.jpg").write_bytes(b"")
    with pytest.raises(ImportRefused) as error:
        import_dataset("yolo", source, tmp_path / "raw")
    copy = pickle.loads(pickle.dumps(error.value))
    assert (type(copy), str(copy), copy.issues) == (ImportRefused, str(error.value), error.value.issues)


def test_an_import_after_a_refused_one_removes_its_list(source: Path, tmp_path: Path) -> None:
    bad = source / "day1/r2/001.txt"
    bad.write_text("9 0.5 0.5 0.1 0.1\n")
    with pytest.raises(ImportRefused):
        import_dataset("yolo", source, tmp_path / "raw")
    bad.write_text(GOOD_LABEL)
    import_dataset("yolo", source, tmp_path / "raw")
    assert not quarantine_path(tmp_path / "raw").exists()


def test_progress_ends_at_the_number_of_images(source: Path, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    with progress.listening(lambda what, done, total, note: steps.append((done, total))):
        import_dataset("yolo", source, tmp_path / "raw")
    assert steps[-1] == (5, 5)


def test_labels_that_cannot_be_read_are_a_bad_item(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.read

    def failing(handle: int, size: int) -> bytes:
        if os.readlink(f"/proc/self/fd/{handle}").endswith("001.txt"):
            raise OSError(5, "Input/output error")
        return real(handle, size)

    monkeypatch.setattr(os, "read", failing)
    summary = import_dataset("yolo", source, tmp_path / "raw", quarantine=True)
    assert [str(issue).partition(";")[0] for issue in summary.quarantined] == [
        "day1/r2/001.jpg: its labels cannot be read (Input/output error)",
        "day2/r4/001.jpg: its labels cannot be read (Input/output error)",
    ]


def test_an_image_that_cannot_be_read_is_a_bad_item(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.read

    def failing(handle: int, size: int) -> bytes:
        if os.readlink(f"/proc/self/fd/{handle}").endswith("r2/001.jpg"):
            raise OSError(5, "Input/output error")
        return real(handle, size)

    monkeypatch.setattr(os, "read", failing)
    summary = import_dataset("yolo", source, tmp_path / "raw", quarantine=True)
    (issue,) = summary.quarantined
    assert str(issue) == "day1/r2/001.jpg: cannot be read (Input/output error); copy it again, or remove it"


def test_a_file_in_place_of_the_folder_of_raw_data_is_named(source: Path, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(DataError) as error:
        import_dataset("yolo", source, tmp_path / "data" / "raw")
    assert f"{tmp_path}/data is a file where a folder should be" in error.value.found


@pytest.mark.parametrize(
    ("error", "found", "fix"),
    [
        (OSError(28, "No space left on device"), "no space left on {mount}: writing {out} failed", "df -h "),
        (OSError(122, "Disk quota exceeded"), "no space left on {mount}: writing {out} failed", "df -h "),
        (
            PermissionError(13, "Permission denied", "/source/a.jpg"),
            "reading /source/a.jpg failed: ",
            "ls -ld ",
        ),
        (OSError(30, "Read-only file system", "{out}/x"), "writing {out} failed: Read-only file system", "ls -ld "),
    ],
)
def test_an_error_of_the_disk_says_whether_it_was_read_or_written(
    tmp_path: Path, error: OSError, found: str, fix: str
) -> None:
    out = tmp_path / "data/raw/yard"
    if error.filename:
        error.filename = error.filename.format(out=out)
    with pytest.raises(DataError) as explained, explaining_disk_errors(out):
        raise error
    assert found.format(out=out, mount=mount_of(out)) in explained.value.found
    assert explained.value.fix.startswith(fix)
    assert "no partial result was left" in explained.value.fix


def test_a_full_store_is_named_and_nothing_is_left(
    source: Path, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("robot_assets.store.batch.Batch.write", full)
    with pytest.raises(StoreError, match=r"no space left on .* while writing objects"):
        import_dataset("yolo", source, tmp_path / "raw", store=store)
    assert not (tmp_path / "raw").exists()
    assert not list(tmp_path.glob(".raw.*"))


def test_labels_have_the_bytes_that_json_gives(tmp_path: Path) -> None:
    writer = LabelWriter(["ball", 'a "quoted" ü'])
    boxes = [Box(0, 0.0, 1e-5, 64, 48), Box(1, 12.3456, 3.5, 1e16, 0.5, crowd=True, clipped=True)]
    writer.add('day/日\\本".jpg', "day", 64, 48, boxes)
    writer.write(tmp_path / "labels.json", description="two boxes")
    text = (tmp_path / "labels.json").read_text("utf-8")
    document = json.loads(text)
    assert text == json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n"
    assert document["annotations"][1] == {
        "area": 5e15, "bbox": [12.3456, 3.5, 1e16, 0.5], "category_id": 2, "id": 2, "image_id": 1, "iscrowd": 1
    }  # fmt: skip


def test_a_box_that_is_not_finite_is_not_written() -> None:
    with pytest.raises(ValueError, match="not finite"):
        LabelWriter(["ball"]).add("a.jpg", ".", 64, 48, [Box(0, float("nan"), 0, 1, 1)])


def test_every_reader_is_for_a_format_of_the_command_line() -> None:
    assert set(importer.READERS) == {"yolo", "coco", "masks"}
