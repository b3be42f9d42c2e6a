"""The commands of ``robot-assets data``."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from robot_assets.cli.data import app
from robot_assets.cli.usage import CommandLineError
from robot_assets.core.errors import DataError, ParamsError, RobotAssetsError
from robot_assets.store import open_store, read_pointer
from tests.data.conftest import SESSIONS
from tests.data.image_sources import CLASSES, encoded_image, read_labels, tree_bytes, write_coco, write_yolo
from tests.data.mask_sources import GROUND, grey_png, write_masks

PARAMS = {
    "store": {"url": ".robot_assets/store"},
    "datasets": {
        "field": {
            "source": {"kind": "dvc", "pointer": "data/raw/field.dvc"},
            "classes": list(CLASSES),
            "split": {"train": 0.6, "val": 0.2, "test": 0.2},
            "calibration_images": 5,
        },
        "street": {
            "source": {
                "kind": "simulation",
                "images": 9,
                "sessions": 9,
                "width": 64,
                "height": 64,
                "seed": 0,
            },
            "classes": ["car"],
            "split": {"train": 0.6, "val": 0.2, "test": 0.2},
        },
    },
    "models": {},
    "targets": {},
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    (root / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_yolo(tmp_path / "source", SESSIONS)


def run(*arguments: object, code: int = 0) -> str:
    """Standard output of the command."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.stdout


def refusal(kind: type[RobotAssetsError], *arguments: object) -> RobotAssetsError:
    with pytest.raises(kind) as error:
        run(*arguments)
    return error.value


@pytest.mark.parametrize("command", ["simulate", "import", "build", "check"])
def test_every_command_has_help_with_an_example(command: str) -> None:
    assert "Example: robot-assets data" in run(command, "--help")


def test_import_stores_the_images_and_writes_the_pointer(project: Path, source: Path) -> None:
    answer = json.loads(run("import", "yolo", source, "--name", "field", "--json"))
    assert (answer["images"], answer["sessions"], answer["quarantined"]) == (30, 7, [])
    pointer = read_pointer(project / "data" / "raw" / "field.dvc")
    assert pointer.digest == answer["version"]
    stored = open_store(PARAMS["store"]["url"], project).open(pointer.digest)
    assert tree_bytes(stored) == tree_bytes(project / "data" / "raw" / "field")


def test_import_build_and_check_in_sequence(project: Path, source: Path) -> None:
    found = run("import", "yolo", source, "--name", "field")
    assert "  git add data/raw/field.dvc params.yaml\n" in found
    assert "split: train " in found
    found = run("check", "field")
    assert "30 good images in 7 sessions, 0 bad items" in found
    assert "split of a build:" in found
    assert "5 calibration images" in run("build", "field")
    found = run("check", "field")
    assert [line for line in found.splitlines() if "passed" in line] == [
        "no_leakage: passed",
        "classes_in_every_split: passed",
        "boxes_sane: passed",
    ]


def test_building_from_the_stored_raw_data_gives_the_same_bytes(project: Path, source: Path) -> None:
    from robot_assets.data.dataset import build_dataset
    from robot_assets.pipeline.project import Project

    run("import", "yolo", source, "--name", "field")
    run("build", "field")
    opened = Project(project)
    stored = opened.store.open(read_pointer(project / "data" / "raw" / "field.dvc").digest)
    build_dataset(stored, opened.params.datasets["field"], project / "again")
    assert tree_bytes(project / "again") == tree_bytes(project / "data" / "datasets" / "field")


def test_import_coco_from_its_file(project: Path, tmp_path: Path) -> None:
    source = write_coco(tmp_path / "coco", {"a": 2})
    assert json.loads(run("import", "coco", source / "annotations.json", "--name", "x", "--json"))["images"] == 2


def test_quarantined_items_are_listed(project: Path, source: Path) -> None:
    (source / "d1/r1/003.txt").write_text("0 nan 0.5 0.1 0.1\n")
    assert "--quarantine" in refusal(DataError, "import", "yolo", source, "--name", "field").fix
    assert [path.name for path in (project / "data" / "raw").iterdir()] == ["field.quarantine.json"]
    found = run("import", "yolo", source, "--name", "field", "--quarantine")
    assert "d1/r1/003.txt:1" in found
    assert "field.quarantine.json" in found


