"""``robot-assets agent``, as a person uses it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fleet_project import run_here
from tests.robots.world import Release, World
from tests.small_release import SmallRelease, small_release


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, as on a robot."""
    command = [str(Path(sys.executable).with_name("robot-assets")), "agent", *arguments]
    environment = {**os.environ, "COLUMNS": "120"}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, for commands that ``run_here`` runs in this process."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, SmallRelease]:
    """A repository with one real release, that is assigned to the robot ``r1``."""
    world = World(tmp_path_factory.mktemp("fleet"))
    release = small_release(world.folder / "release", group=world.group)
    world.repository.publish_release(world.group, release.version, release.path)
    world.assign(Release(release.version, release.bundle_sha256, release.path))
    return world, release


def test_from_a_bare_robot_to_a_proven_release(fleet: tuple[World, SmallRelease], here: Path) -> None:
    world, release = fleet
    file = ("--robot", "etc/robot.yaml")
    names = ("--name", "r1", "--group", world.group, "--url", str(world.storage))
    done = run("install", *file, "--unit", "etc/agent.service", *names, cwd=here)
    assert done.returncode == 0, done.stderr
    public = run_here("agent", "status", *file, code=1)
    assert "trusted_keys: needed at least one entry" in public.err

    path = here / "etc" / "robot.yaml"
    text = path.read_text().replace("trusted_keys: []", f"trusted_keys: ['{release.key_line}']")
    path.write_text(text.replace("/var/lib/robot-assets", "../state").replace("reserve_mib: 256", "reserve_mib: 0"))
    key = run_here("agent", "key", *file).out.strip()
    assert f"robot-assets fleet enroll r1 {key}" in done.stdout

    missing = run_here("agent", "once", *file, code=1)
    assert "root.json cannot be read" in missing.err
    (here / "etc" / "root.json").write_bytes((world.keys / "root.json").read_bytes())

    again = run_here("agent", "install", *file, "--unit", "etc/agent.service")
    assert "robot.yaml is there, and stays as it is" in again.out
    assert f"ReadWritePaths={here}/etc/../state -" in (here / "etc" / "agent.service").read_text()
    assert f"sudo install -d -o robot-assets {here}/etc/../state" in again.out

    once = run("once", *file, "--json", cwd=here)
    assert once.returncode == 0, once.stdout + once.stderr
    assert json.loads(once.stdout)["current"] == release.version
    assert (here / "state" / "current" / "bundle.json").exists()

    status = run_here("agent", "status", *file)
    assert "r1 of robots" in status.out
    assert release.version in status.out
    assert "delivered" in status.out


def test_an_unreachable_repository_is_an_exit_code(fleet: tuple[World, SmallRelease], here: Path) -> None:
    world, release = fleet
    spec = world.robot().spec
    (here / "robot.yaml").write_text(
        f"robot: r1\ngroup: robots\nurl: nowhere\nroot: {spec.root}\nkey: {spec.key}\nstate: state\n"
        f"trusted_keys: ['{release.key_line}']\n"
    )
    found = json.loads(run_here("agent", "once", "--robot", "robot.yaml", "--json", code=1).out)
    assert "timestamp.json" in found["why"]
    assert found["last_look"] is None
    assert found["is_report_pending"] or (here / "nowhere" / "reports").exists()


def test_install_only_prints(here: Path) -> None:
    done = run_here("agent", "install", "--print", "--robot", "robot.yaml", "--name", "r1")
    assert "robot: r1" in done.out
    assert "[Service]" in done.out
    assert not list(here.iterdir())


def test_install_where_nothing_may_be_written(here: Path) -> None:
    (here / "etc").write_text("a file")
    done = run_here("agent", "install", "--robot", "etc/robot.yaml", "--unit", "unit", code=1)
    assert "cannot be written" in done.err
