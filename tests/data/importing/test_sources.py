"""What people give as a source that is no folder of images and labels: each is named, with the next step."""

import json
from pathlib import Path

import pytest

from robot_assets.core.errors import DataError
from robot_assets.data.importing.importer import READERS
from tests.data.image_sources import encoded_image


def refusal(source: Path | str, format: str = "yolo") -> DataError:
    with pytest.raises(DataError) as error:
        READERS[format](Path(source), None, None)
    return error.value


def folder(root: Path, *names: str) -> Path:
    """A folder of files with any content; JPEGs are real."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded_image(name) if path.suffix == ".jpg" else b"0 0.5 0.5 0.2 0.2\n")
    return root


@pytest.mark.parametrize("format", READERS)
@pytest.mark.parametrize(
    ("name", "found", "fix"),
    [
        ("run.mp4", "is a video", "extract the frames (ffmpeg"),
        ("run 1.bag", "is a ROS bag", "export the images"),
        ("my export.zip", "is an archive", "unzip "),
        ("export.tar.gz", "is an archive", "mkdir "),
        ("export.7z", "is an archive", "extract first"),
        ("a.jpg", "is one image, not a folder", "use its folder: "),
        ("data.yaml", "is a file, not a folder", "use its folder: "),
    ],
)
def test_a_file_is_named_for_what_it_is(tmp_path: Path, format: str, name: str, found: str, fix: str) -> None:
    error = refusal(folder(tmp_path, name) / name, format)
    assert error.found == f"{tmp_path / name} {found}"
    assert error.fix.startswith(fix)


@pytest.mark.parametrize("format", READERS)
@pytest.mark.parametrize(
    ("url", "fix"),
    [
        ("https://universe.roboflow.com/acme/yard/3", "download the export, extract it"),
        ("s3://bucket/yard set", "aws s3 cp --recursive 's3://bucket/yard set' ./download"),
        ("gs://bucket/yard", "gcloud storage cp --recursive gs://bucket/yard ./download"),
    ],
)
def test_a_url_is_shown_as_typed(format: str, url: str, fix: str) -> None:
    error = refusal(url, format)
    assert error.found == f"{url} is a URL"
    assert error.fix.startswith(fix)


def test_a_missing_folder_has_its_near_miss(tmp_path: Path) -> None:
    folder(tmp_path / "robocup_ml", "a.jpg")
    error = refusal(tmp_path / "robocup-ml")
    assert error.found == f"{tmp_path / 'robocup-ml'} does not exist; did you mean 'robocup_ml'?"
    assert refusal(tmp_path / "x" / "y").found.endswith("does not exist")


@pytest.mark.parametrize(
    ("names", "fix"),
    [
        (("a.mp4", "b.AVI"), ".avi, .mp4 files are videos: extract the frames"),
        (("run_0.mcap", "metadata.yaml"), ".mcap files are ROS bags: export the images"),
        (("yard.zip",), ".zip files are archives: extract first"),
        (("labels/a.txt", "labels/b.txt", "classes.txt"), "export the labels with their images"),
        (("notes.md",), "check the path"),
    ],
)
def test_a_folder_without_images_says_what_to_do_with_its_files(
    tmp_path: Path, names: tuple[str, ...], fix: str
) -> None:
    assert refusal(folder(tmp_path / "s", *names)).fix.startswith(fix)


def test_labels_without_images_beside_an_empty_folder_are_one_finding(tmp_path: Path) -> None:
    source = folder(tmp_path / "s", "labels/a.txt", "labels/b.txt", "classes.txt")
    (source / "images").mkdir()
    assert refusal(source).fix.startswith("export the labels with their images")


def test_images_without_labels_are_to_be_labelled(tmp_path: Path) -> None:
    assert refusal(folder(tmp_path / "s", "0.jpg", "1.jpg")).fix.startswith("label the images first")


def coco(root: Path, *names: str) -> Path:
    images = [{"id": i, "file_name": name} for i, name in enumerate(names)]
    root.mkdir(exist_ok=True)
    document = {"images": images, "annotations": [], "categories": [{"id": 1, "name": "ball"}]}
    (root / "result.json").write_text(json.dumps(document))
    return root


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("/data/upload/1/0.jpg", "an absolute path"),
        ("https://x/0.jpg", "a URL"),
        ("C:\\i\\0.jpg", "an absolute Windows"),
    ],
)
def test_coco_labels_exported_without_images_are_one_error(tmp_path: Path, name: str, cause: str) -> None:
    error = refusal(coco(tmp_path / "s", name, name.replace("0", "1")), "coco")
    assert "none of the 2 images that the labels list is there" in error.found
    assert f"file_name is {cause}" in error.found
    assert error.fix.startswith("export the labels with their images")


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("set/images/s1/0.jpg", "images/s1/0.jpg"),
        ("/home/kim/yard/s0/0.jpg", "images/s0/0.jpg"),
        ("s1/0", "images/s1/0.jpg"),
        ("s0/0.png", "images/s0/0.jpg"),
    ],
)
def test_the_image_that_a_coco_entry_may_mean_is_shown(tmp_path: Path, name: str, there: str) -> None:
    source = folder(coco(tmp_path / "s", name), "images/s0/0.jpg", "images/s1/0.jpg")
    error = refusal(source, "coco")
    assert f"{name} (there is {there}) of result.json" in error.found
    assert error.fix.startswith("correct the file names in result.json")


def test_images_at_the_top_are_found_from_coco_labels_in_any_folder(tmp_path: Path) -> None:
    source = folder(coco(tmp_path / "s", "s0/0.jpg"), "images/s0/0.jpg")
    (source / "labels/2026").mkdir(parents=True)
    (source / "result.json").rename(source / "labels/2026/yard.json")
    assert [entry.file_name for entry in READERS["coco"](source, None, None).entries] == ["s0/0.jpg"]