def test_check_lists_bad_items_and_exits_with_1(project: Path, source: Path) -> None:
    run("import", "yolo", source, "--name", "field")
    run("build", "field")
    raw = project / "data" / "raw" / "field"
    (raw / "images/d1/r1/003.jpg").write_bytes(b"")
    assert "d1/r1/003.jpg" in run("check", raw, code=1)
    answer = json.loads(run("check", "field", "--json", code=1))
    assert answer["passed"] is False
    assert answer["raw"]["findings"][0]["found"] == "the image has zero bytes"
    assert answer["packed"] == {}
    assert answer["packed_not_judged"] == "was packed from other raw data (1 image removed)"


def flat(source: Path, names: list[str]) -> Path:
    """A YOLO source of one folder."""
    source.mkdir()
    (source / "obj.names").write_text("\n".join(CLASSES) + "\n")
    for name in names:
        (source / f"{name}.jpg").write_bytes(encoded_image(name))
        (source / f"{name}.txt").write_text("0 0.5 0.5 0.25 0.25\n1 0.2 0.5 0.2 0.3\n2 0.75 0.5 0.1 0.4\n")
    return source


def pasted(line: str) -> list[str]:
    """The arguments of a printed command line, after ``robot-assets data``."""
    words = shlex.split(line, comments=True)
    assert words[:2] == ["robot-assets", "data"]
    return words[2:]


def proposed(output: str) -> list[tuple[list[str], int]]:
    """The proposed command lines, and the number of sessions that each announces."""
    found = re.findall(r"^ +(robot-assets data import .*--sessions.*)   # (\d+) sessions?:", output, re.MULTILINE)
    return [(pasted(line), int(sessions)) for line, sessions in found]


def test_a_flat_folder_gets_proposals_that_run_and_give_the_sessions_that_they_announce(
    project: Path, tmp_path: Path
) -> None:
    names = [f"bag{bag}_{camera}_{number:04}" for bag in range(4) for camera in "lr" for number in range(2)]
    source = flat(tmp_path / "flat folder", names)
    found = run("import", "yolo", source, "--name", "field")
    assert "1 session: cannot be split" in found
    imports = proposed(found)
    assert [sessions for _, sessions in imports] == [4, 8, 16]
    assert imports[-1][0][-1] == "one-per-image"
    assert "lines such as bag0_l_0000.jpg,morning into sessions.csv" in found
    checked = run("check", "field", code=1)
    assert "1 session: cannot be split" in checked
    regroupings = proposed(checked)
    assert [sessions for _, sessions in regroupings] == [4, 8, 16]
    for arguments, sessions in [*regroupings, *imports]:
        assert json.loads(run(*arguments, "--json"))["sessions"] == sessions
    run(*imports[0][0])
    assert "16 good images in 4 sessions" in run("check", "field")


def test_grouping_raw_data_anew_keeps_every_image_and_box(project: Path, source: Path) -> None:
    run("import", "yolo", source, "--name", "field")
    raw = project / "data/raw/field"
    before = read_labels(raw)
    run("import", "coco", raw, "--name", "field", "--sessions", "name:^(\\d)")
    run("import", "coco", raw, "--name", "field", "--sessions", "one-per-image")
    after = read_labels(raw)
    assert (len(after["images"]), len(after["annotations"])) == (len(before["images"]), len(before["annotations"]))
    assert (raw / "NOTICE").is_file()


def test_images_of_the_splits_of_an_export_are_no_recordings(project: Path, tmp_path: Path) -> None:
    source = write_yolo(tmp_path / "export", {"train": 6, "valid": 3, "test": 3})
    found = run("import", "yolo", source, "--name", "field")
    assert proposed(found)
    assert "test, train, valid are splits of an export and no recordings" in run("check", "field")


def test_one_session_per_image_warns_of_leakage(project: Path, source: Path) -> None:
    found = run("import", "yolo", source, "--name", "field", "--sessions", "one-per-image")
    assert "note: one session per image: neighbouring frames of a recording are divided" in found
    assert "(leakage)" in found


