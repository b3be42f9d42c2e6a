"""Importing COCO labels, and the faults that are refused by name."""

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from robot_assets.core.errors import DataError
from robot_assets.data.importing.coco.boxes import BoxReader
from robot_assets.data.importing.coco.shapes import are_fractions
from robot_assets.data.importing.importer import ImportSummary, import_dataset
from robot_assets.tasks.detection.boxes import SMALLEST_PX, fault_of, make_box
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


def refused(source: Path, out: Path, **options: Any) -> str:
    with pytest.raises(DataError) as error:
        import_dataset("coco", source, out, **options)
    assert not out.exists()
    assert not list(out.parent.glob(f".{out.name}*"))
    return error.value.found


def quarantined(source: Path, out: Path) -> tuple[ImportSummary, str]:
    """The import with its bad items left out, and their list as text."""
    summary = import_dataset("coco", source, out, quarantine=True)
    return summary, "\n".join(map(str, summary.quarantined))


def boxes_by_name(raw: Path) -> dict[str, int]:
    document = read_labels(raw)
    names = {image["id"]: image["file_name"] for image in document["images"]}
    counts = dict.fromkeys(names.values(), 0)
    for annotation in document["annotations"]:
        counts[names[annotation["image_id"]]] += 1
    return counts


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


def test_images_without_an_entry_in_the_labels_are_counted(source: Path, tmp_path: Path) -> None:
    (source / "images" / "day1" / "r2" / "extra.jpg").write_bytes(encoded_image("extra"))
    assert import_dataset("coco", source, tmp_path / "raw").unlisted == 1


# One bad annotation makes its image bad as a whole


@pytest.mark.parametrize(
    ("field", "value", "place", "found"),
    [
        ("category_id", 2, "annotations[0].category_id", "unknown class id 2; use one of 1, 4, 7"),
        ("category_id", "ball", "annotations[0].category_id", "unknown class id 'ball'"),
        ("category_id", True, "annotations[0].category_id", "unknown class id True"),
        ("category_id", [1], "annotations[0].category_id", "unknown class id [1]"),
        ("bbox", [float("nan"), 4, 20, 10], "annotations[0].bbox", "NaN or infinite"),
        ("bbox", [4, 4, float("inf"), 10], "annotations[0].bbox", "NaN or infinite"),
        ("bbox", [4, 4, 20], "annotations[0].bbox", "3 values, not [x, y, width, height] in pixels"),
        ("bbox", [4, 4, "20", 10], "annotations[0].bbox", "strings such as '20', not numbers"),
        ("bbox", [10**400, 4, 20, 10], "annotations[0].bbox", "a number that is no pixel coordinate"),
        ("bbox", [4.5, 4, 20.5, 10**400], "annotations[0].bbox", "a number that is no pixel coordinate"),
        ("bbox", [10**400, 4, 20.5, 10.5], "annotations[0].bbox", "a number that is no pixel coordinate"),
        ("bbox", [True, 4, 20, 10], "annotations[0].bbox", "true or false that is no pixel coordinate"),
        ("bbox", None, "annotations[0].bbox", "no [x, y, width, height] in pixels"),
        ("bbox", [0, 0, 0, 0], "annotations[0].bbox", "a box of 0x0 px"),
        ("bbox", {"x": 4}, "annotations[0].bbox", "an object, not [x, y, width, height]"),
        ("bbox", [4, 4, 0, 10], "annotations[0].bbox", "box of 0x10 px"),
        ("bbox", [4, 4, 5, -10], "annotations[0].bbox", "box of 5x-10 px"),
        ("bbox", [60, 4, 20, 10], "annotations[0].bbox", "label outside the image: 16.0 px past the edge"),
        ("bbox", [30, 20, 50, 40], "annotations[0].bbox", "corners x1, y1, x2, y2, and COCO has x, y, width, height?"),
        ("bbox", [0.1, 0.2, 0.3, 0.4], "annotations[0].bbox", "fractions of the image size, and COCO has pixels?"),
        ("bbox", [1, 2, 3, 4, 0.5], "annotations[0].bbox", "5 values, as of a rotated box"),
        ("bbox", [1, 2, 9, 2, 9, 8, 1, 8], "annotations[0].bbox", "an oriented box (8 coordinates)"),
        ("attributes", {"rotation": 30.0}, "annotations[0].bbox", "a box rotated by 30 degrees"),
        ("iscrowd", 2, "annotations[0].iscrowd", "2, needed 0 or 1"),
        ("iscrowd", "0", "annotations[0].iscrowd", "'0', needed 0 or 1"),
        ("id", 2, "annotations[0].id", "duplicate annotation id 2"),
        ("id", [2], "annotations[0].id", "a list that cannot be an id"),
    ],
)
def test_a_bad_annotation_is_named_with_its_field_and_its_image(
    source: Path, tmp_path: Path, field: str, value: object, place: str, found: str
) -> None:
    document = read_labels(source)
    document["annotations"][0][field] = value
    write_labels(source, document)
    message = refused(source, tmp_path / "raw")
    assert f"day1/r2/000.png in annotations.json: {place}: " in message
    assert found in message
    summary, _ = quarantined(source, tmp_path / "raw")
    assert "day1/r2/000.png" not in boxes_by_name(tmp_path / "raw")
    assert summary.images >= 3


