"""``robot-assets init``: a project of one's own, without a clone of this repository."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from robot_assets.pipeline.graph import build_graph
from robot_assets.pipeline.project import Project
from tests.cli.commands import Finished, command

FILES = {
    ".dvc/.gitignore",
    ".dvc/config",
    ".dvcignore",
    ".gitignore",
    "README.md",
    "data/raw/.gitignore",
    "params.yaml",
    "workspace.yaml",
}


@pytest.fixture(autouse=True)
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory that is in no project."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ROBOT_ASSETS_PROJECT", raising=False)
    return tmp_path


def files(root: Path) -> dict[str, bytes]:
    paths = (path for path in root.rglob("*") if path.is_file() and ".git" not in path.relative_to(root).parts)
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}


def init(*arguments: object, code: int = 0) -> Finished:
    return command("init", *arguments, code=code)


def test_a_new_folder_is_a_project_with_git_and_dvc(outside: Path) -> None:
    done = init("my robot")
    root = outside / "my robot"
    assert set(files(root)) == FILES
    assert (root / ".git").is_dir()
    assert "next:\n  cd 'my robot'\n  robot-assets data import" in done.out
    params = Project(root).params
    assert (dict(params.datasets), dict(params.models), list(params.targets)) == ({}, {}, ["cpu"])
    assert list(build_graph(params)) == ["platform/cpu"]
    assert Project(root).dvc_drift() is None


def test_git_has_the_project_and_neither_images_nor_artifacts(outside: Path) -> None:
    init("robot")
    root = outside / "robot"
    for name in ("data/raw/yard/a.jpg", "data/raw/yard.dvc", ".robot_assets/store/x", ".dagster/x", ".dvc/cache/x"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x")
    subprocess.run(["git", "add", "."], cwd=root, check=True)
    listed = subprocess.run(["git", "ls-files"], cwd=root, check=True, capture_output=True, text=True).stdout
    assert set(listed.splitlines()) == FILES | {"data/raw/yard.dvc"}


def test_a_rerun_adds_what_is_missing_and_replaces_nothing(outside: Path) -> None:
    init("robot")
    root = outside / "robot"
    (root / "params.yaml").write_text("store: {url: .robot_assets/store}   # mine\n")
    (root / ".gitignore").write_text("*.tmp\n/.dagster\n.venv")
    (root / ".dvc" / "config").unlink()
    before = files(root)
    done = init("robot")
    after = files(root)
    assert "wrote .gitignore, .dvc/config\n" in done.out
    assert {name for name in after if after[name] != before.get(name)} == {".gitignore", ".dvc/config"}
    lines = (root / ".gitignore").read_text().splitlines()
    assert lines[:3] == ["*.tmp", "/.dagster", ".venv"]
    assert set(lines[3:]) == {"/.robot_assets/", "/data/datasets/", "__pycache__/"}
    assert files(root) == after
    again = json.loads(init("robot", "--json").out)
    assert (again["created"], again["extended"]) == ([], [])
    assert set(again["present"]) == FILES - {".gitignore", ".dvcignore"}


@pytest.mark.parametrize("url", ["s3://bucket/prefix", "/mnt/share: all", "~/store"])
def test_the_store_and_the_remote_of_dvc_are_one_place(outside: Path, url: str, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(outside / "home"))
    init("robot", "--store", url)
    project = Project(outside / "robot")
    assert project.params.store.url == url.replace("~", str(outside / "home"))
    assert project.dvc_drift() is None
    (project.root / ".dvc" / "config").write_text("[core]\n    remote = a\n['remote \"a\"']\n    url = /elsewhere\n")
    assert "fix: dvc --cd" in init("robot").out


def test_a_repository_with_files_can_become_a_project(outside: Path) -> None:
    (outside / "README.md").write_text("mine")
    subprocess.run(["git", "init", "-q"], check=True)
    init()
    assert (outside / "README.md").read_text() == "mine"
    assert (outside / "params.yaml").is_file()


def test_a_folder_in_a_repository_gets_no_repository_of_its_own(outside: Path) -> None:
    subprocess.run(["git", "init", "-q"], check=True)
    init("robots/one")
    assert not (outside / "robots" / "one" / ".git").exists()


def test_a_folder_of_something_else_is_left_alone(outside: Path) -> None:
    (outside / "photos").mkdir()
    for number in range(6):
        (outside / "photos" / f"{number}.jpg").write_text("x")
    error = init("photos", code=1).error
    assert error["found"].endswith("has files and is not a git repository: 0.jpg, 1.jpg, 2.jpg, 3.jpg, ...")
    assert error["fix"].startswith("robot-assets init photos/robot ")
    assert len(list((outside / "photos").iterdir())) == 6
    init("photos/robot")


def test_a_folder_in_a_project_and_a_file_are_refused(outside: Path) -> None:
    init("robot")
    error = init("robot/sub", code=1).error
    assert error["found"] == f"{outside}/robot/sub is in the project {outside}/robot"
    assert error["fix"] == "robot-assets init robot-2   # or use that project: cd robot"
    assert not (outside / "robot" / "sub").exists()
    (outside / "file").write_text("x")
    assert init("file", code=1).error["found"] == f"{outside}/file is a file"


@pytest.mark.parametrize("url", ["", "$NOT_SET_HERE/store", "memory://x", "../store"])
def test_a_store_that_cannot_be_used_makes_nothing(outside: Path, url: str) -> None:
    error = init("robot", "--store", url or " ", code=1).error
    assert "stor" in error["found"]
    assert not (outside / "robot").exists()


def test_without_git_the_project_says_what_is_missing(outside: Path, monkeypatch) -> None:
    (outside / "bin").mkdir()
    monkeypatch.setenv("PATH", str(outside / "bin"))
    done = command("init", "robot")
    assert "git is not installed" in done.out
    assert "fix: apt-get install git && git init robot" in done.out
    assert (outside / "robot" / "params.yaml").is_file()


def test_control_characters_of_a_name_do_not_reach_the_terminal(outside: Path) -> None:
    done = init("x\x1b[31mred")
    assert "\x1b" not in done.out
    assert "  cd $'x\\x1b[31mred'\n" in done.out


def test_a_full_disk_is_named_and_a_rerun_completes_the_project(outside: Path) -> None:
    (outside / "disk").mkdir()
    python = f"{sys.executable} -c 'from robot_assets.cli.main import main; main()'"
    script = (
        f"mount -t tmpfs -o size=8k tmpfs disk || exit 77; {python} init disk/robot && exit 1; "
        f"mount -o remount,size=4m disk && {python} init disk/robot > /dev/null && ls -A disk/robot"
    )
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "bash", "-c", script], capture_output=True, text=True
    )
    if done.returncode == 77 or "unshare failed" in done.stderr:
        pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    assert f"error: no space left on {outside}/disk while writing the project" in done.stderr
    assert f"fix: df -h {outside}/disk " in done.stderr
    assert {"params.yaml", "README.md", ".dvc", ".git"} <= set(done.stdout.split())
    assert ".part" not in done.stdout


def test_a_folder_that_cannot_be_written_is_named(outside: Path) -> None:
    error = init("/proc/robot", code=1).error
    assert "/proc/robot" in error["found"]
    assert error["fix"]


def test_every_line_of_the_readme_of_a_project_is_a_command(outside: Path) -> None:
    """That the verbs exist; ``tests/test_journey.py`` runs the way that they describe."""
    init("robot")
    lines = (outside / "robot" / "README.md").read_text().splitlines()
    verbs = [line.split()[1:] for line in lines if line.startswith("robot-assets ")]
    assert [words[0] for words in verbs] == ["data", "build", "audit", "ui"]
    for words in verbs:
        command(*words[: 2 if words[0] == "data" else 1], "--help")


def test_dagster_loads_the_workspace_of_a_project(outside: Path) -> None:
    init("robot")
    workspace = yaml.safe_load((outside / "robot" / "workspace.yaml").read_text())
    module = workspace["load_from"][0]["python_module"]
    assert module["working_directory"] == "."
    environment = {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"}
    code = f"from {module['module_name']} import defs; print(*defs.resolve_all_asset_keys())"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=outside / "robot", env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "['platform', 'cpu']" in done.stdout
