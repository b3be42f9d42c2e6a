"""The commands of ``robot-assets data``."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from robot_assets.cli.data import app
from robot_assets.core.errors import DataError, ParamsError, RobotAssetsError
from robot_assets.store import open_store, read_pointer
from tests.data.conftest import SESSIONS
from tests.data.image_sources import CLASSES, tree_bytes, write_coco, write_yolo

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
    assert "next: git add data/raw/field.dvc" in run("import", "yolo", source, "--name", "field")
    assert "5 calibration images" in run("build", "field")
    found = run("check", "field")
    assert "30 good images in 7 sessions, 0 bad items" in found
    assert found.count("passed") == 3


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
    assert not any((project / "data" / "raw").iterdir())
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
    assert answer["packed"]["leakage"]["passed"] is True


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
    assert "one of ['field', 'street']" in refusal(ParamsError, "build", "pitch").needed


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