def test_both_annotations_of_one_id_are_named(source: Path, tmp_path: Path) -> None:
    document = read_labels(source)
    document["annotations"][-1]["id"] = 1
    write_labels(source, document)
    summary, listed = quarantined(source, tmp_path / "raw")
    assert summary.images == 3
    assert "annotations[0].id: duplicate annotation id 1" in listed
    assert "annotations[11].id: duplicate annotation id 1" in listed


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (999, "annotations[0] (image_id 999): image_id is not the id of an image"),
        (None, "annotations[0] (image_id None): image_id is not the id of an image"),
        ([10], "annotations[0] (image_id [10]): image_id is not the id of an image"),
    ],
)
def test_an_annotation_that_points_to_no_image_is_named(
    source: Path, tmp_path: Path, value: object, found: str
) -> None:
    document = read_labels(source)
    document["annotations"][0]["image_id"] = value
    write_labels(source, document)
    assert found in refused(source, tmp_path / "raw")


def test_annotations_that_are_no_objects_or_have_no_image_id_are_named(source: Path, tmp_path: Path) -> None:
    document = read_labels(source)
    document["annotations"][0] = "box"
    del document["annotations"][1]["image_id"]
    write_labels(source, document)
    message = refused(source, tmp_path / "raw")
    assert "annotations[0]: the annotation is a string, not an object" in message
    assert "annotations[1]: no image_id" in message


def test_annotations_without_ids_are_imported(source: Path, tmp_path: Path) -> None:
    document = read_labels(source)
    for annotation in document["annotations"]:
        del annotation["id"]
    write_labels(source, document)
    assert import_dataset("coco", source, tmp_path / "raw").annotations == 12


def test_crowd_regions_are_kept(source: Path, tmp_path: Path) -> None:
    document = read_labels(source)
    document["annotations"][0]["iscrowd"] = 1
    write_labels(source, document)
    import_dataset("coco", source, tmp_path / "raw")
    assert sum(annotation["iscrowd"] for annotation in read_labels(tmp_path / "raw")["annotations"]) == 1


sides = st.floats(SMALLEST_PX, 1000) | st.integers(1, 1000)
edges = st.floats(-2, 1000) | st.integers(-2, 1000)


