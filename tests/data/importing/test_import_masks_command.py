"""``robot-assets data import`` of segmentations: the task, its options, and what is printed and written."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from robot_assets.cli.data import app
from robot_assets.cli.usage import CommandLineError
from robot_assets.core.errors import DataError, RobotAssetsError
from tests.data.image_sources import HEIGHT, WIDTH, encoded_image, write_yolo
from tests.data.importing.mask_sources import CLASSES, coloured, mask, png, read_mask, write

PARAMS = "store: {url: .robot_assets/store}\ndatasets: {}\nmodels: {}\ntargets: {}\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    (root / "params.yaml").write_text(PARAMS)
    monkeypatch.chdir(root)
    return root


def masks(root: Path, *, colours: bool = False, names: bool = True) -> Path:
    """Three sessions of three images."""
    files: dict[str, bytes | str] = {"classes.txt": "\n".join(CLASSES)} if names else {}
    for session in "abc":
        for number in range(3):
            pixels = mask(number)
            files[f"images/{session}/{number}.jpg"] = encoded_image(f"{session}{number}")
            files[f"masks/{session}/{number}.png"] = png(coloured(pixels) if colours else pixels)
    return write(root, files)


def polygons(root: Path) -> Path:
    files: dict[str, bytes | str] = {"classes.txt": "road\nkerb\n"}
    for session in "abc":
        for number in range(3):
            files[f"images/{session}/{number}.jpg"] = encoded_image(f"{session}{number}")
            files[f"labels/{session}/{number}.txt"] = "0 0 0.5 1 0.5 1 1 0.1 0.9\n1 0.1 0.6 0.3 0.6 0.3 0.8 0.1 0.8\n"
    return write(root, files)


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*arguments: object) -> RobotAssetsError:
    with pytest.raises(RobotAssetsError) as error:
        run(*arguments)
    return error.value


def pasted(command: str) -> list[str]:
    """Arguments of ``robot-assets data`` in a command line, without its comment."""
    words = shlex.split(command, comments=True)
    assert words[:2] == ["robot-assets", "data"]
    return words[2:]


def test_masks_are_a_segmentation_and_the_first_line_says_why(project: Path) -> None:
    found = run("import", "masks", masks(project.parent / "s"), "--name", "yard")
    assert found.startswith(
        "recognized: folder of images/ and masks/ with the same folders; task segmentation, its labels are masks\n"
    )
    assert re.search(r"^masks +sky 9, road 9, kerb 9 *$", found, re.MULTILINE)
    assert re.search(r"^pixels +sky 37\.5%, road 51\.8%, kerb 6\.5% *\nignored pixels +4\.2% *$", found, re.MULTILINE)


def test_labels_of_boxes_have_no_word_about_a_task(project: Path) -> None:
    found = run("import", "yolo", write_yolo(project.parent / "s", {"a": 2, "b": 2, "c": 2}), "--name", "yard")
    assert found.splitlines()[0] == "recognized: folder with the labels beside their images"


def test_the_printed_command_writes_a_data_set_and_a_segmenter(project: Path) -> None:
    found = run("import", "masks", masks(project.parent / "s"), "--name", "yard")
    [command] = re.findall(r"^  (robot-assets data import .*--write)", found, re.MULTILINE)
    assert "added models.yard_segmenter to params.yaml" in run(*pasted(command))
    document = yaml.safe_load((project / "params.yaml").read_text())
    assert document["datasets"]["yard"]["task"] == "segmentation"
    assert document["datasets"]["yard"]["classes"] == list(CLASSES)
    assert document["models"]["yard_segmenter"]["task"] == "segmentation"
    assert "split of a build:" in run("check", "yard")
    run("build", "yard")


def test_the_task_of_the_data_set_in_params_is_that_of_the_import(project: Path) -> None:
    source = polygons(project.parent / "s")
    run("import", "yolo", source, "--name", "yard", "--task", "segmentation", "--write")
    found = run("import", "yolo", source, "--name", "yard")
    assert "task segmentation, as datasets.yard.task in params.yaml says" in found.splitlines()[0]


def test_another_task_than_that_of_params_is_refused_with_another_name(project: Path) -> None:
    run("import", "yolo", polygons(project.parent / "s"), "--name", "yard", "--task", "segmentation", "--write")
    boxes = write_yolo(project.parent / "boxes", {"a": 2, "b": 2, "c": 2})
    error = refused("import", "yolo", boxes, "--name", "yard", "--task", "detection")
    assert "datasets.yard.task in params.yaml is 'segmentation'" in error.found
    assert "recognized" in run(*pasted(error.fix))


def test_polygons_in_a_data_set_of_boxes_name_the_task_that_reads_them(project: Path) -> None:
    error = refused("import", "yolo", polygons(project.parent / "s"), "--name", "yard")
    assert "a polygon (segmentation) row" in error.found
    assert "or with --task segmentation to import masks" in error.found


def test_the_note_about_what_no_polygon_covers_and_the_background(project: Path) -> None:
    source = polygons(project.parent / "s")
    assert "18 polygons painted; pixels that none covers are ignored (255); --background NAME" in run(
        "import", "yolo", source, "--name", "yard", "--task", "segmentation"
    )
    found = run("import", "yolo", source, "--name", "yard", "--task", "segmentation", "--background", "rest")
    assert "note: --background 'rest' is a class of its own, the last one\n" in found
    assert "pixels that none covers are of the class 'rest'\n" in found


def test_the_fix_of_masks_without_names_runs_when_pasted(project: Path) -> None:
    error = refused("import", "masks", masks(project.parent / "s", names=False), "--name", "yard")
    run(*pasted(error.fix))
    document = json.loads((project / "data/raw/yard/annotations.json").read_text())
    assert [category["name"] for category in document["categories"]] == ["NAME_0", "NAME_1", "NAME_2"]


def test_the_fix_of_coloured_masks_runs_when_pasted(project: Path) -> None:
    error = refused("import", "masks", masks(project.parent / "s", colours=True), "--name", "yard")
    run(*pasted(error.fix))
    assert set(np.unique(read_mask(project / "data/raw/yard", "a/0"))) == {0, 1, 2}


def test_the_proposed_sessions_keep_the_options(project: Path) -> None:
    files: dict[str, bytes | str] = {}
    for day in (1, 2, 3):
        for number in range(3):
            files[f"images/day{day}_{number:03}.jpg"] = encoded_image(f"{day}{number}")
            files[f"masks/day{day}_{number:03}.png"] = png(mask(number))
    source = write(project.parent / "s", files)
    found = run("import", "masks", source, "--name", "yard", "--classes", "sky,road,kerb", "--ignore", "kerb")
    command = re.findall(r"^    (robot-assets data import .*)", found, re.MULTILINE)[0]
    assert "--classes sky,road,kerb --ignore kerb" in command
    assert "split: train" in run(*pasted(command))


def test_json_has_the_task_and_shares_of_pixels(project: Path) -> None:
    facts = json.loads(run("import", "masks", masks(project.parent / "s"), "--name", "yard", "--json"))
    assert (facts["task"], facts["masks"]) == ("segmentation", {"sky": 9, "road": 9, "kerb": 9})
    assert facts["ignored_pixels"] == pytest.approx(2 / HEIGHT, abs=1e-4)
    assert "boxes" not in facts


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (("--task", "segmentaton"), "--task is 'segmentaton'; did you mean 'segmentation'?"),
        (("--task", "detection"), "--task is 'detection', and the labels are masks"),
    ],
)
def test_a_task_that_the_labels_are_not_of_is_refused_with_a_command_that_runs(project: Path, options, found) -> None:
    error = refused("import", "masks", masks(project.parent / "s"), "--name", "yard", *options)
    assert isinstance(error, CommandLineError)
    assert error.found == found
    run(*pasted(error.fix))


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (("--background", "x"), "--background without --task segmentation"),
        (("--ignore", "road", "--background", "x"), "--ignore and --background without --task segmentation"),
        (("--task", "segmentation", "--classes", "a"), "--classes, and YOLO labels name their classes"),
    ],
)
def test_options_of_another_task_are_refused_with_a_command_that_runs(project: Path, options, found: str) -> None:
    error = refused("import", "yolo", polygons(project.parent / "s"), "--name", "yard", *options)
    assert error.found == found
    run(*pasted(error.fix))


def test_a_mask_that_is_all_of_one_class_is_good(project: Path) -> None:
    source = masks(project.parent / "s")
    (source / "masks/a/0.png").write_bytes(png(np.zeros((HEIGHT, WIDTH), np.uint8)))
    assert re.search(r"^masks +sky 9, road 8, kerb 8 *$", run("import", "masks", source, "--name", "yard"), re.M)


def test_raw_data_is_grouped_anew_by_the_command_of_its_check(project: Path) -> None:
    run("import", "masks", masks(project.parent / "s"), "--name", "yard")
    found = run("import", "coco", "data/raw/yard", "--name", "yard", "--sessions", "one-per-image")
    assert found.startswith("recognized: raw data of robot-assets; task segmentation, its labels are masks\n")
    with pytest.raises(DataError, match="overlap"):
        run("import", "masks", "data/raw/yard", "--name", "yard")
