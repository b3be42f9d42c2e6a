"""Each arrangement of images and YOLO labels is recognized before its items are judged."""

import os
import shutil
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from typer.testing import CliRunner

from robot_assets.cli.data import app
from robot_assets.core.errors import DataError
from robot_assets.core.label_issues import BadItem
from robot_assets.data.importing.coco.layouts import LAYOUTS as COCO_LAYOUTS
from robot_assets.data.importing.yolo.layouts import LAYOUTS
from robot_assets.data.importing.yolo.reader import read_yolo
from robot_assets.data.source import Source
from tests.data.image_sources import GOOD_LABEL, encoded_image

NAMES = "ball\nhuman\ngoal post\n"
DATA_YAML = "nc: 3\nnames: ['ball', 'human', 'goal post']\n"
NAMES_BY_ID = "names:\n  0: ball\n  1: human\n  2: goal post\n"
NOTES = '{"categories": [{"id": 0, "name": "ball"}, {"id": 1, "name": "human"}, {"id": 2, "name": "goal post"}]}'
SPLITS = ("train", "valid", "test")

ROBOFLOW = {
    "data.yaml": "train: ../train/images\nval: ../valid/images\n" + DATA_YAML,
    "README.dataset.txt": "# yard\nhttps://universe.roboflow.com/w/yard\n",
    "README.roboflow.txt": "\nyard - v1\n====\n",
    **{f"{split}/images/frame_{i}_jpg.rf.0a{i}.jpg": "" for split in SPLITS for i in range(2)},
    **{f"{split}/labels/frame_{i}_jpg.rf.0a{i}.txt": GOOD_LABEL for split in SPLITS for i in range(2)},
}
ULTRALYTICS = {
    "coco8.yaml": "path: ../datasets/coco8\ntrain: images/train\nval: images/val\n\n" + NAMES_BY_ID,
    "LICENSE": "AGPL",
    "labels/train.cache": "binary",
    **{f"images/{split}/{i}.jpg": "" for split in ("train", "val") for i in range(2)},
    **{f"labels/{split}/{i}.txt": GOOD_LABEL for split in ("train", "val") for i in range(2)},
}
CVAT_ULTRALYTICS = {
    "data.yaml": "path: .\ntrain: Train.txt\nyard: yard.txt\nnames:\n  0: ball\n  1: human\n  2: goal post\n",
    "Train.txt": "data/images/Train/a.PNG\n",
    "yard.txt": "images/yard/a.PNG\n",
    **{f"images/{subset}/a.PNG": "" for subset in ("Train", "yard")},
    **{f"labels/{subset}/a.txt": GOOD_LABEL for subset in ("Train", "yard")},
}
CVAT_YOLO = {
    "obj.names": NAMES,
    "obj.data": "classes = 3\nTrain = data/Train.txt\nnames = data/obj.names\nbackup = backup/\n",
    "Train.txt": "data/obj_Train_data/a.PNG\ndata/obj_Train_data/b.PNG\n",
    "yard_2024.txt": "data/obj_yard_2024_data/a.PNG\n",
    **{f"obj_{subset}_data/{i}.PNG": "" for subset in ("Train", "yard_2024") for i in "ab"},
    **{f"obj_{subset}_data/{i}.txt": GOOD_LABEL for subset in ("Train", "yard_2024") for i in "ab"},
}
LABEL_STUDIO = {
    "classes.txt": NAMES,
    "notes.json": NOTES,
    "images/3f2a-frame.jpg": "",
    "labels/3f2a-frame.txt": GOOD_LABEL,
}
LABELIMG = {"day1/classes.txt": NAMES, "day1/a.jpg": "", "day1/a.txt": GOOD_LABEL}
LABELIMG_FOLDERS = {"labels/classes.txt": NAMES, "images/a.jpg": "", "labels/a.txt": GOOD_LABEL}
LABELIMG_BOTH = {**LABELIMG_FOLDERS, "data.yaml": DATA_YAML}
DARKNET = {
    "data/obj.data": "classes= 3\n",
    "obj.data": "classes= 3\ntrain = data/train.txt\n",
    "obj.names": NAMES,
    "train.txt": "data/obj/a.jpg\n",
    "obj/a.jpg": "",
    "obj/a.txt": GOOD_LABEL,
}
ROBOFLOW_DARKNET = {
    f"{split}/{name}": content
    for split in SPLITS
    for name, content in {"_darknet.labels": NAMES, "a_jpg.rf.1.jpg": "", "a_jpg.rf.1.txt": GOOD_LABEL}.items()
}
DARWIN = {"set/darknet.labels": NAMES, "set/a.png": "", "set/a.txt": GOOD_LABEL}
PLAIN = {"classes.txt": NAMES, "images/a.jpg": "", "labels/a.txt": GOOD_LABEL}
BESIDE = {"obj.names": NAMES, "day1/r2/a.jpg": "", "day1/r2/a.txt": GOOD_LABEL, "day2/b.png": "", "day2/b.txt": ""}
MIRRORED = {
    "data.yaml": DATA_YAML,
    "images/day1/r2/a.jpg": "",
    "labels/day1/r2/a.txt": GOOD_LABEL,
    "images/day2/b.JPG": "",
    "labels/day2/b.txt": GOOD_LABEL,
}
PAIRED = {
    "classes.txt": NAMES,
    "day1/r2/images/a.jpg": "",
    "day1/r2/labels/a.txt": GOOD_LABEL,
    "day2/images/front/a.jpg": "",
    "day2/labels/front/a.txt": GOOD_LABEL,
}