@given(edges, edges, sides, sides, st.booleans())
def test_a_box_is_the_one_that_every_format_gets(x: float, y: float, width: float, height: float, crowd: bool) -> None:
    assume(not fault_of(x, y, width, height, 640, 480) and not are_fractions((x, y, width, height)))
    reader = BoxReader("labels.json", {7: 0}, {}, polygons=False)
    row = {"category_id": 7, "bbox": [x, y, width, height], "iscrowd": int(crowd)}
    (box,) = reader.read({"file_name": "a.jpg"}, "images[0]", [(0, row)], 640, 480)
    assert box == make_box(0, (x, y, width, height), (640, 480), crowd=crowd)


# Entries of images


@pytest.mark.parametrize(
    ("field", "value", "place", "found"),
    [
        ("file_name", "../source/images/day1/r2/000.png", "images[0]", "file_name leads outside the source"),
        ("file_name", "day1/../../x.png", "images[0]", "file_name leads outside the source"),
        ("file_name", "/etc/hostname", "images[0]", "file_name is an absolute path"),
        ("file_name", "..\\x.png", "images[0]", "file_name leads outside the source"),
        ("file_name", "C:\\robot\\x.png", "images[0]", "file_name is an absolute Windows path"),
        ("file_name", "\\\\nas\\robot\\x.png", "images[0]", "file_name is an absolute Windows path"),
        ("file_name", "day1\\x.png", "images[0]", "file_name is a Windows path, and no such image is there"),
        ("file_name", "https://robots/x.png", "images[0]", "file_name is a URL"),
        ("file_name", "day1/r2/\0.png", "images[0]", "file_name has a NUL character"),
        ("file_name", "", "images[0]", "file_name is empty"),
        ("file_name", "day1/r2/999.png", "images[0]", "no such image"),
        ("file_name", "day1/r2/\udce9.png", "images[0]", "no such image"),
        ("file_name", "r2/001.PNG", "images[0]", "no such image"),
        ("file_name", None, "images[0]", "file_name is null"),
        ("file_name", ["a.png"], "images[0]", "file_name is a list"),
        ("id", 11, "images[0]", "duplicate image id 11"),
        ("id", 11.0, "images[0]", "duplicate image id 11"),
        ("id", "11", "images[0]", "duplicate image id 11"),
        ("id", "x", "images[0]", "its id is a string, and the ids of other images are integers"),
        ("id", None, "images[0]", "its id is null that cannot be an id"),
        ("id", 1.5, "images[0]", "its id is a number that cannot be an id"),
        ("width", 128, "images[0].width", "128, but the image has 64"),
        ("height", "48", "images[0].height", "a string, but the image has 48"),
        ("height", float("nan"), "images[0].height", "nan, but the image has 48"),
    ],
)
def test_a_bad_image_record_is_named_with_its_field(
    source: Path, tmp_path: Path, field: str, value: object, place: str, found: str
) -> None:
    document = read_labels(source)
    document["images"][0][field] = value
    write_labels(source, document)
    assert found in refused(source, tmp_path / "raw")
    _, listed = quarantined(source, tmp_path / "raw")
    assert f"annotations.json: {place}: " in listed
    assert "day1/r2/000.png" not in boxes_by_name(tmp_path / "raw")


def test_a_swapped_size_is_named_once(source: Path, tmp_path: Path) -> None:
    document = read_labels(source)
    document["images"][0].update(width=48, height=64)
    write_labels(source, document)
    message = refused(source, tmp_path / "raw")
    assert "images[0]: width and height are swapped: the image has 64x48 px" in message


def test_an_entry_without_a_size_is_imported(source: Path, tmp_path: Path) -> None:
    document = read_labels(source)
    del document["images"][0]["width"], document["images"][0]["height"]
    document["images"][1].update(width=None, height=None)
    document["images"][2].update(width=64.0, height=48.0)
    write_labels(source, document)
    assert import_dataset("coco", source, tmp_path / "raw").images == 5


def test_the_place_of_a_missing_image_is_shown(source: Path, tmp_path: Path) -> None:
    document = read_labels(source)
    document["images"][0]["file_name"] = "upload/000.PNG"
    (source / "images" / "day2" / "r4" / "000.png").rename(source / "images" / "day2" / "r4" / "005.png")
    document["images"][3]["file_name"] = "day2/r4/005.png"
    write_labels(source, document)
    message = refused(source, tmp_path / "raw")
    assert "upload/000.PNG (there is images/day1/r2/000.png) in annotations.json: images[0]: no such image" in message


