"""Engines that are named by their asset, in a project with Dagster; and names that are wrong."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from robot_assets.pipeline.project import Project
from robot_assets.store.cache import object_name

PARAMS = """
store: {url: .robot_assets/store}
datasets:
  street:
    source: {kind: simulation, images: 9, sessions: 9, width: 64, height: 64, seed: 0}
    classes: [car]
    split: {train: 0.6, val: 0.2, test: 0.2}
models:
  small_detector:
    task: detection
    dataset: street
    targets: [cpu]
    network: {input_height: 64, input_width: 64, width: 8, depth: 1}
    training: {epochs: 1, batch_size: 2, learning_rate: 0.004}
    quantization: {qat: {epochs: 1, learning_rate: 0.0001}}
targets:
  cpu: {kind: onnxruntime, threads: 1, gate: {latency_ms_p95_max: 40}}
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
    said = error(project, "engine", "inspect", "small_detector/engine/cpu")
    assert "error: small_detector/engine/cpu has not been built" in said
    assert "fix: robot-assets build small_detector/engine/cpu\n" in said


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("small_detector", "is a model"),
        ("small_detector/onnx", "is an asset that is not an engine"),
        ("small_detector/engin/cpu", "is neither a path here nor an engine of params.yaml"),
        ("small_detectr/engine/cpu", "is neither a path here nor an engine of params.yaml"),
    ],
)
@pytest.mark.parametrize("verb", [("engine", "bench"), ("engine", "inspect"), ("verify",)], ids=" ".join)
def test_a_name_that_is_not_an_engine_is_corrected(project: Path, verb: tuple[str, ...], name: str, found: str) -> None:
    said = error(project, *verb, name)
    assert f"error: {name!r} {found}\n" in said
    assert "fix: did you mean small_detector/engine/cpu?\n" in said


def test_a_file_of_an_engine_is_refused_with_its_folder(project: Path) -> None:
    (project / "engine.onnx").write_bytes(b"onnx")
    said = error(project, "engine", "inspect", str(project / "engine.onnx"))
    assert f"{project / 'engine.onnx'} is a file" in said
    assert f"fix: ls -la {project}" in said


def test_a_version_is_named_by_its_first_digits(project: Path, tmp_path: Path) -> None:
    store = Project(project).store
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    version, other = (store.add(tmp_path / name).digest for name in ("first", "second"))
    for digits in (version[:6], version[:12], version.removesuffix(".dir"), version):
        assert f"no {store.open(version)}/manifest.json" in error(project, "engine", "inspect", digits)
    renamed = f"{version[:12]}{other[12:]}"  # a listing whose name begins with the same digits
    shutil.copy(store.cache / object_name(other), store.cache / object_name(renamed))
    assert f"{version[:8]} may mean 2 versions: " in error(project, "engine", "inspect", version[:8])
    assert "'0123456789ab' is neither a path" in error(project, "engine", "inspect", "0123456789ab")


def test_a_dataset_is_no_engine(project: Path) -> None:
    assert "'datasets/street' is an asset that is not an engine" in error(project, "verify", "datasets/street")


def test_a_name_outside_of_any_project_can_only_be_a_directory(tmp_path: Path) -> None:
    said = error(tmp_path, "verify", "datasets/street")
    assert "'datasets/street' is not a directory here" in said
    assert "fix: robot-assets engine get MODEL/engine/TARGET --out detector" in said


def test_a_project_that_the_environment_names_wrongly_is_an_error(tmp_path: Path) -> None:
    said = error(tmp_path, "verify", "datasets/street", ROBOT_ASSETS_PROJECT=str(tmp_path / "no"))
    assert f"no params.yaml in {tmp_path / 'no'}" in said


def test_a_command_in_a_foreign_folder_names_the_mistakes_of_its_params(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("learning_rate: 0.1\n")
    assert "learning_rate" in error(tmp_path, "data", "check", "street")
