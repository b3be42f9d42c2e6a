"""Layouts of COCO exports: recognized by their files, read as one data set, or named for what they are."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from robot_assets.core.errors import DataError
from robot_assets.data.importing.coco.layouts import LAYOUTS, split_of
from robot_assets.data.importing.coco.reader import read_coco
from robot_assets.data.source import Source, load
from tests.data.image_sources import CLASSES, HEIGHT, WIDTH, encoded_image, write_coco, write_yolo


def document(names: list[str], *, first_id: int = 1, categories: tuple[str, ...] = CLASSES) -> dict[str, Any]:
    """Labels of images of these names, one box of each class on each image."""
    return {
        "images": [
            {"id": first_id + i, "file_name": name, "width": WIDTH, "height": HEIGHT} for i, name in enumerate(names)
        ],
        "annotations": [
            {"id": 3 * i + j + 1, "image_id": first_id + i, "category_id": j + 1, "bbox": [4 + j, 4, 20, 10]}
            for i in range(len(names))
            for j in range(len(categories))
        ],
        "categories": [{"id": j + 1, "name": name} for j, name in enumerate(categories)],
    }


def write(root: Path, files: dict[str, Any]) -> Path:
    """Write JSON, and an image for each name that maps to None."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            path.write_bytes(encoded_image(name))
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content))
    return root


def images(folder: str, count: int = 2) -> dict[str, None]:
    return {f"{folder}/{number:03}.jpg".removeprefix("/"): None for number in range(count)}


NAMES = ["000.jpg", "001.jpg"]

EXPORTS: dict[str, tuple[str, dict[str, Any], list[str], tuple[str, ...]]] = {
    "published": (
        "coco",
        {
            "annotations/instances_train2017.json": document(NAMES),
            "annotations/instances_val2017.json": document(NAMES),
            "annotations/captions_train2017.json": {"images": [], "annotations": [{"caption": "a robot"}]},
            "annotations/person_keypoints_val2017.json": document(NAMES),
            **images("train2017"),
            **images("val2017"),
        },
        ["train2017/000.jpg", "train2017/001.jpg", "val2017/000.jpg", "val2017/001.jpg"],
        ("train2017", "val2017"),
    ),
    "published, images below images/": (
        "coco",
        {
            "annotations/instances_train2017.json": document(NAMES),
            "annotations/instances_val2017.json": document(NAMES),
            **images("images/train2017"),
            **images("images/val2017"),
        },
        ["train2017/000.jpg", "train2017/001.jpg", "val2017/000.jpg", "val2017/001.jpg"],
        ("train2017", "val2017"),
    ),
    "roboflow": (
        "roboflow",
        {
            "train/_annotations.coco.json": document(NAMES),
            "valid/_annotations.coco.json": document(NAMES),
            "README.roboflow.txt": "exported by roboflow",
            **images("train"),
            **images("valid"),
        },
        ["train/000.jpg", "train/001.jpg", "valid/000.jpg", "valid/001.jpg"],
        ("train", "valid"),
    ),
    "roboflow, one folder": (
        "roboflow",
        {"_annotations.coco.json": document(NAMES), **images("")},
        NAMES,
        (),
    ),
    "cvat": (
        "cvat",
        {"annotations/instances_default.json": document(["day1/000.jpg", "day1/001.jpg"]), **images("images/day1")},
        ["day1/000.jpg", "day1/001.jpg"],
        (),
    ),
    "label studio": (
        "label-studio",
        {"result.json": document(["images\\000.jpg", "images\\001.jpg"]), "notes.json": {}, **images("images")},
        NAMES,
        (),
    ),
    "label studio, names below images/": (
        "label-studio",
        {"result.json": document(["images/000.jpg", "images/001.jpg"]), **images("images")},
        NAMES,
        (),
    ),
    "fiftyone": (
        "fiftyone",
        {"labels.json": document(NAMES), **images("data")},
        NAMES,
        (),
    ),
    "ours": (
        "raw",
        {"annotations.json": document(["d1/r1/000.jpg", "d1/r1/001.jpg"]), **images("images/d1/r1")},
        ["d1/r1/000.jpg", "d1/r1/001.jpg"],
        (),
    ),
    "several JSON files at the top": (
        "json",
        {
            "train.json": document(NAMES),
            "val.json": document(NAMES),
            "config.json": {"epochs": 3},
            **images("train"),
            **images("val"),
        },
        ["train/000.jpg", "train/001.jpg", "val/000.jpg", "val/001.jpg"],
        ("train", "val"),
    ),
    "a folder a split, each with annotations.json": (
        "json",
        {
            "train/annotations.json": document(NAMES),
            "test/annotations.json": document(NAMES),
            **images("train/images"),
            **images("test/images"),
        },
        ["test/000.jpg", "test/001.jpg", "train/000.jpg", "train/001.jpg"],
        ("test", "train"),
    ),
    "keypoints alone": (
        "coco",
        {"annotations/person_keypoints_train.json": document(NAMES), **images("train")},
        ["train/000.jpg", "train/001.jpg"],
        ("train",),
    ),
}