def test_a_check_names_the_images_that_link_sessions(project: Path, source: Path) -> None:
    for session in ("d1/r2", "d2/r1", "d2/r3", "d3/r1", "d4/r1", "d5/r1"):
        shutil.copy(source / "d1/r1/000.jpg", source / session / "000.jpg")
    run("import", "yolo", source, "--name", "field")
    found = run("check", "field", code=1)
    assert "7 sessions: cannot be split, since near-duplicate images leave only 1 independent" in found
    assert "d1/r1/000.jpg and d1/r2/000.jpg: 0 bits of 64 differ" in found
    assert json.loads(run("check", "field", "--json", code=1))["raw"]["linked_sessions"][0]["bits"] == 0
    error = refusal(DataError, "build", "field")
    assert "d1/r1/000.jpg and d1/r2/000.jpg" in error.found


def test_a_check_says_what_a_build_would_refuse(project: Path, source: Path) -> None:
    run("import", "yolo", source, "--name", "field")
    edit_params(project, calibration_images=1000)
    found = run("check", "field", code=1)
    assert "datasets.field.calibration_images is 1000, and train has" in found
    edit_params(project, calibration_images=5, classes=["ball", "human"])
    assert "7 boxes of 'goal post', which datasets.field.classes lacks" in run("check", "field", code=1)
    edit_params(project, classes=[*CLASSES, "referee"])
    assert "no category 'referee'" in run("check", "field", code=1)


def test_a_check_finds_a_class_that_is_absent_from_a_split_before_the_build(project: Path, source: Path) -> None:
    for label in source.rglob("*.txt"):
        rows = [row for row in label.read_text().splitlines() if not row.startswith("2 ") or label.parent.name == "r1"]
        label.write_text("\n".join(rows) + "\n")
    for session in ("d2", "d3", "d4", "d5"):
        for label in (source / session).rglob("*.txt"):
            label.write_text("0 0.5 0.5 0.25 0.25\n")
    run("import", "yolo", source, "--name", "field")
    found = run("check", "field", code=1)
    assert "classes_in_every_split: failed\n  no box of " in found


def edit_params(project: Path, **changes: object) -> None:
    document = yaml.safe_load((project / "params.yaml").read_text())
    document["datasets"]["field"] |= changes
    (project / "params.yaml").write_text(yaml.safe_dump(document))


def test_a_data_set_that_was_packed_from_other_raw_data_is_not_judged(project: Path, source: Path) -> None:
    run("import", "yolo", source, "--name", "field")
    run("build", "field")
    (source / "d1/r1/003.txt").write_text("0 0.25 0.25 0.25 0.25\n")
    run("import", "yolo", source, "--name", "field")
    found = run("check", "field")
    assert "data/datasets/field was packed from other raw data (labels of 1 image changed): not judged" in found
    assert "fix: robot-assets data build field" in found
    assert "classes_in_every_split" not in found
    run("build", "field")
    assert "classes_in_every_split: passed" in run("check", "field")


def test_a_data_set_that_was_packed_with_other_parameters_is_not_judged(project: Path, source: Path) -> None:
    run("import", "yolo", source, "--name", "field")
    run("build", "field")
    edit_params(project, calibration_images=4)
    assert "was packed with other parameters (calibration_images): not judged" in run("check", "field")
    edit_params(project, calibration_images=5, classes=list(reversed(CLASSES)))
    assert "was packed with other parameters (classes): not judged" in run("check", "field")
    edit_params(project, classes=list(CLASSES), split={"train": 0.2, "val": 0.4, "test": 0.4})
    assert "was packed with other parameters (split or near_duplicate_bits)" in run("check", "field")


def test_a_folder_that_is_not_what_its_pointer_records_is_named(project: Path, source: Path) -> None:
    run("import", "yolo", source, "--name", "field")
    pointer = project / "data/raw/field.dvc"
    before = pointer.read_bytes()
    (source / "d1/r1/003.txt").write_text("0 0.25 0.25 0.25 0.25\n")
    run("import", "yolo", source, "--name", "field")
    pointer.write_bytes(before)  # as git checkout does
    found = run("check", "field", code=1)
    assert "origin: failed\n  data/raw/field is version " in found
    assert "fix: dvc checkout --force data/raw/field.dvc " in found


def test_raw_data_without_an_entry_in_params_is_checked_by_itself(project: Path, source: Path) -> None:
    run("import", "yolo", source, "--name", "yard")
    found = run("check", "yard")
    assert "params.yaml has no data set yard: its classes and calibration images are not judged" in found
    assert "30 good images in 7 sessions" in found