def test_images_none_of_which_is_there_are_one_error_with_the_folders_that_were_looked_into(
    source: Path, tmp_path: Path
) -> None:
    document = read_labels(source)
    for image in document["images"]:
        image["file_name"] = "upload/" + image["file_name"]
    write_labels(source, document)
    with pytest.raises(DataError) as error:
        import_dataset("coco", source, tmp_path / "raw", quarantine=True)
    found = "none of the 5 images that the labels list is there, such as upload/day1/r2/000.png"
    assert f"{found} (there is images/day1/r2/000.png) of annotations.json" in error.value.found
    assert error.value.fix.startswith("correct the file names in annotations.json")
    assert error.value.needed == "the images below the source, or below one of images/, data/ in it"


# One file under two ids: what would be left of it would look whole


def duplicate(document: dict[str, Any], file_name: str) -> None:
    """A second entry for the first image, with one of its boxes."""
    document["images"].append({**document["images"][0], "id": 999, "file_name": file_name})
    document["annotations"][1]["image_id"] = 999


@pytest.mark.parametrize(
    "file_name",
    [
        "day1/r2/000.png",
        "./day1/r2/000.png",
        "day1//r2/000.png",
        "day1\\r2\\000.png",
        "day2/../day1/r2/000.png",
        "images/day1/r2/000.png",
        "day1/r2/%3000.png",
        "Day1/R2/000.PNG",
    ],
)
def test_a_file_under_two_ids_is_not_imported_at_all(source: Path, tmp_path: Path, file_name: str) -> None:
    document = read_labels(source)
    duplicate(document, file_name)
    write_labels(source, document)
    assert "the image is listed twice" in refused(source, tmp_path / "raw")
    summary, listed = quarantined(source, tmp_path / "raw")
    counts = boxes_by_name(tmp_path / "raw")
    assert "day1/r2/000.png" not in counts
    assert sum(counts.values()) == summary.annotations == 12 - 3
    assert "images/day1/r2/000.png in annotations.json: images[0] and images[5]: the image is listed twice" in listed


def test_a_bad_second_entry_takes_the_first_along(source: Path, tmp_path: Path) -> None:
    document = read_labels(source)
    document["images"].append({"file_name": "day1/r2/000.png"})
    write_labels(source, document)
    quarantined(source, tmp_path / "raw")
    assert "day1/r2/000.png" not in boxes_by_name(tmp_path / "raw")


def test_a_file_in_two_label_files_is_not_imported_at_all(source: Path, tmp_path: Path) -> None:
    document = read_labels(source)
    (source / "annotations").mkdir()
    (source / "annotations.json").unlink()
    (source / "annotations" / "instances_one.json").write_text(json.dumps(document))
    other = {**document, "images": document["images"][:1], "annotations": document["annotations"][:1]}
    (source / "annotations" / "instances_two.json").write_text(json.dumps(other))
    _, listed = quarantined(source, tmp_path / "raw")
    assert "day1/r2/000.png" not in boxes_by_name(tmp_path / "raw")
    assert "annotations/instances_one.json: images[0] and annotations/instances_two.json: images[0]" in listed


def test_images_that_would_have_one_path_in_the_raw_data_are_refused_both(source: Path, tmp_path: Path) -> None:
    document = read_labels(source)
    (source / "day1" / "r2").mkdir(parents=True)
    (source / "day1" / "r2" / "000.png").write_bytes(encoded_image("another", format="PNG"))
    document["images"].append({**document["images"][0], "id": 999, "file_name": "../day1/r2/000.png"})
    write_labels(source, document)
    _, listed = quarantined(source, tmp_path / "raw")
    assert "day1/r2/000.png" not in boxes_by_name(tmp_path / "raw")
    assert "another image becomes day1/r2/000.png in the raw data, too" in listed