def write(root: Path, files: dict[str, str]) -> Path:
    """Write files; images get real content of their own."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() in (".jpg", ".png"):
            path.write_bytes(encoded_image(name, format="PNG" if path.suffix.lower() == ".png" else "JPEG"))
        else:
            path.write_text(text, "utf-8")
    return root


def boxes_of(source: Source) -> int:
    return sum(len(entry.read_boxes(64, 48)) for entry in source.entries)


def faults_of(source: Source) -> Counter[str]:
    """Faults of a source and of its labels."""
    faults = [issue.found for issue in source.issues]
    for entry in source.entries:
        try:
            entry.read_boxes(64, 48)
        except BadItem as bad:
            faults.append(bad.issue.found)
    return Counter(faults)


@pytest.mark.parametrize(
    ("files", "title", "names", "splits"),
    [
        (ROBOFLOW, "Roboflow export (YOLO)", 6, ("test", "train", "valid")),
        (ULTRALYTICS, "Ultralytics data set", 4, ("train", "val")),
        (CVAT_ULTRALYTICS, "CVAT export (Ultralytics YOLO)", ["Train/a.PNG", "yard/a.PNG"], ("Train",)),
        (CVAT_YOLO, "CVAT export (YOLO 1.1)", 4, ("obj_Train_data",)),
        (LABEL_STUDIO, "Label Studio export (YOLO)", ["3f2a-frame.jpg"], ()),
        (LABELIMG, "labelImg folder", ["day1/a.jpg"], ()),
        (LABELIMG_FOLDERS, "labelImg folder", ["a.jpg"], ()),
        (LABELIMG_BOTH, "labelImg folder", ["a.jpg"], ()),
        (DARKNET, "Darknet data set", ["obj/a.jpg"], ()),
        (ROBOFLOW_DARKNET, "Darknet data set", 3, ("test", "train", "valid")),
        (DARWIN, "Darknet data set", ["set/a.png"], ()),
        (BESIDE, "folder with the labels beside their images", ["day1/r2/a.jpg", "day2/b.png"], ()),
        (PLAIN, "folder of images/ and labels/ with the same folders", ["a.jpg"], ()),
        (MIRRORED, "folder of images/ and labels/ with the same folders", ["day1/r2/a.jpg", "day2/b.JPG"], ()),
        (PAIRED, "folder with images/ and labels/ in each recording", ["day1/r2/a.jpg", "day2/front/a.jpg"], ()),
    ],
    ids=[
        "roboflow", "ultralytics", "cvat_ultralytics", "cvat_yolo", "label_studio", "labelimg", "labelimg_folders",
        "labelimg_both", "darknet", "roboflow_darknet", "darwin", "beside", "plain", "mirrored", "paired",
    ],
)  # fmt: skip
def test_a_layout_is_recognized_and_read_without_a_finding(
    tmp_path: Path, files: dict[str, str], title: str, names: list[str] | int, splits: tuple[str, ...]
) -> None:
    source = read_yolo(write(tmp_path / "s", files))
    found = [entry.file_name for entry in source.entries]
    assert source.layout == title
    assert (found if isinstance(names, list) else len(found)) == names
    assert found == sorted(found)
    assert source.categories == ("ball", "human", "goal post")
    assert (source.issues, source.unlisted, source.notes, source.splits) == ((), (), (), splits)
    assert boxes_of(source) == sum(2 for name, text in files.items() if text == GOOD_LABEL)


def test_images_of_a_roboflow_export_keep_their_split_and_lose_the_folder_images(tmp_path: Path) -> None:
    source = read_yolo(write(tmp_path / "s", ROBOFLOW))
    assert source.entries[0].file_name == "test/frame_0_jpg.rf.0a0.jpg"


def test_folders_of_other_case_are_recognized_as_windows_does(tmp_path: Path) -> None:
    files = {"classes.txt": NAMES, "Images/a.JPG": "", "Labels/a.TXT": GOOD_LABEL}
    source = read_yolo(write(tmp_path / "s", files))
    assert [entry.file_name for entry in source.entries] == ["a.JPG"]
    assert boxes_of(source) == 2


def test_labels_whose_names_differ_in_case_match_when_that_is_unambiguous(tmp_path: Path) -> None:
    files = {"classes.txt": NAMES, "images/IMG_1.JPG": "", "labels/img_1.txt": GOOD_LABEL}
    source = read_yolo(write(tmp_path / "one", files))
    assert (faults_of(source), boxes_of(source)) == ({}, 2)
    source = read_yolo(write(tmp_path / "two", {**files, "labels/Img_1.txt": GOOD_LABEL}))
    assert faults_of(source) == {"missing label file": 1, "a label without its image": 2}
    source = read_yolo(write(tmp_path / "own", {**files, "images/img_1.jpg": ""}))
    assert faults_of(source) == {"missing label file": 1}


@pytest.mark.parametrize("files", [ROBOFLOW, ULTRALYTICS, CVAT_ULTRALYTICS, CVAT_YOLO, ROBOFLOW_DARKNET])
def test_the_folder_around_an_export_is_refused_with_the_command_that_reads_the_export(
    tmp_path: Path, files: dict[str, str]
) -> None:
    root = write(tmp_path / "s", {f"download/yard v1/{name}": text for name, text in files.items()})
    error = unknown(root)
    assert f"has nothing but the folder {root}/download/yard v1, a " in error.found
    assert error.fix == f"robot-assets data import yolo '{root}/download/yard v1' --name NAME"
    assert read_yolo(root / "download" / "yard v1").issues == ()


def test_recordings_of_one_day_are_read_from_the_folder_above(tmp_path: Path) -> None:
    root = write(tmp_path / "s", {f"day1/{name}": text for name, text in {**BESIDE, "classes.txt": NAMES}.items()})
    assert [entry.file_name for entry in read_yolo(root).entries] == ["day1/day1/r2/a.jpg", "day1/day2/b.png"]


def test_leftovers_of_operating_systems_and_tools_are_neither_labels_nor_findings(tmp_path: Path) -> None:
    root = write(
        tmp_path / "s",
        {
            **BESIDE,
            ".DS_Store": "x",
            "day1/._a.jpg": "x",
            "__MACOSX/day1/._a.txt": "x",
            "__MACOSX/day1/a.txt": GOOD_LABEL,
            "day1/Thumbs.db": "x",
            "day1/r2/desktop.ini": "x",
            "day1/r2/labels.cache": "x",
            "README.roboflow.txt": "text",
            "LICENSE.txt": "text",
            "day1/README.txt": "0 is a number, and this is a read-me file",
            "lists/Validation.txt": "../day1/r2/a.jpg\n",
        },
    )
    (root / "__MACOSX" / "day9").mkdir()
    source = read_yolo(root)
    assert (source.issues, source.notes, len(source.entries)) == ((), (), 2)


def test_other_files_are_noted_once(tmp_path: Path) -> None:
    others = {"day1/protocol.txt": "Sunny, wet grass", "todo.txt": "label day3", "a.xml": "x", "day1/b": GOOD_LABEL}
    root = write(tmp_path / "s", {**BESIDE, **others, "README.md": "x", "yolo.cfg": "x", "CITATION.cff": "x"})
    source = read_yolo(root)
    assert source.notes == ("4 other files not read: a.xml, day1/b, day1/protocol.txt and 1 more",)
    assert source.issues == ()


def test_a_label_without_its_image_is_an_issue_in_each_kind_of_layout(tmp_path: Path) -> None:
    for number, files in enumerate((ROBOFLOW, CVAT_YOLO, MIRRORED, BESIDE)):
        root = write(tmp_path / str(number), files)
        label = next(path for path in sorted(root.rglob("*.txt")) if path.read_text() == GOOD_LABEL)
        shutil.copy(label, label.with_name("orphan.txt"))
        assert faults_of(read_yolo(root)) == {"a label without its image": 1}


def test_rows_of_labels_are_labels_whatever_the_name_of_their_file(tmp_path: Path) -> None:
    names = ("LICENSE.txt", "notice_board.txt", "README.txt", "train.txt", "day1/test.txt")
    root = write(tmp_path / "s", {**BESIDE, **dict.fromkeys(names, GOOD_LABEL)})
    assert faults_of(read_yolo(root)) == {"a label without its image": len(names)}


MISPLACED = {
    "labels of val in labels/train/": (
        {f"images/val/v{i}.jpg": "" for i in range(3)} | {f"labels/train/v{i}.txt": GOOD_LABEL for i in range(3)},
        Counter({"a label in labels/train/, needed in labels/val/": 3}),
    ),
    "labels of all folders in labels/": (
        {f"images/r{i}/f{i}.jpg": "" for i in range(3)} | {f"labels/f{i}.txt": GOOD_LABEL for i in range(3)},
        Counter({f"a label in labels/, needed in labels/r{i}/": 1 for i in range(3)}),
    ),
    "labels with the suffix of the image": (
        {"images/b.jpg": "", "labels/b.jpg.txt": GOOD_LABEL},
        Counter({"a label named as its image with the suffix of the image": 1}),
    ),
}


@pytest.mark.parametrize(("files", "faults"), MISPLACED.values(), ids=MISPLACED)
def test_a_label_in_another_place_than_its_image_needs_is_one_finding(
    tmp_path: Path, files: dict[str, str], faults: Counter[str]
) -> None:
    found = read_yolo(write(tmp_path, {"classes.txt": NAMES, "images/a.jpg": "", "labels/a.txt": "", **files}))
    assert Counter(issue.found for issue in found.issues) == faults
    assert boxes_of(found) == 0
    assert all(files[issue.place] == GOOD_LABEL for issue in found.issues)


def test_labels_of_one_name_in_several_folders_are_not_assigned_to_an_image(tmp_path: Path) -> None:
    strays = {f"labels/{folder}/a.txt": GOOD_LABEL for folder in ("r1", "r2")}
    found = read_yolo(write(tmp_path, {"classes.txt": NAMES, "images/r3/a.jpg": "", "images/b.jpg": "", **strays}))
    assert [issue.found for issue in found.issues] == ["a label without its image"] * 2
    assert faults_of(found)["missing label file"] == 2


def test_two_labels_of_one_image_are_named(tmp_path: Path) -> None:
    root = write(tmp_path / "s", {**PLAIN, "images/a.txt": "1 0.5 0.5 0.1 0.1\n"})
    assert faults_of(read_yolo(root)) == {"a second label of the image beside it, which has one in labels/": 1}


def test_a_missing_label_is_an_issue_in_each_kind_of_layout(tmp_path: Path) -> None:
    for number, files in enumerate((ROBOFLOW, CVAT_YOLO, MIRRORED, BESIDE)):
        root = write(tmp_path / str(number), files)
        next(path for path in sorted(root.rglob("*.txt")) if path.read_text() == GOOD_LABEL).unlink()
        assert faults_of(read_yolo(root)) == {"missing label file": 1}


def test_an_empty_split_is_no_issue_and_an_empty_recording_is(tmp_path: Path) -> None:
    root = write(tmp_path / "s", ULTRALYTICS)
    for folder in ("images/test", "labels/test"):
        (root / folder).mkdir()
    assert faults_of(read_yolo(root)) == {}
    root = write(tmp_path / "t", MIRRORED)
    (root / "images/day3").mkdir()
    assert [issue.place for issue in read_yolo(root).issues] == ["images/day3"]


def test_a_split_without_a_folder_of_labels_is_not_dropped(tmp_path: Path) -> None:
    root = write(tmp_path / "s", ROBOFLOW)
    shutil.rmtree(root / "test" / "labels")
    assert faults_of(read_yolo(root)) == {"missing label file": 2}


def test_an_image_outside_the_folder_of_images_is_listed_and_with_a_label_an_issue(tmp_path: Path) -> None:
    root = write(tmp_path / "s", {**MIRRORED, "preview.jpg": "", "day3/a.jpg": "", "day3/a.txt": GOOD_LABEL})
    source = read_yolo(root)
    assert [issue.place for issue in source.unlisted] == ["preview.jpg"]
    assert [issue.place for issue in source.issues] == ["day3/a.jpg"]
    assert "its label is beside it" in source.issues[0].found


def test_images_that_would_become_one_file_are_both_issues(tmp_path: Path) -> None:
    files = {
        "classes.txt": NAMES,
        **{f"{name}/a.jpg": "" for name in ("day/images", "images/day")},
        **{f"{name}/a.txt": GOOD_LABEL for name in ("day/labels", "labels/day")},
    }
    source = read_yolo(write(tmp_path / "s", files))
    assert [issue.place for issue in source.issues] == ["day/images/a.jpg", "images/day/a.jpg"]
    assert source.entries == ()


def test_the_label_of_an_image_that_is_not_imported_is_no_orphan(tmp_path: Path) -> None:
    for number, (folder, labels) in enumerate((("day1", "day1"), ("images", "labels"))):
        root = write(
            tmp_path / str(number), {"classes.txt": NAMES, f"{folder}/a.jpg": "", f"{labels}/a.txt": GOOD_LABEL}
        )
        write(root, {f"{folder}/b.heic": "x", f"{labels}/b.txt": GOOD_LABEL, f"{labels}/c.txt": GOOD_LABEL})
        (root / folder / "c.jpg").symlink_to(root / folder / "a.jpg")
        source = read_yolo(root)
        assert sorted(issue.place for issue in source.issues) == [f"{folder}/b.heic", f"{folder}/c.jpg"]


def test_the_image_of_a_symlinked_label_is_named_once(tmp_path: Path) -> None:
    root = write(tmp_path / "s", {**BESIDE, "day1/r2/c.jpg": ""})
    (root / "day1/r2/c.txt").symlink_to(root / "day1/r2/a.txt")
    source = read_yolo(root)
    assert faults_of(source) == {"a symlink": 1}
    assert [entry.file_name for entry in source.entries] == ["day1/r2/a.jpg", "day2/b.png"]


NFC, NFD = "\ub85c\ubd07", "\u1105\u1169\u1107\u1169\u11ba"


@pytest.mark.parametrize(
    ("image", "label"),
    [
        (f"day1/{NFD}.jpg", f"day1/{NFC}.txt"),
        (f"day1/{NFC}.jpg", f"day1/{NFD}.txt"),
        (f"images/{NFD}/a.jpg", f"labels/{NFC}/a.txt"),
        (f"{NFD}/images/a.jpg", f"{NFC}/labels/a.txt"),
    ],
)
def test_names_in_two_unicode_forms_match(tmp_path: Path, image: str, label: str) -> None:
    root = write(tmp_path / "s", {"obj.names": NAMES, image: "", label: GOOD_LABEL})
    folder = "images" if "images/" in image else "day1"
    labels = "labels" if "images/" in image else "day1"
    if not image.startswith(NFD):
        write(root, {f"{folder}/plain.jpg": "", f"{labels}/plain.txt": ""})
    source = read_yolo(root)
    assert faults_of(source) == {}
    assert boxes_of(source) == 2


def test_files_that_differ_in_their_unicode_form_only_are_named_so(tmp_path: Path) -> None:
    two_images = {f"d/{name}": text for form in (NFC, NFD) for name, text in ((f"{form}.jpg", ""), (f"{form}.txt", ""))}
    source = read_yolo(write(tmp_path / "images", {"obj.names": NAMES, **two_images}))
    assert faults_of(source) == {"another image has the same name in another Unicode form": 2}
    two_labels = {f"d/{NFC}.jpg": "", f"d/{NFC}.txt": GOOD_LABEL, f"d/{NFD}.txt": GOOD_LABEL}
    source = read_yolo(write(tmp_path / "labels", {"obj.names": NAMES, **two_labels}))
    assert faults_of(source) == {f"the same name as d/{NFC}.txt in another Unicode form": 1}


def unknown(root: Path, **options: str) -> DataError:
    with pytest.raises(DataError) as error:
        read_yolo(root, **options)
    return error.value


def test_an_unknown_layout_is_one_finding_with_what_is_there_and_what_was_looked_for(tmp_path: Path) -> None:
    files = {f"JPEGImages/{i}.jpg": "" for i in range(5)} | {f"annots/{i}.txt": GOOD_LABEL for i in range(5)}
    error = unknown(write(tmp_path / "s", {"classes.txt": NAMES, **files}))
    assert "has no known layout of YOLO labels; it has" in error.found
    for line in ("JPEGImages/  5 .jpg", "annots/  5 .txt", "./  classes.txt"):
        assert line in error.found
    assert "roboflow          SPLIT/images/ and SPLIT/labels/ with data.yaml" in error.needed
    assert len(str(error).splitlines()) < 20


@pytest.mark.parametrize("name", ["train/_annotations.coco.json", "annotations/instances_train.json", "x.json"])
def test_a_source_with_coco_labels_is_refused_with_the_command_that_reads_it(tmp_path: Path, name: str) -> None:
    document = '{"images": [], "annotations": [], "categories": []}'
    root = write(tmp_path / "my export", {"train/a.jpg": "", name: document})
    assert unknown(root).fix.startswith(f"robot-assets data import coco '{root}' --name NAME   # recognized: ")


def test_the_command_line_fills_in_the_name_of_the_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "params.yaml").write_text("store: {url: store}\ndatasets: {}\nmodels: {}\ntargets: {}\n")
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "s", {"train/a.jpg": "", "train/_annotations.coco.json": "{}"})
    outcome = CliRunner().invoke(app, ["import", "yolo", "s", "--name", "yard"])
    assert isinstance(outcome.exception, DataError)
    assert "robot-assets data import coco s --name yard   # recognized" in str(outcome.exception)


def test_symlinked_folders_are_shown_in_the_finding_about_a_layout(tmp_path: Path) -> None:
    root = write(tmp_path / "s", {"classes.txt": NAMES, "images/a.jpg": ""})
    (root / "labels").symlink_to(write(tmp_path / "labels", {"a.txt": GOOD_LABEL}))
    assert "labels  a symlink" in unknown(root).found


def test_names_in_the_finding_about_a_layout_are_escaped(tmp_path: Path) -> None:
    root = write(tmp_path / "s", {"a.jpg": "", "x\x1b[31m\u202e/a.txt": "", "[red]/b.jpg": ""})
    text = str(unknown(root))
    assert text.replace("\n", "").isprintable()
    assert "\\x1b[31m\\u202e" in text


def test_images_without_any_label_are_one_finding(tmp_path: Path) -> None:
    error = unknown(write(tmp_path / "s", {"classes.txt": NAMES, **{f"{i}.jpg": "" for i in range(9)}}))
    assert "9 .jpg" in error.found


def test_labels_of_other_formats_are_named(tmp_path: Path) -> None:
    root = write(tmp_path / "s", {"JPEGImages/a.jpg": "", "Annotations/a.xml": "<annotation/>", "classes.txt": NAMES})
    assert ".xml files are XML labels (Pascal VOC or CVAT): export YOLO or COCO instead" in unknown(root).fix
    root = write(tmp_path / "t", {"a.jpg": "", "a.json": '{"shapes": []}', "classes.txt": NAMES})
    assert ".json files are JSON that is not COCO (LabelMe, VIA or others)" in unknown(root).fix


@pytest.mark.parametrize("count", [1, 3])
def test_labels_without_any_image_are_one_finding(tmp_path: Path, count: int) -> None:
    root = write(tmp_path / "s", {"obj.names": NAMES, **{f"obj_train_data/{i}.txt": GOOD_LABEL for i in range(count)}})
    assert "has no image" in unknown(root).found


def test_an_archive_and_a_file_instead_of_the_folder_are_named(tmp_path: Path) -> None:
    root = write(tmp_path / "my export", ROBOFLOW)
    archive = Path(shutil.make_archive(str(tmp_path / "my export"), "zip", root))
    assert unknown(archive).fix.startswith(f"unzip '{archive}' -d '{root}'")
    assert f"use its folder: '{root}'" in unknown(root / "data.yaml").fix


def test_a_forced_layout_is_used_or_refused(tmp_path: Path) -> None:
    root = write(tmp_path / "s", LABEL_STUDIO)
    assert read_yolo(root, "mirrored").layout == "folder of images/ and labels/ with the same folders"
    error = unknown(root, layout="roboflow")
    assert "is not arranged as --layout roboflow; it has" in error.found
    assert "SPLIT/images/ and SPLIT/labels/" in error.needed
    assert "labelimg " not in error.needed


@pytest.mark.parametrize(
    ("layout", "found", "fix"),
    [
        ("roboflo", "layout 'roboflo' is unknown; did you mean 'roboflow'?", "--layout roboflow"),
        ("Ultralytics", "layout 'Ultralytics' is unknown", "--layout ultralytics"),
        ("cvat", "layout 'cvat' is unknown; did you mean 'cvat-yolo'?", "--layout cvat-yolo"),
        ("fiftyone", "layout 'fiftyone' is one of COCO labels", "robot-assets data import coco "),
        ("pascal", "layout 'pascal' is unknown", "--name NAME   # the layout is recognized"),
        ("\x1b[1m", "layout '\\x1b[1m' is unknown", "--name NAME   # the layout is recognized"),
    ],
)
def test_an_unknown_layout_is_named_with_the_known_ones(tmp_path: Path, layout: str, found: str, fix: str) -> None:
    error = unknown(write(tmp_path / "s", LABEL_STUDIO), layout=layout)
    assert found in error.found
    assert fix in error.fix
    assert "roboflow, label-studio, cvat-yolo" in error.needed


def test_an_unknown_way_to_read_polygons_is_named(tmp_path: Path) -> None:
    error = unknown(write(tmp_path / "s", LABEL_STUDIO), polygons="box")
    assert "polygons 'box' is unknown; did you mean 'boxes'?" in error.found


def test_unusable_names_are_described(tmp_path: Path) -> None:
    root = write(tmp_path / "s", BESIDE)
    names = ("\x1b[31mred.jpg", "zero\u200bwidth.jpg", "right\u202eto.jpg", "Screenshot\u202f1.jpg", "a\nb.jpg")
    for name in names:
        (root / "day1" / name).write_bytes(b"")
    (Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9.jpg"))).write_bytes(b"")
    source = read_yolo(root)
    assert {issue.found for issue in source.issues} == {
        "a name with control characters (U+001B)",
        "a name with control characters (U+000A)",
        "a name with invisible characters (U+200B ZERO WIDTH SPACE)",
        "a name with invisible characters (U+202E RIGHT-TO-LEFT OVERRIDE)",
        "a name with an unusual kind of space (U+202F NARROW NO-BREAK SPACE)",
        "a name that is not UTF-8",
    }
    assert all(str(issue).isprintable() for issue in source.issues)


def test_a_source_without_class_names_shows_the_ids_of_its_labels(tmp_path: Path) -> None:
    files = {f"{i}.jpg": "" for i in range(3)} | {"0.txt": "0 .5 .5 .1 .1\n", "1.txt": "79 .5 .5 .1 .1\n", "2.txt": ""}
    error = unknown(write(tmp_path / "s", files))
    assert "its labels use the class ids 0, 79 (79 is the last of the 80 classes of COCO)" in error.found


EXPORTS = (
    ROBOFLOW,
    ULTRALYTICS,
    CVAT_ULTRALYTICS,
    CVAT_YOLO,
    LABEL_STUDIO,
    LABELIMG,
    DARKNET,
    BESIDE,
    MIRRORED,
    PAIRED,
)
PARTS = ("images", "labels", "x", "train.txt", "README.txt", "test")


def disarranged(files: dict[str, str], random: Random) -> dict[str, str]:
    """The same files, of which some are missing, renamed, moved or copied; each label has a box of its own."""
    files = dict(files)
    for _ in range(random.randint(1, 4)):
        name = random.choice(sorted(files))
        parts = name.split("/")
        parts[random.randrange(len(parts))] = random.choice(PARTS)
        files[random.choice([name.upper(), f"{name}x", f"copy/{name}", "/".join(parts)])] = files[name]
        if random.random() < 0.7:
            del files[name]
    files = {name: text for name, text in files.items() if not any(one.startswith(f"{name}/") for one in files)}
    labels = [name for name, text in files.items() if text == GOOD_LABEL]
    return files | {name: f"0 0.5 0.5 {0.1 + index / 100:.2f} 0.5\n" for index, name in enumerate(labels)}


def key_of(name: str) -> str:
    """What an image and its label have in common."""
    return "/".join(part for part in name.lower().split("/") if part not in ("images", "labels")).rpartition(".")[0]


@pytest.mark.parametrize("seed", range(80))
def test_no_label_of_a_disarranged_export_is_lost_without_a_word(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    files = disarranged(random.choice(EXPORTS), random)
    try:
        source = read_yolo(write(tmp_path / "s", files))
    except DataError:
        return
    widths, named = set(), {issue.place for issue in (*source.issues, *source.unlisted)}
    for entry in source.entries:
        try:
            widths |= {f"{box.width / 64:.2f}" for box in entry.read_boxes(64, 48)}
        except BadItem as bad:
            named.add(bad.issue.place)
    keys = {key_of(place) for place in named}
    for name, text in files.items():
        if text.startswith("0 0.5 0.5 ") and text.split()[3] not in widths:
            assert key_of(name) in keys or name in named or name in " ".join(source.notes), name


def test_the_documentation_has_every_layout() -> None:
    text = (Path(__file__).parents[3] / "docs" / "layouts.md").read_text("utf-8")
    yolo, _, coco = text.partition("## COCO")
    for layout in LAYOUTS:
        assert f"| `{layout.name}` | {layout.title} | " in yolo
        assert f"| {layout.looked_for} |" in yolo.replace("`", "")
    for layout in COCO_LAYOUTS:
        assert f"| `{layout.name}` | " in coco
