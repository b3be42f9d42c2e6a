"""``robot-assets agent``, as a person uses it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.robots.world import Release, World
from tests.small_release import SmallRelease, small_release


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("robot-assets")), "agent", *arguments]
    environment = {**os.environ, "COLUMNS": "120"}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, SmallRelease]:
    """A repository with one real release, that is assigned to the robot ``r1``."""
    world = World(tmp_path_factory.mktemp("fleet"))
    release = small_release(world.folder / "release", group=world.group)
    world.repository.publish_release(world.group, release.version, release.path)
    world.assign(Release(release.version, release.bundle_sha256, release.path))
    return world, release


def test_from_a_bare_robot_to_a_proven_release(fleet: tuple[World, SmallRelease], tmp_path: Path) -> None:
    world, release = fleet
    file = ("--robot", "etc/robot.yaml")
    names = ("--name", "r1", "--group", world.group, "--url", str(world.storage))
    done = run("install", *file, "--unit", "etc/agent.service", *names, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    public = run("status", *file, cwd=tmp_path)
    assert "trusted_keys: needed at least one entry" in public.stderr

    path = tmp_path / "etc" / "robot.yaml"
    text = path.read_text().replace("trusted_keys: []", f"trusted_keys: ['{release.key_line}']")
    path.write_text(text.replace("/var/lib/robot-assets", "../state").replace("reserve_mib: 256", "reserve_mib: 0"))
    key = run("key", *file, cwd=tmp_path).stdout.strip()
    assert f"robot-assets fleet enroll r1 {key}" in done.stdout

    missing = run("once", *file, cwd=tmp_path)
    assert missing.returncode == 1
    assert "root.json cannot be read" in missing.stderr
    (tmp_path / "etc" / "root.json").write_bytes((world.keys / "root.json").read_bytes())

    again = run("install", *file, "--unit", "etc/agent.service", cwd=tmp_path)
    assert "robot.yaml is there, and stays as it is" in again.stdout
    assert f"ReadWritePaths={tmp_path}/etc/../state -" in (tmp_path / "etc" / "agent.service").read_text()
    assert f"sudo install -d -o robot-assets {tmp_path}/etc/../state" in again.stdout

    once = run("once", *file, "--json", cwd=tmp_path)
    assert once.returncode == 0, once.stdout + once.stderr
    assert json.loads(once.stdout)["current"] == release.version
    assert (tmp_path / "state" / "current" / "bundle.json").exists()

    status = run("status", *file, cwd=tmp_path)
    assert status.returncode == 0
    assert "r1 of robots" in status.stdout
    assert release.version in status.stdout
    assert "delivered" in status.stdout


def test_an_unreachable_repository_is_an_exit_code(fleet: tuple[World, SmallRelease], tmp_path: Path) -> None:
    world, release = fleet
    spec = world.robot().spec
    (tmp_path / "robot.yaml").write_text(
        f"robot: r1\ngroup: robots\nurl: nowhere\nroot: {spec.root}\nkey: {spec.key}\nstate: state\n"
        f"trusted_keys: ['{release.key_line}']\n"
    )
    done = run("once", "--robot", "robot.yaml", "--json", cwd=tmp_path)
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert "timestamp.json" in found["why"]
    assert found["last_look"] is None
    assert found["is_report_pending"] or (tmp_path / "nowhere" / "reports").exists()


def test_install_only_prints(tmp_path: Path) -> None:
    done = run("install", "--print", "--robot", "robot.yaml", "--name", "r1", cwd=tmp_path)
    assert done.returncode == 0
    assert "robot: r1" in done.stdout
    assert "[Service]" in done.stdout
    assert not list(tmp_path.iterdir())


def test_install_where_nothing_may_be_written(tmp_path: Path) -> None:
    (tmp_path / "etc").write_text("a file")
    done = run("install", "--robot", "etc/robot.yaml", "--unit", "unit", cwd=tmp_path)
    assert done.returncode == 1
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