def boxes_of(source: Source) -> dict[str, int]:
    return {entry.file_name: len(load(entry).boxes) for entry in source.entries}


@pytest.mark.parametrize("export", EXPORTS)
def test_an_export_is_recognized_and_read_as_one_data_set(export: str, tmp_path: Path) -> None:
    layout, files, names, splits = EXPORTS[export]
    source = read_coco(write(tmp_path / "export", files))
    assert source.layout == next(one.title for one in LAYOUTS if one.name == layout)
    assert boxes_of(source) == dict.fromkeys(names, 3)
    assert source.categories == CLASSES
    assert source.splits == splits
    assert source.issues == ()
    assert source.unlisted == ()
    assert not any(note.startswith("not read") for note in source.notes)
    forced = read_coco(tmp_path / "export", layout)
    assert boxes_of(forced) == boxes_of(source)


@pytest.mark.parametrize("export", EXPORTS)
def test_a_json_file_of_an_export_is_a_source(export: str, tmp_path: Path) -> None:
    _, files, names, _ = EXPORTS[export]
    root = write(tmp_path / "export", files)
    labels = next(name for name in files if name.endswith(".json"))
    source = read_coco(root / labels)
    assert len(source.entries) == 2
    assert {entry.path.name for entry in source.entries} == {"000.jpg", "001.jpg"}
    assert source.issues == ()
    assert names


def test_ids_of_images_and_annotations_are_those_of_their_file(tmp_path: Path) -> None:
    source = read_coco(
        write(
            tmp_path / "export",
            {
                "train/_annotations.coco.json": document(NAMES),
                "valid/_annotations.coco.json": document(["000.jpg"], first_id=2),
                **images("train"),
                **images("valid", 1),
            },
        )
    )
    assert boxes_of(source) == {"train/000.jpg": 3, "train/001.jpg": 3, "valid/000.jpg": 3}


def test_categories_of_several_files_agree_by_name(tmp_path: Path) -> None:
    other = document(["000.jpg"])
    for row in other["categories"]:
        row["id"] = 4 - row["id"]
    root = write(
        tmp_path / "export",
        {
            "train/_annotations.coco.json": document(["000.jpg"]),
            "valid/_annotations.coco.json": other,
            **images("train", 1),
            **images("valid", 1),
        },
    )
    train, valid = read_coco(root).entries
    assert [box.category for box in load(train).boxes] == [0, 1, 2]
    assert [box.category for box in load(valid).boxes] == [2, 1, 0]


def test_categories_that_differ_are_named(tmp_path: Path) -> None:
    root = write(
        tmp_path / "export",
        {
            "train/_annotations.coco.json": document(["000.jpg"]),
            "valid/_annotations.coco.json": document(["000.jpg"], categories=("ball", "referee", "human")),
            **images("train", 1),
            **images("valid", 1),
        },
    )
    with pytest.raises(DataError) as error:
        read_coco(root)
    assert "valid/_annotations.coco.json has no 'goal post'" in error.value.found
    assert "train/_annotations.coco.json has no 'referee'" in error.value.found


