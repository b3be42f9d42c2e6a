"""Labels that read as valid in another meaning are refused and named: none of them is imported as it stands."""

from pathlib import Path

import pytest

from robot_assets.core.errors import DataError
from robot_assets.core.label_issues import BadItem
from robot_assets.data.importing.importer import import_dataset
from robot_assets.data.importing.yolo.reader import read_yolo
from robot_assets.data.importing.yolo.rows import RowRules, read_rows
from robot_assets.tasks.detection.boxes import Box
from tests.data.image_sources import read_labels, write_coco, write_labels, write_yolo

BOXES_OF_POLYGONS = RowRules(("ball", "human"), enclosing=True)


def fault_of_row(row: str, rules: RowRules = BOXES_OF_POLYGONS) -> str:
    with pytest.raises(BadItem) as error:
        read_rows(row.encode(), "a.txt", rules, 64, 48)
    return str(error.value.issue)


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ("0 0.5 0.5 0.2 0.2 0.87 1", "a confidence and a track id"),
        ("0 0.5 0.5 0.2 0.2 0.87 31", "a confidence and a track id"),
        ("0 0.5 0.5 0.2 0.2 0.4 0.4 1", "write kpt_shape: [1, 3] into data.yaml"),
        ("0 0.5 0.5 0.2 0.2 0.4 0.4 1 0.6 0.6 0", "write kpt_shape: [2, 3] into data.yaml"),
        ("0 0.5 0.5 0.2 0.2 0.4 0.4 2.000000 0.6 0.6 0.000000", "a box with key points (pose estimation)"),
        ("Car 0.00 0 -1.57 5.0 5.0 30.0 25.0 1.6 1.6 3.9 1.84 1.47 8.41 0.01", "a row of KITTI labels"),
        ("10.0 5.0 30.0 5.0 30.0 25.0 10.0 25.0 drone 0", "a row of DOTA labels"),
        ("imagesource:GoogleEarth", "a row of DOTA labels"),
    ],
)
@pytest.mark.parametrize("enclosing", [True, False])
def test_rows_of_other_formats_are_named_and_no_box(row: str, found: str, enclosing: bool) -> None:
    assert found in fault_of_row(row, RowRules(("ball", "Car"), enclosing=enclosing))


@pytest.mark.parametrize(("row", "fix"), [("2", "correct it (ids start at 0), or"), ("7", "correct it, or")])
def test_class_ids_that_may_start_at_1_have_a_hint(row: str, fix: str) -> None:
    assert fix in fault_of_row(f"{row} 0.5 0.5 0.2 0.2")


@pytest.mark.parametrize(
    "row", ["0 0.1 0.1 0.5 0.1 0.5 0.5", "0 0.1 0.1 0.5 0.1 0.5 0", "0 0 0 1 0 1 1 0.000000 1.000000 0.500000 0.400000"]
)
def test_polygons_at_an_edge_stay_polygons(row: str) -> None:
    (box,) = read_rows(row.encode(), "a.txt", BOXES_OF_POLYGONS, 64, 48)
    assert isinstance(box, Box)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("0 ball\n1 human\n", "numbers in front of the names, such as '0 ball'"),
        ("1: ball\n2: human\n", "numbers in front of the names, such as '1: ball'"),
        ("1 human\n0 ball\n", "numbers in front of the names, such as '1 human'"),
        ("ball,human\n", "all names in one line, 'ball,human'"),
        ("['ball', 'human']\n", "all names in one line"),
    ],
)
def test_class_names_in_another_form_are_refused(tmp_path: Path, text: str, found: str) -> None:
    source = write_yolo(tmp_path / "source", {"day1": 1}, label="0 0.5 0.5 0.25 0.25\n")
    (source / "obj.names").unlink()
    (source / "classes.txt").write_text(text)
    with pytest.raises(DataError) as error:
        read_yolo(source)
    assert found in error.value.found


@pytest.mark.parametrize("text", ["7 up\nball\n", "2 seater\n4 seater\n", "ball\n", "3d box\n1st human\n"])
def test_class_names_with_a_number_of_their_own_are_read(tmp_path: Path, text: str) -> None:
    source = write_yolo(tmp_path / "source", {"day1": 1}, label="0 0.5 0.5 0.25 0.25\n")
    (source / "obj.names").unlink()
    (source / "classes.txt").write_text(text)
    assert read_yolo(source).categories == tuple(text.splitlines())


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    return write_coco(tmp_path / "source", {"day1": 3, "day2": 2})


@pytest.mark.parametrize("bbox", [[0.1, 0.1, 0.6, 0.7], [0, 0, 1, 1], [0.9, 0.9, 0.9, 0.9]])
def test_a_coco_box_in_fractions_is_refused_also_when_it_is_half_a_pixel(
    coco: Path, tmp_path: Path, bbox: list[float]
) -> None:
    document = read_labels(coco)
    document["annotations"][0]["bbox"] = bbox
    write_labels(coco, document)
    summary = import_dataset("coco", coco, tmp_path / "raw", quarantine=True)
    assert summary.images == 4
    assert "fractions of the image size, and COCO has pixels?" in summary.quarantined[0].found


def test_coco_boxes_that_are_corners_by_their_areas_are_refused_as_a_whole(coco: Path, tmp_path: Path) -> None:
    document = read_labels(coco)
    for row in document["annotations"]:
        row |= {"bbox": [5, 5, 20, 20], "area": 225.0}
    write_labels(coco, document)
    with pytest.raises(DataError) as error:
        import_dataset("coco", coco, tmp_path / "raw", quarantine=True)
    assert "the boxes are corners [x1, y1, x2, y2]: the area 225 of annotation 1" in error.value.found
    assert not (tmp_path / "raw").exists()


@pytest.mark.parametrize("area", [400.0, 100.0, 0, None, "225"])
def test_other_areas_are_no_sign_of_corners(coco: Path, tmp_path: Path, area: object) -> None:
    document = read_labels(coco)
    for index, row in enumerate(document["annotations"]):
        row |= {"bbox": [5, 5 + index, 20, 20], "area": area}
    write_labels(coco, document)
    assert import_dataset("coco", coco, tmp_path / "raw").images == 5


def test_annotations_with_ignore_are_crowd_regions_and_noted(coco: Path, tmp_path: Path) -> None:
    document = read_labels(coco)
    document["annotations"][0]["ignore"] = 1
    document["annotations"][1]["ignore"] = 0
    write_labels(coco, document)
    summary = import_dataset("coco", coco, tmp_path / "raw")
    assert [row["iscrowd"] for row in read_labels(tmp_path / "raw")["annotations"]].count(1) == 1
    note = "annotations.json: 1 annotation with ignore: 1 imported as crowd regions, which training and evaluation"
    assert any(note in one for one in summary.notes)


@pytest.mark.parametrize(
    ("content", "found", "fix"),
    [
        ("\ufeff\n<!DOCTYPE html><html>sign in</html>", "is a web page or XML, not JSON", "download the labels again"),
        ("version https://git-lfs.github.com/spec/v1\n", "is malformed: it is a Git LFS pointer", "git -C "),
        ('{"images": [', "is malformed: ", "export it again"),
    ],
)
def test_what_has_the_name_of_coco_labels_and_is_something_else_is_named(
    coco: Path, tmp_path: Path, content: str, found: str, fix: str
) -> None:
    (coco / "annotations.json").write_text(content, "utf-8")
    with pytest.raises(DataError) as error:
        import_dataset("coco", coco, tmp_path / "raw")
    assert f"annotations.json {found}" in error.value.found
    assert error.value.fix.startswith(fix)
