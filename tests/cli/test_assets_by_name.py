"""Engines that are named by their asset, in a project with Dagster; and names that are wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PARAMS = """
store: {url: .robot_assets/store}
datasets:
  street:
    source: {kind: simulation, images: 9, sessions: 9, width: 64, height: 64, seed: 0}
    classes: [car]
    split: {train: 0.6, val: 0.2, test: 0.2}
models: {}
targets: {}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("project")
    (root / "params.yaml").write_text(PARAMS)
    return root


def error(cwd: Path, *arguments: str, **variables: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"}
    command = [str(Path(sys.executable).with_name("robot-assets")), *arguments]
    done = subprocess.run(
        command, cwd=cwd, env={**environment, **variables}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stderr.startswith("error: "), done.stderr
    return done.stderr


def test_an_asset_that_was_not_built_names_the_build(project: Path) -> None:
    said = error(project, "engine", "inspect", "datasets/street")
    assert "error: datasets/street has not been built" in said
    assert "fix: robot-assets build datasets/street\n" in said


def test_a_mistyped_asset_is_corrected(project: Path) -> None:
    said = error(project, "verify", "dataset/street")
    assert "'dataset/street' is neither a path here nor an asset of params.yaml" in said
    assert "fix: did you mean datasets/street" in said


def test_a_name_outside_of_any_project_can_only_be_a_directory(tmp_path: Path) -> None:
    said = error(tmp_path, "verify", "datasets/street")
    assert "'datasets/street' is not a directory here" in said
    assert "--out datasets/street   # where the engine was built" in said


def test_a_project_that_the_environment_names_wrongly_is_an_error(tmp_path: Path) -> None:
    said = error(tmp_path, "verify", "datasets/street", ROBOT_ASSETS_PROJECT=str(tmp_path / "no"))
    assert f"no params.yaml in {tmp_path / 'no'}" in said


def test_a_command_in_a_foreign_folder_names_the_mistakes_of_its_params(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("learning_rate: 0.1\n")
    assert "learning_rate" in error(tmp_path, "data", "check", "street")