def test_other_label_files_are_named_as_not_read(tmp_path: Path) -> None:
    root = write(
        tmp_path / "export",
        {
            "annotations.json": document(NAMES),
            "result.json": document(NAMES),
            "annotations/captions_x.json": {},
            **images("images"),
        },
    )
    assert read_coco(root).notes == ("not read: result.json (--layout selects other label files)",)
    assert read_coco(root, "label-studio").notes == ("not read: annotations.json (--layout selects other label files)",)


def test_images_of_other_tools_are_not_taken_for_those_of_the_labels(tmp_path: Path) -> None:
    """A file name is searched for below the folders of its own split, not below those of another one."""
    root = write(
        tmp_path / "export",
        {
            "annotations/instances_train2017.json": document(["000.jpg"]),
            "annotations/instances_val2017.json": document(["000.jpg", "001.jpg"]),
            **images("train2017", 2),
            **images("val2017", 1),
        },
    )
    source = read_coco(root)
    (issue,) = source.issues
    assert issue.place == "001.jpg (there is train2017/001.jpg) in annotations/instances_val2017.json: images[1]"
    assert issue.found == "no such image"
    assert [issue.place for issue in source.unlisted] == ["train2017/001.jpg"]


OTHER_JSON: dict[str, tuple[Any, str, str]] = {
    "results.json": (
        [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}],
        "COCO results (predictions without images and categories)",
        "export the annotations",
    ),
    "annotations/captions_val.json": (
        {"images": [], "annotations": [{"id": 1, "image_id": 1, "caption": "a robot"}]},
        "COCO captions",
        "use the instances_*.json",
    ),
    "project-1.json": (
        [{"id": 1, "data": {"image": "/data/upload/a.jpg"}, "annotations": [{"result": []}]}],
        "Label Studio's own JSON",
        'choose Export > "COCO with images"',
    ),
    "project-1-min.json": (
        [{"image": "/data/upload/a.jpg", "id": 1, "label": [], "annotator": 1, "annotation_id": 1}],
        "Label Studio's own JSON",
        'choose Export > "COCO with images"',
    ),
    "000.json": (
        {"version": "5.0.1", "shapes": [], "imagePath": "000.jpg", "imageData": None},
        "LabelMe JSON",
        "labelme2coco",
    ),
    "via_project.json": (
        {"_via_settings": {}, "_via_img_metadata": {}},
        "VIA JSON",
        "COCO format",
    ),
    "via_export.json": (
        {"000.jpg1234": {"filename": "000.jpg", "size": 1234, "regions": []}},
        "VIA JSON",
        "COCO format",
    ),
    "samples.json": ({"samples": []}, "a FiftyOne dataset", "COCODetectionDataset"),
    "default.json": ({"info": {}, "categories": {}, "items": []}, "Datumaro JSON", "datum convert"),
    "createml.json": ([{"image": "000.jpg", "annotations": []}], "Create ML JSON", "export COCO JSON"),
    "export.json": ([{"data_row": {}, "media_attributes": {}}], "Labelbox JSON", "export COCO JSON"),
    "image_info_test.json": ({"images": [], "categories": []}, "image_info", "instances_*.json"),
}


@pytest.mark.parametrize("name", OTHER_JSON)
def test_json_that_is_not_coco_is_named_with_the_export_to_choose(name: str, tmp_path: Path) -> None:
    content, title, fix = OTHER_JSON[name]
    root = write(tmp_path / "export", {name: content, **images("")})
    for source in (root, root / name):
        with pytest.raises(DataError) as error:
            read_coco(source)
        assert title in error.value.found
        assert fix in error.value.fix


def test_panoptic_labels_are_named_although_they_have_all_tables(tmp_path: Path) -> None:
    labels = document(["000.jpg"])
    labels["annotations"] = [{"image_id": 1, "file_name": "000.png", "segments_info": []}]
    root = write(tmp_path / "export", {"labels/panoptic.json": labels, **images("", 1)})
    with pytest.raises(DataError, match="COCO panoptic segmentation"):
        read_coco(root)


def test_a_json_of_another_kind_at_the_place_of_labels_is_named(tmp_path: Path) -> None:
    content, title, _ = OTHER_JSON["project-1.json"]
    root = write(tmp_path / "export", {"result.json": content, **images("images")})
    with pytest.raises(DataError) as error:
        read_coco(root)
    assert error.value.found == f"{root}/result.json is {title}"