# Spellings of ids, paths and files


@pytest.mark.parametrize(
    ("images", "annotations"),
    [(str, str), (str, int), (int, str), (float, int), (int, float), ("img-{}".format, "img-{}".format)],
)
def test_ids_of_any_type_match_when_they_are_unambiguous(
    source: Path, tmp_path: Path, images: Any, annotations: Any
) -> None:
    import_dataset("coco", source, tmp_path / "expected")
    document = read_labels(source)
    for image in document["images"]:
        image["id"] = images(image["id"])
    for annotation in document["annotations"]:
        annotation["image_id"] = annotations(annotation["image_id"])
    write_labels(source, document)
    summary = import_dataset("coco", source, tmp_path / "raw")
    assert tree_bytes(tmp_path / "raw") == tree_bytes(tmp_path / "expected")
    assert any("image ids are strings" in note for note in summary.notes) == isinstance(images(1), str)


def test_ids_of_different_kinds_are_one_error(source: Path, tmp_path: Path) -> None:
    document = read_labels(source)
    for image in document["images"]:
        image["id"] = f"{image['id']:08}"
    write_labels(source, document)
    message = refused(source, tmp_path / "raw")
    assert "none of its 12 annotations points to one of its 5 images" in message
    assert "the ids of the images are strings such as '00000010'" in message
    assert "image_id of the annotations are integers such as 10" in message


def test_windows_paths_are_read_when_the_image_is_there(source: Path, tmp_path: Path) -> None:
    import_dataset("coco", source, tmp_path / "expected")
    document = read_labels(source)
    for image in document["images"]:
        image["file_name"] = "images\\" + image["file_name"].replace("/", "\\")
    write_labels(source, document)
    summary = import_dataset("coco", source, tmp_path / "raw")
    assert tree_bytes(tmp_path / "raw") == tree_bytes(tmp_path / "expected")
    assert "annotations.json: file_name of 5 images is a Windows path" in summary.notes


def test_absolute_paths_into_the_source_and_relative_ones_out_of_its_images_are_read(
    source: Path, tmp_path: Path
) -> None:
    document = read_labels(source)
    document["images"][0]["file_name"] = str(source / "images" / "day1" / "r2" / "000.png")
    document["images"][1]["file_name"] = "./images/../images/day1/r2/001.png"
    write_labels(source, document)
    summary = import_dataset("coco", source, tmp_path / "raw")
    assert summary.images == 5
    assert "annotations.json: file_name of 1 image is an absolute path" in summary.notes


def test_names_in_another_unicode_form_are_found_when_there_is_one(source: Path, tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "로봇.png") for form in ("NFC", "NFD"))
    document = read_labels(source)
    folder = source / "images" / "day1" / "r2"
    (folder / "000.png").rename(folder / decomposed)
    document["images"][0]["file_name"] = f"day1/r2/{composed}"
    write_labels(source, document)
    summary = import_dataset("coco", source, tmp_path / "raw")
    assert summary.images == 5
    assert any("another Unicode form" in note for note in summary.notes)


def test_names_in_another_case_are_found_when_there_is_one(source: Path, tmp_path: Path) -> None:
    document = read_labels(source)
    document["images"][0]["file_name"] = "Day1/R2/000.PNG"
    write_labels(source, document)
    summary = import_dataset("coco", source, tmp_path / "raw")
    assert summary.notes == (
        "annotations.json: file_name of 1 image is in other upper and lower case than the name of the file",
    )
    (source / "images" / "day1" / "r2" / "000.PNG").write_bytes(encoded_image("another", format="PNG"))
    assert "no such image" in refused(source, tmp_path / "other")


