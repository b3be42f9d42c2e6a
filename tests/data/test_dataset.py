"""Building a packed data set, and reading it."""

import json
import pickle
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from robot_assets.core.errors import DataError
from robot_assets.data.dataset import build_dataset
from robot_assets.data.packed import open_calibration, open_split
from robot_assets.data.spec import DatasetSpec
from robot_assets.data.split import SPLITS
from robot_assets.tasks.detection.labels import BOXES
from tests.data.conftest import SESSIONS
from tests.data.image_sources import read_labels, tree_bytes, write_labels


def refused(raw: Path, spec: DatasetSpec, out: Path) -> str:
    with pytest.raises(DataError) as error:
        build_dataset(raw, spec, out)
    assert not out.exists()
    assert not list(out.parent.glob(f".{out.name}*"))
    assert error.value.fix
    return error.value.found


def test_every_image_round_trips_through_packing(raw: Path, spec: DatasetSpec, tmp_path: Path) -> None:
    summary = build_dataset(raw, spec, tmp_path / "out")
    document = read_labels(raw)
    expected = {image["file_name"]: image for image in document["images"]}
    seen: list[str] = []
    for name in SPLITS:
        split = open_split(tmp_path / "out", name)
        assert len(split) == summary.images[name]
        assert set(split.sessions) == set(summary.sessions[name])
        for i, file_name in enumerate(split.names):
            path = raw / "images" / file_name
            assert split.encoded(i) == path.read_bytes()
            with Image.open(path) as image:
                np.testing.assert_array_equal(split.image(i), np.asarray(image.convert("RGB")))
            rows = [a for a in document["annotations"] if a["image_id"] == expected[file_name]["id"]]
            corners = [[x, y, x + w, y + h] for x, y, w, h in (row["bbox"] for row in rows)]
            np.testing.assert_allclose(split.boxes(i), corners, atol=1e-4)
            assert split.labels(i).tolist() == [row["category_id"] - 1 for row in rows]
        seen += split.names
    assert sorted(seen) == sorted(expected)


def test_arrays_have_the_documented_types_and_shapes(packed: Path, spec: DatasetSpec) -> None:
    split = open_split(packed, "train")
    assert split.classes == spec.classes
    assert (split.image(0).dtype, split.image(0).shape) == (np.uint8, (48, 64, 3))
    assert (split.boxes(0).dtype, split.labels(0).dtype) == (np.float32, np.int64)
    coco = split.coco()
    assert [image["id"] for image in coco["images"]] == list(split.image_ids)
    assert coco["categories"] == [{"id": i + 1, "name": name} for i, name in enumerate(spec.classes)]


def test_an_image_without_objects_has_empty_arrays_of_the_right_shape(
    raw: Path, spec: DatasetSpec, tmp_path: Path
) -> None:
    document = read_labels(raw)
    empty = document["images"][1]
    document["annotations"] = [a for a in document["annotations"] if a["image_id"] != empty["id"]]
    write_labels(raw, document)
    build_dataset(raw, spec, tmp_path / "out")
    split = next(s for s in (open_split(tmp_path / "out", n) for n in SPLITS) if empty["file_name"] in s.names)
    i = split.names.index(empty["file_name"])
    assert split.boxes(i).shape == (0, 4)
    assert split.labels(i).shape == (0,)


def test_crowd_regions_are_used_by_evaluation_only(raw: Path, spec: DatasetSpec, tmp_path: Path) -> None:
    document = read_labels(raw)
    for annotation in document["annotations"]:
        annotation["iscrowd"] = int(annotation["category_id"] == 2)
    write_labels(raw, document)
    build_dataset(raw, spec, tmp_path / "out")
    split = open_split(tmp_path / "out", "train")
    assert 1 not in {label for i in range(len(split)) for label in split.labels(i).tolist()}
    assert sum(a["iscrowd"] for a in split.coco()["annotations"]) == len(split)
    assert BOXES.unpacked_counts(split, 0).keys().isdisjoint({1})
    boxes = BOXES.unpacked(split, 0)
    assert [box.crowd for box in boxes] == [box.category == 1 for box in boxes]
    counts = json.loads((tmp_path / "out" / "dataset.json").read_text())["splits"]["train"]["boxes"]
    assert counts[spec.classes[1]] == len(split)


def test_two_builds_have_the_same_bytes_independently_of_the_order_on_disk(
    raw: Path, spec: DatasetSpec, tmp_path: Path
) -> None:
    build_dataset(raw, spec, tmp_path / "one")
    shuffled = tmp_path / "shuffled"
    files = list(tree_bytes(raw).items())
    random.Random(0).shuffle(files)
    for name, content in files:
        (shuffled / name).parent.mkdir(parents=True, exist_ok=True)
        (shuffled / name).write_bytes(content)
    build_dataset(shuffled, spec, tmp_path / "two")
    assert tree_bytes(tmp_path / "one") == tree_bytes(tmp_path / "two")


def test_classes_are_ordered_as_in_the_parameters(raw: Path, spec: DatasetSpec, tmp_path: Path) -> None:
    turned = spec.model_copy(update={"classes": tuple(reversed(spec.classes))})
    build_dataset(raw, spec, tmp_path / "one")
    build_dataset(raw, turned, tmp_path / "two")
    one, two = open_split(tmp_path / "one", "train"), open_split(tmp_path / "two", "train")
    assert two.classes == tuple(reversed(one.classes))
    assert [two.classes[label] for label in two.labels(0)] == [one.classes[label] for label in one.labels(0)]