def test_an_unknown_layout_is_one_finding_with_what_was_looked_for(tmp_path: Path) -> None:
    root = write(tmp_path / "export", images("photos", 30))
    with pytest.raises(DataError) as error:
        read_coco(root)
    assert "has no known layout of COCO labels" in error.value.found
    assert "photos/  30 .jpg" in error.value.found
    for layout in LAYOUTS:
        assert layout.looked_for in error.value.needed


def test_yolo_labels_are_proposed_for_what_they_are(tmp_path: Path) -> None:
    root = write_yolo(tmp_path / "my source", {"day": 1})
    with pytest.raises(DataError) as error:
        read_coco(root)
    assert error.value.fix.startswith(f"robot-assets data import yolo '{root}' --name NAME")


def test_an_unknown_layout_name_is_an_error_with_the_near_miss(tmp_path: Path) -> None:
    root = write(tmp_path / "export", {"annotations.json": document(NAMES), **images("images")})
    with pytest.raises(DataError) as error:
        read_coco(root, "robolow")
    assert "roboflow" in error.value.fix
    with pytest.raises(DataError, match="is not arranged as --layout roboflow"):
        read_coco(root, "roboflow")


def test_an_unknown_value_of_polygons_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        read_coco(tmp_path, polygons="box")
    assert error.value.fix == "use --polygons boxes, or leave it out"


@pytest.mark.parametrize("name", ["labels.json", "export"])
def test_a_source_that_does_not_exist_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        read_coco(tmp_path / name)


def test_a_json_file_that_is_a_symlink_is_named(tmp_path: Path) -> None:
    root = write_coco(tmp_path / "source", {"day": 1})
    shutil.move(root / "annotations.json", tmp_path / "elsewhere.json")
    (root / "annotations.json").symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(DataError, match="is a symlink"):
        read_coco(root / "annotations.json")


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("annotations/instances_train2017.json", "train2017"),
        ("annotations/instances_default.json", "default"),
        ("train/_annotations.coco.json", "train"),
        ("valid/annotations/annotations.json", "valid"),
        ("train_annotations.json", "train"),
        ("val.json", "val"),
        ("result.json", ""),
    ],
)
def test_the_split_of_a_label_file_is_in_its_name_or_its_folder(name: str, split: str) -> None:
    assert split_of(name) == split


# Shapes that are no upright boxes

SQUARE = [10.0, 8.0, 30.0, 8.0, 30.0, 20.0, 10.0, 20.0]


def run_lengths(left: int, top: int, width: int, height: int) -> list[int]:
    """Counts of a mask of a rectangle, column by column."""
    flat = [int(left <= x < left + width and top <= y < top + height) for x in range(WIDTH) for y in range(HEIGHT)]
    runs, value = [0], 0
    for pixel in flat:
        if pixel != value:
            runs.append(0)
            value = pixel
        runs[-1] += 1
    return runs


def compressed(runs: list[int]) -> str:
    """rleToString of pycocotools."""
    text = ""
    for index, run in enumerate(runs):
        value, more = run - runs[index - 2] if index > 2 else run, True
        while more:
            bits = value & 0x1F
            value >>= 5
            more = value != (-1 if bits & 0x10 else 0)
            text += chr((bits | 0x20 if more else bits) + 48)
    return text


def shape(change: Callable[[dict[str, Any]], None], root: Path) -> Path:
    labels = document(["000.jpg"], categories=("ball",))
    del labels["annotations"][0]["bbox"]
    change(labels["annotations"][0])
    return write(root, {"annotations.json": labels, **images("images", 1)})


