"""Importing COCO labels, and the faults that are refused by name."""

from pathlib import Path

import pytest

from robot_assets.core.errors import DataError
from robot_assets.data.importing.importer import import_dataset
from tests.data.image_sources import (
    CLASSES,
    encoded_image,
    read_labels,
    tree_bytes,
    write_coco,
    write_labels,
    write_yolo,
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_coco(tmp_path / "source", {"day1/r2": 3, "day2/r4": 2})


def refused(source: Path, out: Path) -> str:
    with pytest.raises(DataError) as error:
        import_dataset("coco", source, out)
    assert not out.exists()
    assert not list(out.parent.glob(f".{out.name}*"))
    return error.value.found


def test_images_are_imported_with_their_session_and_dense_category_ids(source: Path, tmp_path: Path) -> None:
    summary = import_dataset("coco", source, tmp_path / "raw")
    assert (summary.images, summary.annotations, summary.sessions) == (5, 12, 2)
    document = read_labels(tmp_path / "raw")
    assert document["categories"] == [{"id": i + 1, "name": name} for i, name in enumerate(CLASSES)]
    assert [image["session"] for image in document["images"]] == ["day1/r2"] * 3 + ["day2/r4"] * 2
    assert document["annotations"][0]["bbox"] == [4, 4, 20, 10.5]


def test_importing_an_imported_data_set_gives_the_same_bytes(tmp_path: Path) -> None:
    source = write_yolo(tmp_path / "source", {"day1/r2": 3, "day2/r4": 2})
    import_dataset("yolo", source, tmp_path / "one")
    import_dataset("coco", tmp_path / "one", tmp_path / "two")
    assert tree_bytes(tmp_path / "one") == tree_bytes(tmp_path / "two")


def test_the_order_of_the_records_does_not_matter(source: Path, tmp_path: Path) -> None:
    import_dataset("coco", source, tmp_path / "one")
    document = read_labels(source)
    for key in ("images", "categories"):
        document[key].reverse()
    write_labels(source, document)
    import_dataset("coco", source, tmp_path / "two")
    assert tree_bytes(tmp_path / "one") == tree_bytes(tmp_path / "two")


def test_the_layout_of_the_coco_data_set_is_supported(source: Path, tmp_path: Path) -> None:
    (source / "annotations").mkdir()
    (source / "annotations.json").rename(source / "annotations" / "instances_day.json")
    (source / "annotations" / "captions_day.json").write_text("not ours")
    summary = import_dataset("coco", source, tmp_path / "raw")
    assert summary.images == 5
    again = import_dataset("coco", source / "annotations" / "instances_day.json", tmp_path / "raw")
    assert again == summary


def test_images_without_an_entry_in_the_labels_are_counted(source: Path, tmp_path: Path) -> None:
    (source / "images" / "day1" / "r2" / "extra.jpg").write_bytes(encoded_image("extra"))
    assert import_dataset("coco", source, tmp_path / "raw").unlisted == 1


@pytest.mark.parametrize(
    ("field", "value", "place", "found"),
    [
        ("category_id", 2, "annotations[0].category_id", "unknown class id 2"),
        ("category_id", "ball", "annotations[0].category_id", "unknown class id 'ball'"),
        ("category_id", True, "annotations[0].category_id", "unknown class id True"),
        ("category_id", [1], "annotations[0].category_id", "unknown class id [1]"),
        ("bbox", [float("nan"), 4, 20, 10], "annotations[0].bbox", "NaN or infinite"),
        ("bbox", [4, 4, float("inf"), 10], "annotations[0].bbox", "NaN or infinite"),
        ("bbox", [4, 4, 20], "annotations[0].bbox", "is not [x, y, width, height]"),
        ("bbox", [4, 4, "20", 10], "annotations[0].bbox", "is not [x, y, width, height]"),
        ("bbox", [10**400, 4, 20, 10], "annotations[0].bbox", "is not [x, y, width, height]"),
        ("bbox", None, "annotations[0].bbox", "is not [x, y, width, height]"),
        ("bbox", [4, 4, 0, 10], "annotations[0].bbox", "box of 0x10 px"),
        ("bbox", [4, 4, 5, -10], "annotations[0].bbox", "box of 5x-10 px"),
        ("bbox", [60, 4, 20, 10], "annotations[0].bbox", "label outside the image: 16.0 px past the edge"),
        ("iscrowd", 2, "annotations[0].iscrowd", "2, needed 0 or 1"),
        ("image_id", 999, "annotations[0]", "image_id 999 is not the id of an image"),
        ("image_id", None, "annotations[0]", "image_id None is not the id of an image"),
        ("id", 2, "annotations[1].id", "2 is not an integer or not unique"),
    ],
)
def test_a_bad_annotation_is_named_with_its_field(
    source: Path, tmp_path: Path, field: str, value: object, place: str, found: str
) -> None:
    document = read_labels(source)
    document["annotations"][0][field] = value
    write_labels(source, document)
    message = refused(source, tmp_path / "raw")
    assert f"annotations.json: {place}: " in message
    assert found in message


@pytest.mark.parametrize(
    ("field", "value", "place", "found"),
    [
        ("file_name", "../source/images/day1/r2/000.png", "images[0]", "is outside the source"),
        ("file_name", "day1/../../x.png", "images[0]", "is outside the source"),
        ("file_name", "/etc/hostname", "images[0]", "is outside the source"),
        ("file_name", "..\\x.png", "images[0]", "is outside the source"),
        ("file_name", "day1/r2/\0.png", "images[0]", "is outside the source"),
        ("file_name", "", "images[0]", "is outside the source"),
        ("file_name", "day1/r2/999.png", "images[0]", "no such image"),
        ("file_name", "day1/r2/\udce9.png", "images[0]", "no such image"),
        ("file_name", "day1/r2/001.png", "images[1]", "day1/r2/001.png is listed twice"),
        ("file_name", None, "images[0]", "no integer id or no file_name"),
        ("id", 11, "images[0]", "duplicate image id 11"),
        ("id", "x", "images[0]", "no integer id or no file_name"),
        ("width", 128, "images[0].width", "128, but the image has 64"),
        ("height", "48", "images[0].height", "'48', but the image has 48"),
    ],
)
def test_a_bad_image_record_is_named_with_its_field(
    source: Path, tmp_path: Path, field: str, value: object, place: str, found: str
) -> None:
    document = read_labels(source)
    document["images"][0][field] = value
    write_labels(source, document)
    message = refused(source, tmp_path / "raw")
    assert f"annotations.json: {place}: " in message
    assert found in message


def test_a_symlinked_image_is_not_followed(source: Path, tmp_path: Path) -> None:
    image = source / "images" / "day1" / "r2" / "000.png"
    image.rename(tmp_path / "secret.png")
    image.symlink_to(tmp_path / "secret.png")
    assert "images/day1/r2/000.png: a symlink" in refused(source, tmp_path / "raw")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("{", "malformed"),
        ("[]", "the top level is a list, not an object"),
        ('{"images": [], "annotations": {}, "categories": []}', "annotations is not a list"),
        ("[" * 100_000, "malformed"),
        ("\x00", "malformed"),
    ],
)
def test_malformed_labels_are_named(source: Path, tmp_path: Path, text: str, found: str) -> None:
    (source / "annotations.json").write_text(text)
    message = refused(source, tmp_path / "raw")
    assert "annotations.json is malformed" in message
    assert found in message


@pytest.mark.parametrize("categories", [[{"id": 1}], [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}], ["a"]])
def test_contradictory_categories_are_named(source: Path, tmp_path: Path, categories: list[object]) -> None:
    write_labels(source, {**read_labels(source), "categories": categories})
    assert "annotations.json: categories[" in refused(source, tmp_path / "raw")


def test_a_source_without_labels_is_named(tmp_path: Path) -> None:
    source = write_yolo(tmp_path / "source", {"day": 1})
    assert "has no COCO labels" in refused(source, tmp_path / "raw")