def test_a_data_set_is_checked_from_any_folder_and_by_the_folder_of_its_raw_data(
    project: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit_params(project, classes=["ball", "human", "referee"])
    run("import", "yolo", source, "--name", "field")
    assert "has no category 'referee'" in run("check", "data/raw/field", code=1)
    monkeypatch.chdir(project / "data/raw")  # has a folder with the name of the data set
    assert "has no category 'referee'" in run("check", "field", code=1)
    shutil.copytree(project / "data/raw/field", project / "copy")
    assert "the folder is not in params.yaml: its classes and calibration" in run("check", "../../copy")


def test_an_import_prints_the_entries_of_params_and_writes_them_when_asked(project: Path, source: Path) -> None:
    found = run("import", "yolo", source, "--name", "yard")
    assert "classes: [ball, human, goal post]" in found
    assert "yard_detector:" in found
    [command] = re.findall(r"^  (robot-assets data import .*--write)", found, re.MULTILINE)
    assert "added datasets.yard to params.yaml" in run(*pasted(command))
    document = yaml.safe_load((project / "params.yaml").read_text())
    assert document["models"]["yard_detector"]["dataset"] == "yard"
    assert "split of a build:" in run("check", "yard")


def test_classes_without_a_box_are_no_classes_of_params(project: Path, source: Path) -> None:
    (source / "obj.names").write_text("ball\nhuman\ngoal post\nreferee\n")
    found = run("import", "yolo", source, "--name", "yard", "--write")
    assert "note: no box of 'referee': not in the entries for params.yaml\n" in found
    document = yaml.safe_load((project / "params.yaml").read_text())
    assert document["datasets"]["yard"]["classes"] == ["ball", "human", "goal post"]
    assert "split of a build:" in run("check", "yard")
    run("build", "yard")


def test_an_import_names_classes_in_which_params_and_labels_differ(project: Path, source: Path) -> None:
    edit_params(project, classes=["ball", "human", "referee"])
    found = run("import", "yolo", source, "--name", "field")
    assert "datasets.field.classes in params.yaml has 'referee', and the labels do not\n" in found
    assert "datasets.field.classes in params.yaml lacks 'goal post', which the labels have\n" in found


def test_brackets_in_class_names_are_printed_as_they_are(project: Path, source: Path) -> None:
    (source / "obj.names").write_text("sign [stop]\n[red]human[/red]\n[bold\n")
    edit_params(project, classes=["sign [stop]", "[red]human[/red]", "[bold"])
    for command in (("import", "yolo", source, "--name", "field"), ("check", "field"), ("build", "field")):
        found = run(*command)
        assert all(name in found for name in ("sign [stop]", "[red]human[/red]", "[bold"))


def test_many_classes_are_rows(project: Path, source: Path) -> None:
    classes = [*CLASSES, *(f"kind {number}" for number in range(30))]
    (source / "obj.names").write_text("\n".join(classes) + "\n")
    edit_params(project, classes=classes, exempt_classes=dict.fromkeys(classes[3:], "none yet"))
    run("import", "yolo", source, "--name", "field")
    lines = run("build", "field").splitlines()
    assert re.fullmatch(r"split  sessions  images  boxes *", lines[0])
    assert any(re.fullmatch(r"kind 29 +0 +0 +0 *", line) for line in lines)
    assert max(map(len, lines)) < 60


def test_a_folder_that_is_not_raw_data_is_named(project: Path, source: Path) -> None:
    error = refusal(DataError, "check", source)
    assert "is not raw data" in error.found
    assert f"robot-assets data import yolo {source}" in error.fix
    assert "is not a folder" in refusal(DataError, "check", "/no/such/folder").found


@pytest.mark.parametrize(
    ("verb", "folder"), [("import", "raw/field"), ("build", "datasets/field"), ("simulate", "raw/street")]
)
def test_files_of_a_person_are_not_replaced(project: Path, source: Path, verb: str, folder: str) -> None:
    if verb == "build":
        run("import", "yolo", source, "--name", "field")
    arguments = {
        "import": ("import", "yolo", source, "--name", "field"),
        "build": ("build", "field"),
        "simulate": ("simulate", "street"),
    }[verb]
    own = project / "data" / folder / "notes.txt"
    own.parent.mkdir(parents=True)
    own.write_text("mine")
    error = refusal(DataError, *arguments)
    assert f"data/{folder} has files that this command did not write" in error.found
    assert own.read_text() == "mine"
    own.rename(own.parent.with_name("kept"))
    own.parent.rmdir()
    own.parent.with_name("kept").rename(own.parent)
    assert f"data/{folder} is a file where a folder should be" in refusal(DataError, *arguments).found
    assert own.parent.read_text() == "mine"


def test_interchanged_arguments_are_recognized(project: Path, source: Path) -> None:
    error = refusal(CommandLineError, "import", source, "yolo", "--name", "field")
    assert "the format is the first of the two" in error.found
    assert error.fix == f"robot-assets data import yolo {source} --name field"
    assert "did you mean 'coco'" in refusal(CommandLineError, "import", "cocoo", source, "--name", "field").found


def test_a_pointer_without_its_data_is_pulled_by_its_quoted_path(project: Path, source: Path) -> None:
    run("import", "yolo", source, "--name", "field")
    shutil.rmtree(project / "data/raw/field")
    assert refusal(DataError, "build", "field").fix.startswith("dvc pull data/raw/field.dvc ")
    (project / "my recordings").mkdir()
    (project / "data/raw/field.dvc").rename(project / "my recordings/field.dvc")
    edit_params(project, source={"kind": "dvc", "pointer": "my recordings/field.dvc"})
    assert refusal(DataError, "check", "field").fix.startswith("dvc pull 'my recordings/field.dvc' ")
    other = {"kind": "dvc", "pointer": "data/raw/field.dvc", "repository": "https://example.org/data.git"}
    edit_params(project, source=other)
    assert refusal(DataError, "check", "field").fix.startswith("robot-assets build datasets/field ")


def test_raw_data_is_beside_its_pointer(project: Path, source: Path) -> None:
    run("import", "yolo", source, "--name", "field")
    (project / "data/raw").rename(project / "recordings")
    edit_params(project, source={"kind": "dvc", "pointer": "recordings/field.dvc"})
    assert "raw data recordings/field: 30 good images" in run("check", "field")
    assert "5 calibration images" in run("build", "field")


@pytest.mark.parametrize("name", ["Field", "a/b", "../x", "", "9lives"])
def test_an_invalid_name_is_refused(project: Path, source: Path, name: str) -> None:
    assert f"--name is {name!r}" in refusal(DataError, "import", "yolo", source, "--name", name).found
    assert not (project / "data").exists()


def test_importing_over_a_simulation_is_refused(project: Path, source: Path) -> None:
    assert "is a simulation" in refusal(ParamsError, "import", "yolo", source, "--name", "street").found


def test_simulating_recorded_data_is_refused(project: Path) -> None:
    assert "'dvc'" in refusal(ParamsError, "simulate", "field").found


def test_building_before_importing_gives_the_command_to_run(project: Path) -> None:
    assert "data import yolo SOURCE --name field" in refusal(DataError, "build", "field").fix
    assert "data simulate street" in refusal(DataError, "check", "street").fix


def test_an_unknown_data_set_is_refused_with_the_known_names(project: Path) -> None:
    assert refusal(ParamsError, "build", "pitch").needed == "one of: field, street"
    error = refusal(ParamsError, "check", "feild")
    assert "did you mean 'field'?" in error.found
    assert error.fix == "robot-assets data check field"


def test_exit_codes_are_1_without_a_traceback_for_bad_data_and_2_for_bad_usage(project: Path, source: Path) -> None:
    command = [str(Path(sys.executable).with_name("robot-assets")), "data"]
    (source / "d1/r1/003.jpg").write_bytes(b"")
    done = subprocess.run(
        [*command, "import", "yolo", str(source), "--name", "field"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "d1/r1/003.jpg: the image has zero bytes" in done.stderr
    assert "Traceback" not in done.stderr
    assert subprocess.run([*command, "import", "voc"], capture_output=True, check=False).returncode == 2


def test_simulate_build_and_check_in_sequence(project: Path) -> None:
    document = yaml.safe_load((project / "params.yaml").read_text())
    document["datasets"]["street"] |= {"calibration_images": 3, "exempt_classes": {"car": "nine images"}}
    document["datasets"]["street"]["classes"] = ["pedestrian", "cyclist", "car", "robot", "cone", "bin"]
    document["datasets"]["street"]["exempt_classes"] |= dict.fromkeys(
        ["pedestrian", "cyclist", "robot", "cone", "bin"], "nine images"
    )
    (project / "params.yaml").write_text(yaml.safe_dump(document))
    assert json.loads(run("simulate", "street", "--json"))["images"] == 9
    assert json.loads(run("build", "street", "--json"))["calibration_images"] == 3
    assert json.loads(run("check", "street", "--json"))["passed"] is True
    for change in ({"seed": 1}, {"images": 10}, {"width": 80}):
        document["datasets"]["street"]["source"] = PARAMS["datasets"]["street"]["source"] | change
        (project / "params.yaml").write_text(yaml.safe_dump(document))
        found = run("check", "street", code=1)
        assert "data/raw/street was simulated with other parameters (" in found
        assert "fix: robot-assets data simulate street" in found


@pytest.fixture
def ground(project: Path) -> Path:
    """Raw data with masks, and its data set in params.yaml."""
    dataset = {**PARAMS["datasets"]["field"], "task": "segmentation", "classes": list(GROUND)}
    datasets = {"ground": {**dataset, "source": {"kind": "dvc", "pointer": "data/raw/ground.dvc"}}}
    (project / "params.yaml").write_text(yaml.safe_dump({**PARAMS, "datasets": datasets}))
    return write_masks(project / "data" / "raw" / "ground", SESSIONS)


def test_masks_are_checked_built_and_judged(project: Path, ground: Path) -> None:
    found = run("check", "ground")
    assert "30 good images in 7 sessions, 0 bad items" in found
    assert re.search(r"^split +sessions +images +road +sidewalk +sky", found, re.MULTILINE)
    answer = json.loads(run("build", "ground", "--json"))
    assert {split: counts["road"] for split, counts in answer["masks"].items()} == answer["images"]
    assert sum(answer["pixels"]["val"].values()) > 1000
    found = run("check", "ground")
    assert [line for line in found.splitlines() if "passed" in line] == [
        "no_leakage: passed",
        "classes_in_every_split: passed",
        "masks_sane: passed",
    ]
    facts = json.loads(run("check", "ground", "--json"))["raw"]
    assert (facts["task"], facts["masks"]) == ("segmentation", dict.fromkeys(GROUND, 30))
    assert facts["pixels"].keys() == set(GROUND)


def test_a_folder_of_masks_is_checked_without_params(project: Path, ground: Path) -> None:
    shutil.move(ground, project / "elsewhere")
    (project / "elsewhere" / "masks" / "d1" / "r1" / "000.png").write_bytes(grey_png(16))
    found = run("check", "./elsewhere", code=1)
    assert "29 good images in 7 sessions, 1 bad item" in found
    assert "the mask has 16 bits a pixel, needed 8" in " ".join(found.split())


def test_many_classes_of_masks_have_no_sum(project: Path) -> None:
    classes = tuple(f"class{index}" for index in range(10))
    write_masks(project / "many", SESSIONS, classes)
    found = run("check", "./many")
    assert re.search(r"^split +sessions +images *$", found, re.MULTILINE)
    assert re.search(r"^class9 ", found, re.MULTILINE)


def test_a_task_that_labels_do_not_have_is_named(project: Path, ground: Path) -> None:
    text = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(text.replace("task: segmentation", "task: detection"))
    for verb in ("check", "build"):
        error = refusal(DataError, verb, "ground")
        assert "labels of the task segmentation, and datasets.ground.task is detection" in error.found
    (project / "params.yaml").write_text(text.replace("task: segmentation", "task: segmentaton"))
    error = refusal(ParamsError, "check", "ground")
    assert "datasets.ground.task: unknown task 'segmentaton'; did you mean 'segmentation'?" in error.found


def test_a_simulation_of_other_labels_is_fixed_by_simulating_again(project: Path) -> None:
    text = yaml.safe_dump(PARAMS)
    run("simulate", "street")
    text = text.replace("kind: simulation", "kind: simulation\n      labels: masks")
    text = text.replace("- car", "- road").replace("  street:", "  street:\n    task: segmentation")
    (project / "params.yaml").write_text(text)
    for verb in ("check", "build"):
        error = refusal(DataError, verb, "street")
        assert (
            error.found
            == "data/raw/street has no files in masks/, and datasets.street.task is segmentation".replace(
                "data/raw", str(project / "data/raw")
            )
        )
        assert error.fix == "robot-assets data simulate street"