def test_calibration_images_come_from_every_session_of_train(packed: Path) -> None:
    train, calibration = open_split(packed, "train"), open_calibration(packed)
    assert len(calibration) == 5
    assert set(calibration.names) <= set(train.names)
    assert len(set(calibration.sessions)) == min(5, len(set(train.sessions)))
    i = train.names.index(calibration.names[2])
    assert calibration.encoded(2) == train.encoded(i)
    np.testing.assert_array_equal(calibration.boxes(2), train.boxes(i))


def test_a_pickled_split_does_not_contain_its_images(packed: Path) -> None:
    calibration = open_calibration(packed)
    packet = pickle.dumps(calibration)
    assert len(packet) < 1000
    assert pickle.loads(packet).encoded(0) == calibration.encoded(0)


def test_the_notice_is_copied(raw: Path, packed: Path) -> None:
    assert (packed / "NOTICE").read_bytes() == (raw / "NOTICE").read_bytes()


def test_the_description_counts_images_sessions_and_boxes(raw: Path, spec: DatasetSpec, tmp_path: Path) -> None:
    summary = build_dataset(raw, spec, tmp_path / "out")
    document = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert len(document["source_md5"]) == sum(SESSIONS.values()) == sum(summary.images.values())
    assert {s for split in document["splits"].values() for s in split["sessions"]} == set(SESSIONS)
    assert all(count for split in summary.counts.values() for count in split.values())


def test_sessions_that_share_a_near_duplicate_stay_together(raw: Path, spec: DatasetSpec, tmp_path: Path) -> None:
    # The same frame in three sessions, as in a bag that was cut and in a copy of a bag.
    frame = raw / "images" / "d1" / "r1" / "001.jpg"
    with Image.open(frame) as image:
        image.save(raw / "images" / "d3" / "r1" / "001.jpg", quality=60)
    shutil.copy(frame, raw / "images" / "d5" / "r1" / "001.jpg")
    for seed in range(5):
        seeded = spec.model_copy(update={"split": spec.split.model_copy(update={"seed": seed})})
        summary = build_dataset(raw, seeded, tmp_path / "out")
        assert summary.linked_sessions == (("d1/r1", "d3/r1", "d5/r1"),)
        homes = [name for name in SPLITS if {"d1/r1", "d3/r1", "d5/r1"} & set(summary.sessions[name])]
        assert len(homes) == 1


def test_an_image_without_an_entry_in_the_labels_is_named(raw: Path, spec: DatasetSpec, tmp_path: Path) -> None:
    shutil.copy(raw / "images" / "d1" / "r1" / "001.jpg", raw / "images" / "d1" / "r1" / "stray.jpg")
    message = refused(raw, spec, tmp_path / "out")
    assert "images/d1/r1/stray.jpg: the labels do not list this image" in message


def test_annotations_of_a_category_that_the_parameters_omit_are_refused(
    raw: Path, spec: DatasetSpec, tmp_path: Path
) -> None:
    fewer = spec.model_copy(update={"classes": ("ball", "human")})
    message = refused(raw, fewer, tmp_path / "out")
    assert "has 7 boxes of 'goal post', which classes lacks" in message


def test_a_class_without_a_category_in_the_labels_is_named(raw: Path, spec: DatasetSpec, tmp_path: Path) -> None:
    more = spec.model_copy(update={"classes": (*spec.classes, "referee")})
    assert "has no category 'referee'" in refused(raw, more, tmp_path / "out")


def test_more_calibration_images_than_train_has_is_refused(raw: Path, spec: DatasetSpec, tmp_path: Path) -> None:
    greedy = spec.model_copy(update={"calibration_images": 1000})
    assert "calibration_images is 1000, and train has" in refused(raw, greedy, tmp_path / "out")


def test_a_damaged_image_is_named(raw: Path, spec: DatasetSpec, tmp_path: Path) -> None:
    image = raw / "images" / "d1" / "r1" / "001.jpg"
    image.write_bytes(image.read_bytes()[:-300])
    assert "d1/r1/001.jpg: the image is damaged" in refused(raw, spec, tmp_path / "out")


def test_a_box_outside_its_image_is_named(raw: Path, spec: DatasetSpec, tmp_path: Path) -> None:
    document = read_labels(raw)
    document["annotations"][3]["bbox"] = [60, 40, 10, 10]
    write_labels(raw, document)
    assert "annotations[3].bbox: label outside the image" in refused(raw, spec, tmp_path / "out")


def test_a_folder_that_is_not_raw_data_is_named(spec: DatasetSpec, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"x")
    assert "is not raw data" in refused(tmp_path / "photos", spec, tmp_path / "out")


def test_a_packed_split_with_incomplete_labels_is_refused(packed: Path) -> None:
    write_labels(packed / "train", {})
    with pytest.raises(DataError, match="lacks images, annotations or categories"):
        open_split(packed, "train")


@pytest.mark.parametrize("broken", ["images.bin", "offsets.npy", "annotations.json"])
def test_a_damaged_packed_split_is_refused(packed: Path, broken: str) -> None:
    path = packed / "train" / broken
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="train is not a packed split"):
        open_split(packed, "train")


def test_an_unknown_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no split 'dev'"):
        open_split(tmp_path, "dev")
