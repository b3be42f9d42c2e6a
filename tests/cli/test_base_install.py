"""The wheel with its base dependencies in a clean environment: what a robot has installed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.detector_chain import whole
from tests.packages import skip_without_index
from tests.provenance.conftest import BuiltProject, chain_in, project_at

SIZE_BYTES_MAX = 160_000_000
EXTRAS_ONLY = {
    "dagster", "dagster-webserver", "faster-coco-eval", "fsspec", "jinja2", "kubernetes", "matplotlib", "onnx",
    "onnxruntime", "safetensors", "sqlalchemy", "torch",
}  # fmt: skip


@dataclass(frozen=True)
class Robot:
    """A clean environment, and a folder on the robot that belongs to no project."""

    environment: Path
    home: Path

    @property
    def site_packages(self) -> Path:
        (found,) = self.environment.glob("lib/python3*/site-packages")
        return found

    def run(self, *arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """``robot-assets`` as installed here, with nothing of the test's environment."""
        variables = {"PATH": "/usr/bin:/bin", "HOME": str(self.home), "COLUMNS": "160"}
        command = [str(self.environment / "bin" / "robot-assets"), *map(str, arguments)]
        done = subprocess.run(command, cwd=cwd or self.home, env=variables, capture_output=True, text=True, check=False)
        assert "Traceback" not in done.stderr
        return done

    def error(self, *arguments: object, cwd: Path | None = None) -> str:
        """Standard error of a command that fails with an error in three lines."""
        done = self.run(*arguments, cwd=cwd)
        assert done.returncode == 1, done.stdout + done.stderr
        assert re.fullmatch(r"error: [^\n]+\n  needed: [^\n]+\n  fix: [^\n]+\n", done.stderr), done.stderr
        return done.stderr