SHAPES: dict[str, tuple[dict[str, Any], str, tuple[float, float, float, float]]] = {
    "polygon": ({"segmentation": [SQUARE]}, "a polygon (segmentation) without a box", (10, 8, 20, 12)),
    "polygon beside a box of zeros": (
        {"segmentation": [SQUARE], "bbox": [0, 0, 0, 0]},
        "a polygon (segmentation) without a box",
        (10, 8, 20, 12),
    ),
    "polygon beside an empty box": (
        {"segmentation": [SQUARE, [1, 1, 5, 1, 5, 5]], "bbox": []},
        "a polygon (segmentation) without a box",
        (1, 1, 29, 19),
    ),
    "mask": (
        {"segmentation": {"size": [HEIGHT, WIDTH], "counts": run_lengths(10, 8, 20, 12)}},
        "a mask (RLE segmentation) without a box",
        (10, 8, 20, 12),
    ),
    "compressed mask": (
        {"segmentation": {"size": [HEIGHT, WIDTH], "counts": compressed(run_lengths(10, 8, 20, 12))}},
        "a mask (RLE segmentation) without a box",
        (10, 8, 20, 12),
    ),
    "mask of the full height": (
        {"segmentation": {"size": [HEIGHT, WIDTH], "counts": run_lengths(10, 0, 20, HEIGHT)}},
        "a mask (RLE segmentation) without a box",
        (10, 0, 20, HEIGHT),
    ),
    "oriented box": ({"bbox": SQUARE}, "an oriented box (8 coordinates)", (10, 8, 20, 12)),
    "rotated box": (
        {"bbox": [10, 8, 20, 12], "attributes": {"rotation": 90}},
        "a box rotated by 90 degrees",
        (14, 4, 12, 20),
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_is_named_for_what_it_is_and_read_as_its_enclosing_box_when_asked(name: str, tmp_path: Path) -> None:
    fields, found, (x, y, width, height) = SHAPES[name]
    root = shape(lambda row: row.update(fields), tmp_path / "export")
    with pytest.raises(Exception, match=r"000\.jpg") as error:
        load(read_coco(root).entries[0])
    assert error.value.issue.found == found
    assert "--polygons boxes" in error.value.issue.fix
    source = read_coco(root, polygons="boxes")
    (box,) = load(source.entries[0]).boxes
    assert (box.x, box.y, box.width, box.height) == pytest.approx((x, y, width, height))
    assert source.notes == ("1 polygon, mask or rotated box imported as its enclosing box",)


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({}, "no [x, y, width, height] in pixels"),
        ({"keypoints": [1, 2, 2]}, "keypoints without a box"),
        ({"segmentation": [[1, 2, 3]]}, "not a list of polygons"),
        ({"segmentation": [[1, 2, 3, 4, 5, "6"]]}, "not a list of polygons"),
        ({"segmentation": "rle"}, "not a list of polygons"),
        ({"segmentation": {"size": [HEIGHT, WIDTH]}}, "not a mask with size [height, width] and counts"),
        ({"segmentation": {"size": [2, 2], "counts": [1, 1]}}, "a mask whose counts are not 2x2 pixels"),
        ({"segmentation": {"size": [2, 2], "counts": "\x7f"}}, "not a mask with size [height, width] and counts"),
        ({"segmentation": {"size": [2, 2], "counts": "P" * 100_000}}, "not a mask with size [height, width]"),
        ({"segmentation": {"size": [2, 2], "counts": [4]}}, "an empty mask"),
        ({"bbox": [1, 2, 3, 4, 5]}, "5 values, as of a rotated box"),
    ],
)
def test_a_shape_without_an_enclosing_box_is_named(fields: dict[str, Any], found: str, tmp_path: Path) -> None:
    source = read_coco(shape(lambda row: row.update(fields), tmp_path / "export"), polygons="boxes")
    with pytest.raises(Exception, match=r"000\.jpg") as error:
        load(source.entries[0])
    assert found in error.value.issue.found


def test_a_rotation_of_zero_and_polygons_beside_boxes_leave_the_box_as_it_is(tmp_path: Path) -> None:
    fields = {"bbox": [10, 8, 20, 12], "segmentation": [SQUARE], "attributes": {"rotation": 0.0, "occluded": True}}
    source = read_coco(shape(lambda row: row.update(fields), tmp_path / "export"))
    (box,) = load(source.entries[0]).boxes
    assert (box.x, box.y, box.width, box.height) == (10, 8, 20, 12)
    assert source.notes == ()