def test_a_symlinked_image_is_not_followed(source: Path, tmp_path: Path) -> None:
    image = source / "images" / "day1" / "r2" / "000.png"
    image.rename(tmp_path / "secret.png")
    image.symlink_to(tmp_path / "secret.png")
    message = refused(source, tmp_path / "raw")
    assert "images/day1/r2/000.png: a symlink" in message
    assert "no such image" not in message


def test_symlinks_into_a_cache_of_dvc_are_named_once_with_the_commands(source: Path, tmp_path: Path) -> None:
    for number, name in enumerate(("000.png", "001.png")):
        image = source / "images" / "day1" / "r2" / name
        kept = tmp_path / "cache" / "files" / "md5" / "ab" / f"{number:030x}"
        kept.parent.mkdir(parents=True, exist_ok=True)
        image.rename(kept)
        image.symlink_to(kept)
    with pytest.raises(DataError, match="2 symlinks into the cache of DVC") as error:
        import_dataset("coco", source, tmp_path / "raw")
    assert error.value.fix.startswith("dvc config --local cache.type reflink,hardlink,copy && dvc checkout --relink")


# Malformed JSON


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("{", "it ends in the middle"),
        ('{"images": [', "it ends in the middle"),
        ('{"images": ["a', "it ends in the middle"),
        ('{"images": oops}', "line 1, column 12 is not JSON"),
        ("", "it is empty"),
        (" \n", "it is empty"),
        ("[]", "the top level is a list, not an object"),
        ('{"images": [], "annotations": {}, "categories": []}', "annotations is an object, not a list"),
        ('{"images": {}, "annotations": [], "categories": []}', "images is an object, not a list"),
        ('{"images": []}', "it has no annotations and no categories"),
        ('{"images": [], "images": [], "annotations": [], "categories": []}', "an object has the key 'images' twice"),
        ('{"images": [{"id": 1, "id": 2}], "annotations": [], "categories": []}', "an object has the key 'id' twice"),
        ("[" * 100_000, "nested too deeply"),
        ('{"images": [1' + "0" * 5000 + "]}", "more digits"),
        ("\x00", "is not JSON"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 1\n", "a Git LFS pointer"),
    ],
)
def test_malformed_labels_are_named(source: Path, tmp_path: Path, text: str, found: str) -> None:
    (source / "annotations.json").write_text(text)
    message = refused(source, tmp_path / "raw")
    assert "annotations.json is malformed" in message
    assert found in message


def test_labels_that_are_not_text_are_named(source: Path, tmp_path: Path) -> None:
    (source / "annotations.json").write_bytes(b'{"images": "\xff"}')
    assert "byte 12 is not UTF-8 text" in refused(source, tmp_path / "raw")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_labels_in_other_encodings_are_read(source: Path, tmp_path: Path, encoding: str) -> None:
    path = source / "annotations.json"
    path.write_bytes(path.read_text("utf-8").encode(encoding))
    assert import_dataset("coco", source, tmp_path / "raw").images == 5


# Categories


@pytest.mark.parametrize(
    ("categories", "found"),
    [
        ([{"id": 1}], "categories[0] has the name None"),
        ([{"id": 1, "name": ""}], "categories[0] has the name ''"),
        ([{"id": 1, "name": "a\x1b[31m"}], "categories[0] has the name 'a\\x1b[31m'"),
        ([{"id": 1, "name": 1}], "categories[0] has the name 1"),
        ([{"id": None, "name": "a"}], "categories[0] has the id None"),
        ([{"id": 1, "name": "a"}, {"id": 1, "name": "b"}], "the id 1 is that of 'a' and of 'b'"),
        (["a"], "categories[0] is 'a'"),
        ([], "annotations.json: categories is empty"),
    ],
)
def test_contradictory_categories_are_named(source: Path, tmp_path: Path, categories: list[object], found: str) -> None:
    write_labels(source, {**read_labels(source), "categories": categories})
    message = refused(source, tmp_path / "raw")
    assert "annotations.json: categories" in message
    assert found in message


