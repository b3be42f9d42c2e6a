"""``store.url`` and the default remote of DVC are one place; where they are not, the command that fixes it is given."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from robot_assets.store import Store, write_pointer
from robot_assets.store.dvc_config import configuration, drift


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder of a project with a blank in its name."""
    folder = tmp_path / "my robot"
    (folder / ".dvc").mkdir(parents=True)
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    return folder


def run(command: Path, fix: str, cwd: Path) -> None:
    """Run a fix with the real ``dvc``."""
    arguments = shlex.split(fix)
    assert arguments[0] == "dvc"
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    subprocess.run([command, *arguments[1:]], cwd=cwd, env=environment, check=True, capture_output=True)


URLS = [".robot_assets/store", "/srv/shared store", "s3://bucket/a,b", "s3://bucket/prefix"]


@pytest.mark.parametrize("url", URLS)
def test_what_init_writes_agrees(root: Path, url: str, dvc_command: Path) -> None:
    (root / ".dvc" / "config").write_text(configuration(url))
    assert drift(root, url) is None
    done = subprocess.run([dvc_command, "remote", "list"], cwd=root, check=True, capture_output=True, text=True)
    place = str(root / url) if url.startswith(".") else url
    assert place in done.stdout.replace("\n", "")


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize(
    "config",
    [
        configuration(".robot_assets/elsewhere"),
        "[core]\n    remote = s\n['remote \"s\"']\n    url = s3://other/prefix\n",
        "[core]\n    remote = gone\n",
        "[core]\n    analytics = false\n",
        "['remote \"store\"']\n    url = s3://other/prefix\n",
        "",
    ],
)
def test_a_drift_is_named_and_its_fix_ends_it(root: Path, url: str, config: str, dvc_command: Path) -> None:
    (root / ".dvc" / "config").write_text(config)
    found = drift(root, url)
    assert found is not None
    assert f"store.url in params.yaml is {url}" in found.found
    run(dvc_command, found.fix, root.parent)
    assert drift(root, url) is None


def test_a_local_configuration_counts_first(root: Path, dvc_command: Path) -> None:
    (root / ".dvc" / "config").write_text(configuration(".robot_assets/store"))
    (root / ".dvc" / "config.local").write_text("['remote \"store\"']\n    url = /tmp/mine\n")
    found = drift(root, ".robot_assets/store")
    assert found is not None
    assert "--local" in found.fix
    run(dvc_command, found.fix, root)
    assert drift(root, ".robot_assets/store") is None


def test_credentials_are_masked_and_equal_places_are_equal(root: Path) -> None:
    (root / ".dvc" / "config").write_text('[core]\nremote = a\n[remote "a"]\nurl = https://me:secret@host/x\n')
    found = drift(root, "s3://bucket")
    assert found is not None
    assert "secret" not in str(found)
    (root / ".dvc" / "config").write_text(f"[core]\nremote = a\n['remote \"a\"']\nurl = {root}/.robot_assets/../x/\n")
    assert drift(root, "x") is None
    assert drift(root, f"file://{root}/x") is None


def test_a_project_without_dvc_has_no_drift(tmp_path: Path) -> None:
    assert drift(tmp_path, "s3://bucket") is None


def test_dvc_pull_reads_where_we_wrote(root: Path, dvc_command: Path) -> None:
    (root / ".dvc" / "config").write_text(configuration(".robot_assets/store"))
    (root / "yard").mkdir()
    (root / "yard" / "a.txt").write_text("a")
    write_pointer(root / "yard.dvc", Store(root / ".robot_assets/store").add(root / "yard"))
    (root / "yard" / "a.txt").unlink()
    run(dvc_command, "dvc pull -q --force", root)
    assert (root / "yard" / "a.txt").read_text() == "a"


def test_a_configuration_in_conflict_is_named_with_a_fix_that_works_in_that_state(root: Path) -> None:
    def git(*arguments: str) -> int:
        identity = ["-c", "user.name=someone", "-c", "user.email=someone@example.com"]
        return subprocess.run(["git", *identity, *arguments], cwd=root, capture_output=True).returncode

    file = root / ".dvc" / "config"
    for branch in ("base", "ours", "theirs"):
        git("checkout", "-q", "-b", branch, *(["base"] if branch != "base" else []))
        file.write_text(configuration(f"s3://{branch}/prefix"))
        git("add", ".")
        assert git("commit", "-qm", branch) == 0
    git("checkout", "-q", "ours")
    assert git("merge", "-q", "theirs") == 1
    found = drift(root, "s3://ours/prefix")
    assert found is not None
    assert f"{file} has conflict markers of git, the first in line " in found.found
    subprocess.run(shlex.split(found.fix, comments=True), cwd=root, check=True)
    assert drift(root, "s3://ours/prefix") is None


@pytest.mark.parametrize("text", ["[[[\n", "[core]\n    remote\n", "[core\nremote = x\n"])
def test_a_line_that_dvc_cannot_read_is_named(root: Path, text: str, dvc_command: Path) -> None:
    (root / ".dvc" / "config").write_text(configuration("store") + text)
    found = drift(root, "store")
    assert found is not None
    assert "is neither [SECTION] nor KEY = VALUE: dvc cannot read it" in found.found
    done = subprocess.run([dvc_command, "remote", "list"], cwd=root, capture_output=True, text=True)
    assert done.returncode
