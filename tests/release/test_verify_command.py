"""``robot-assets verify`` of a release, on a robot without a project."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from robot_assets.cli.main import app
from robot_assets.pipeline.project import PROJECT_VARIABLE
from robot_assets.release.bundle import BUNDLE_FILE
from tests.small_release import SmallRelease, small_release


@pytest.fixture
def release(tmp_path, monkeypatch) -> SmallRelease:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(PROJECT_VARIABLE, raising=False)
    return small_release(tmp_path / "current", models=("near", "far"))


def verify(release: SmallRelease, path: Path | None = None, *options: str) -> Result:
    arguments = ["verify", str(path or release.path), "--trusted", release.key_line, *options]
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


@pytest.mark.parametrize("name", ["", BUNDLE_FILE])
def test_a_release_verifies_by_its_directory_or_its_bundle(release, name):
    done = verify(release, release.path / name)
    assert done.exit_code == 0
    assert "near: signature" in done.stdout
    assert "each engine of this release is what was built, signed and tested" in done.stdout


def test_a_link_to_a_release_is_followed(release, tmp_path):
    (tmp_path / "link").symlink_to(release.path)
    assert verify(release, tmp_path / "link").exit_code == 0


def test_one_engine_of_a_release_verifies_by_itself(release):
    done = verify(release, release.path / "near")
    assert done.exit_code == 0
    assert "this engine is what was built" in done.stdout


def test_a_damaged_release_is_refused_with_a_fix(release):
    (release.path / "far" / "[bold]\x1b[2J").write_bytes(b"")
    done = verify(release)
    assert done.exit_code == 1
    assert "far/[bold]\\x1b[2J is not in bundle.json" in done.stdout
    assert "do not run the engines of this release" in done.stdout
    assert "fix: robot-assets agent once" in done.stdout


def test_a_machine_reads_the_checks(release):
    (release.path / BUNDLE_FILE).write_text("{}")
    done = verify(release, None, "--json")
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert not found["passed"]
    assert [check["name"] for check in found["checks"]] == ["bundle"]