def test_two_used_categories_of_one_name_are_named_with_their_annotations(source: Path, tmp_path: Path) -> None:
    document = read_labels(source)
    document["categories"][1]["name"] = "ball"
    write_labels(source, document)
    message = refused(source, tmp_path / "raw")
    assert "categories 1 with 5 annotations and 4 with 5 annotations have the same name 'ball'" in message


@pytest.mark.parametrize("first", [True, False])
def test_an_unused_category_of_the_same_name_is_left_out_with_a_note(source: Path, tmp_path: Path, first: bool) -> None:
    import_dataset("coco", source, tmp_path / "expected")
    document = read_labels(source)
    document["categories"].insert(0 if first else 3, {"id": 0, "name": "human", "supercategory": "none"})
    write_labels(source, document)
    summary = import_dataset("coco", source, tmp_path / "raw")
    assert tree_bytes(tmp_path / "raw") == tree_bytes(tmp_path / "expected")
    assert summary.notes == (
        "annotations.json: categories 0 and 4 are both named 'human'; 0 has no annotation and is left out",
    )


def test_an_unused_group_of_all_classes_is_left_out_with_a_note(source: Path, tmp_path: Path) -> None:
    document = read_labels(source)
    for category in document["categories"]:
        category["supercategory"] = "robots"
    document["categories"].append({"id": 0, "name": "robots", "supercategory": "none"})
    write_labels(source, document)
    summary = import_dataset("coco", source, tmp_path / "raw")
    assert tuple(summary.classes) == CLASSES
    assert any("category 'robots' has no annotation and is the supercategory of all others" in n for n in summary.notes)


def test_a_group_that_is_used_is_a_class(source: Path, tmp_path: Path) -> None:
    document = read_labels(source)
    for category in document["categories"][1:]:
        category["supercategory"] = "ball"
    write_labels(source, document)
    assert tuple(import_dataset("coco", source, tmp_path / "raw").classes) == CLASSES


@pytest.mark.parametrize("form", [str, float, "class-{}".format])
def test_category_ids_of_any_type_match(source: Path, tmp_path: Path, form: Any) -> None:
    import_dataset("coco", source, tmp_path / "expected")
    document = read_labels(source)
    for row, key in [(row, "id") for row in document["categories"]] + [
        (row, "category_id") for row in document["annotations"]
    ]:
        row[key] = form(row[key])
    write_labels(source, document)
    import_dataset("coco", source, tmp_path / "raw")
    assert tree_bytes(tmp_path / "raw") == tree_bytes(tmp_path / "expected")


def test_a_category_id_of_zero_is_an_id(source: Path, tmp_path: Path) -> None:
    document = read_labels(source)
    for row in document["categories"]:
        row["id"] -= 1
    for row in document["annotations"]:
        row["category_id"] -= 1
    write_labels(source, document)
    assert import_dataset("coco", source, tmp_path / "raw").annotations == 12


def test_class_names_that_differ_in_case_only_are_noted(source: Path, tmp_path: Path) -> None:
    document = read_labels(source)
    document["categories"][1]["name"] = "Ball "
    write_labels(source, document)
    summary = import_dataset("coco", source, tmp_path / "raw")
    assert summary.notes == ("'ball' and 'Ball ' differ in case or spaces only, and are 2 classes",)


def test_labels_without_any_annotation_are_noted(source: Path, tmp_path: Path) -> None:
    write_labels(source, {**read_labels(source), "annotations": []})
    summary = import_dataset("coco", source, tmp_path / "raw")
    assert summary.notes == ("annotations.json has no annotation: 5 images imported as images without objects",)


def test_images_that_may_be_those_of_stray_annotations_are_noted(source: Path, tmp_path: Path) -> None:
    document = read_labels(source)
    document["images"][0]["id"] = 999
    write_labels(source, document)
    summary, _ = quarantined(source, tmp_path / "raw")
    assert summary.notes == (
        "annotations.json: 3 annotations point to no image, and 1 image has no annotation and may be the one meant",
    )
