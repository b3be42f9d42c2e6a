"""A record names the commit that has the code and params.yaml, and a missing commit has a reason and a fix."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from robot_assets.lineage.record import missing_commit, surroundings


def git(root: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=someone", "-c", "user.email=someone@example.com"]
    subprocess.run(["git", "-C", str(root), *identity, *arguments], check=True, capture_output=True)


@pytest.fixture
def project(tmp_path):
    root = tmp_path / "yard robot"
    root.mkdir()
    git(root, "init", "-q")
    (root / "params.yaml").write_text("store: {url: store}\n")
    return root


def state(root: Path) -> object:
    return surroundings(root)["git_dirty"]


def test_params_that_no_commit_has_are_uncommitted_changes(project):
    (project / "README.md").write_text("a robot")
    git(project, "add", "README.md")
    git(project, "commit", "-qm", "Without parameters")
    assert state(project) is True
    git(project, "add", ".")
    git(project, "commit", "-qm", "With parameters")
    assert state(project) is False
    assert missing_commit(project) is None
    (project / "params.yaml").write_text("store: {url: other}\n")
    assert state(project) is True


def test_a_repository_without_a_commit_is_named_with_the_command_that_makes_one(project, monkeypatch):
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "someone")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "someone@example.com")
    found, fix = missing_commit(project)
    assert found == f"{project} has no commit of git yet: records have none"
    assert state(project) is None
    subprocess.run(f"{fix} -qm start", shell=True, check=True)
    assert missing_commit(project) is None
    assert state(project) is False


def test_a_repository_of_another_user_is_named_with_the_command_that_trusts_it(project, monkeypatch, tmp_path):
    git(project, "add", ".")
    git(project, "commit", "-qm", "Start")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # as git's own tests do
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("GIT_CONFIG_GLOBAL", raising=False)
    found, fix = missing_commit(project)
    assert found == f"git refuses {project}, which another user owns: records have no commit"
    subprocess.run(shlex.split(fix), check=True, env=os.environ)
    assert missing_commit(project) is None


def test_a_folder_without_git_has_no_commit_on_purpose(tmp_path):
    assert missing_commit(tmp_path) is None
    assert surroundings(tmp_path)["git_commit"] is None