@pytest.fixture(scope="session")
def robot(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Robot:
    folder = tmp_path_factory.mktemp("robot")
    wheel = built_wheel(repository, folder)
    venv.create(folder / "environment", with_pip=False)
    (folder / "home").mkdir()
    found = Robot(folder / "environment", folder / "home")
    skip_without_index(pip("--python", found.environment / "bin" / "python", "install", wheel))
    return found


def built_wheel(repository: Path, folder: Path) -> Path:
    """The wheel of the checkout, built from a copy: setuptools leaves files beside the sources."""
    source = folder / "source"
    for package in ("robot_assets", "dagster_project"):
        shutil.copytree(repository / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(repository / file, source)
    pip("wheel", "--no-build-isolation", "--no-deps", "--wheel-dir", folder, source)
    (wheel,) = folder.glob("*.whl")
    return wheel


def pip(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0 or "onnection" in done.stderr, done.stderr
    return done


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> BuiltProject:
    """A project with a signed engine in its store."""
    project = project_at(tmp_path_factory.mktemp("built"))
    found = BuiltProject(project, chain_in(project))
    found.sign()
    found.sign_gates()
    return found


@pytest.fixture(scope="session")
def engine(robot: Robot, built: BuiltProject) -> Path:
    """The engine on the robot, written there by ``engine get``."""
    out = robot.home / "detector"
    done = robot.run("engine", "get", built.chain.head.version, "--out", out, cwd=built.project.root)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="session")
def key(robot: Robot, built: BuiltProject) -> str:
    done = robot.run("key", "show", cwd=built.project.root)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_nothing_that_only_an_extra_needs_is_installed(robot: Robot) -> None:
    folders = [path.name.lower() for path in robot.site_packages.glob("*.dist-info")]
    installed = {name.partition("-")[0].replace("_", "-") for name in folders}
    assert {"robot-assets", "numpy", "cryptography"} <= installed
    assert not installed & EXTRAS_ONLY


def test_it_takes_little_room(robot: Robot) -> None:
    files = [path for path in robot.site_packages.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= SIZE_BYTES_MAX


def test_help_lists_every_command(robot: Robot) -> None:
    shown = robot.run("--help").stdout
    listed = set(re.findall(r"^│ (\w+) ", shown, re.MULTILINE))
    ours = {"agent", "data", "engine", "fleet", "init", "key", "model", "platform", "verify"}
    assert listed == ours | {"audit", "build", "plan", "ui"}
    assert {"probe", "report", "publish"} <= set(re.findall(r"^│ (\w+) ", robot.run("platform", "--help").stdout, re.M))


def test_an_engine_is_verified_as_far_as_the_device_goes(robot: Robot, engine: Path, key: str) -> None:
    """All but the platform: without ONNX Runtime this device cannot run the engine."""
    done = robot.run("verify", engine, "--trusted", key, "--json")
    found = {check["name"]: check["passed"] for check in json.loads(done.stdout)["checks"]}
    assert found == {"manifest": True, "signature": True, "files": True, "gates": True, "platform": False}
    assert done.returncode == 1
    assert "fix: pip install 'robot-assets[cpu]'" in robot.run("verify", engine, "--trusted", key).stdout


def test_an_altered_engine_is_found(robot: Robot, engine: Path, key: str, tmp_path: Path) -> None:
    altered = Path(shutil.copytree(engine, tmp_path / "altered"))
    (altered / "manifest.json").write_text("{}")
    assert "manifest.json was altered" in robot.run("verify", altered, "--trusted", key).stdout


def test_an_engine_is_inspected(robot: Robot, engine: Path, built: BuiltProject) -> None:
    found = json.loads(robot.run("engine", "inspect", engine, "--json").stdout)
    assert found["manifest"]["kind"] == "onnxruntime"
    assert found["runs_here"] is False
    assert "onnxruntime is - here" in robot.run("engine", "inspect", engine).stdout
    signed = robot.run("engine", "inspect", built.chain.head.version, cwd=built.project.root).stdout
    assert built.chain.head.asset in signed


def test_an_engine_without_signatures_is_inspected_too(robot: Robot) -> None:
    assert robot.run("engine", "inspect", whole().engine).returncode == 0


def test_a_key_is_created_and_shown(robot: Robot, tmp_path: Path) -> None:
    project = project_at(tmp_path / "project").root
    assert "fix: robot-assets key create" in robot.error("key", "show", cwd=project)
    assert robot.run("key", "create", cwd=project).returncode == 0
    assert robot.run("key", "show", cwd=project).stdout.startswith("ed25519:")
    assert "no params.yaml" in robot.error("key", "show")


def test_raw_data_is_checked(robot: Robot) -> None:
    raw = whole().dataset.parent / "raw"
    assert "60 good images" in robot.run("data", "check", raw).stdout


@pytest.mark.parametrize("command", [("verify",), ("engine", "inspect"), ("engine", "bench")])
def test_a_path_that_does_not_exist_is_named(robot: Robot, built: BuiltProject, command: tuple[str, ...]) -> None:
    assert "'no/such/engine' is not a directory here" in robot.error(*command, "no/such/engine")
    inside = robot.error(*command, "no/such/engine", cwd=built.project.root)
    assert "'no/such/engine' is not a directory here, and dagster is not installed" in inside
    assert "fix: pip install 'robot-assets[orchestrator]'" in inside


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        (("build",), "orchestrator"),
        (("plan",), "orchestrator"),
        (("audit", "small_detector/engine/cpu"), "orchestrator"),
        (("ui",), "orchestrator"),
        (("platform", "report", "orin"), "orchestrator"),
        (("platform", "publish", "--node", "orin-agx-1"), "cluster"),
        (("platform", "probe"), "cpu"),
        (("engine", "bench", "{engine}"), "cpu"),
        (("engine", "run", "{engine}", "{image}", "--out", "drawn"), "cpu"),
        (("engine", "compare", "{engine}", "{engine}"), "cpu"),
        (("engine", "inspect", "{engine}", "--layers"), "cpu"),
        (("engine", "profile", "{engine}=15"), "cpu"),
        (("data", "simulate", "street"), "training"),
        (("model", "inspect", "{onnx}"), "engines"),
        (("engine", "get", "{version}", "--out", "from_bucket"), "s3"),
    ],
    ids=lambda value: "-".join(value[:2]) if isinstance(value, tuple) else value,
)
def test_a_command_without_its_libraries_names_the_extra(
    robot: Robot, engine: Path, built: BuiltProject, tmp_path: Path, command: tuple[str, ...], extra: str
) -> None:
    places = {
        "engine": engine,
        "image": next((whole().dataset.parent / "raw" / "images").rglob("*.png")),
        "version": built.chain.head.version,
        "onnx": whole().onnx / "model.onnx",
    }
    project = project_at(tmp_path / "project", "s3://bucket/prefix").root
    (project / "params.yaml").write_text((project / "params.yaml").read_text().replace("datasets: {}", STREET))
    said = robot.error(*(word.format(**places) for word in command), cwd=project)
    assert f"fix: pip install 'robot-assets[{extra}]'\n" in said


STREET = """datasets:
  street:
    source: {kind: simulation, images: 9, sessions: 9, width: 64, height: 64, seed: 0}
    classes: [car]
    split: {train: 0.6, val: 0.2, test: 0.2}
"""
