"""``robot-assets fleet`` as a person uses it: making a fleet, rotating keys, enrolling robots, writing a stick."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from robot_assets.fleet.desired import ROBOTS_FILE, ROOT_FILE
from robot_assets.provenance.public_key import PublicKey
from tests.fleet_project import run_here
from tests.fleet_repository import Client, write_release
from tests.sample_params import sample_document

GROUPS = {
    "outdoor": {"robots": ["canary", "delivery_*"], "target": "cpu", "models": ["sidewalk_detector"]},
    "indoor": {"robots": ["kitchen_*"], "target": "cpu", "models": ["sidewalk_detector"]},
}
KEYS = ".robot_assets/keys/fleet"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with two groups, without a repository; the working directory."""
    root = tmp_path / "project"
    root.mkdir()
    document = {**sample_document(), "fleet": {"groups": GROUPS}}
    (root / "params.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    monkeypatch.chdir(root)
    monkeypatch.delenv("ROBOT_ASSETS_FLEET_KEYS", raising=False)
    return root


@pytest.fixture
def made(project: Path) -> Path:
    """The same with a repository, whose root keys are in ``vault``."""
    run_here("fleet", "init", "--root-out", str(project.parent / "vault"))
    return project


def root_keys(project: Path, *numbers: int, vault: str = "vault") -> list[str]:
    return [word for n in numbers for word in ("--root-key", str(project.parent / vault / f"root_{n}.pem"))]


def public_key() -> str:
    return str(PublicKey(os.urandom(32)))


def roles(*arguments: str) -> dict[str, dict[str, object]]:
    return {one["role"]: one for one in json.loads(run_here("fleet", "keys", "--json", *arguments).out)["roles"]}


def test_a_fleet_is_made_and_the_next_steps_are_named(project: Path) -> None:
    done = run_here("fleet", "init")
    assert f"made the distribution repository {project}/.robot_assets/fleet" in done.out
    assert f"3 root keys in {project}/{KEYS}/root, 2 needed to sign" in done.out
    assert "git add data/fleet && git commit" in done.out
    assert "robot-assets fleet enroll ROBOT PUBLIC_KEY" in done.out
    assert (project / ROOT_FILE).read_bytes() == (project / ".robot_assets/fleet/metadata/1.root.json").read_bytes()
    assert sorted(path.name for path in (project / KEYS / "root").iterdir()) == [f"root_{n}.pem" for n in (1, 2, 3)]


def test_a_second_fleet_is_refused_before_any_key_is_made(made: Path) -> None:
    before = {path: path.read_bytes() for path in made.rglob("*") if path.is_file()}
    error = run_here("fleet", "init", "--root-out", str(made.parent / "other"), code=1).error
    assert "is a distribution repository already" in error["found"]
    assert {path: path.read_bytes() for path in made.rglob("*") if path.is_file()} == before
    assert not (made.parent / "other").exists()


def test_a_root_without_its_repository_is_not_replaced(made: Path) -> None:
    subprocess.run(["rm", "-r", str(made / ".robot_assets" / "fleet")], check=True)
    error = run_here("fleet", "init", code=1).error
    assert f"{made}/data/fleet/root.json exists" in error["found"]
    assert "data/fleet/root.json" in error["fix"]


@pytest.mark.parametrize("options", [("--threshold", "4"), ("--root-keys", "1")])
def test_a_threshold_above_the_number_of_keys_is_refused(project: Path, options: tuple[str, ...]) -> None:
    error = run_here("fleet", "init", *options, code=1).error
    assert error["found"].startswith("a threshold of")
    assert not (project / ".robot_assets").exists()


def test_without_a_fleet_every_verb_names_the_one_that_makes_it(project: Path) -> None:
    for words in (("keys",), ("refresh",), ("rotate", "timestamp"), ("export", "--out", "usb", "--group", "outdoor")):
        error = run_here("fleet", *words, code=1).error
        assert "there is no distribution repository" in error["found"], words
        assert error["fix"].startswith("robot-assets fleet init")
    assert not (project / ".robot_assets" / "fleet").exists()


def test_keys_are_shown_with_what_is_here_and_when_they_expire(made: Path) -> None:
    shown = run_here("fleet", "keys").out
    assert "2 of 3" in shown
    found = roles()
    assert found["root"]["private"] == "not here"
    assert found["releases"]["private"] == "here"
    assert len(found["targets"]["key_ids"]) == 3  # type: ignore[arg-type]
    assert not any(one["warning"] for one in found.values())


def test_keys_are_rotated_and_the_next_steps_are_named(made: Path) -> None:
    before = roles()
    done = run_here("fleet", "rotate", "releases", *root_keys(made, 1, 3))
    assert f"copy {KEYS}/releases.pem" in done.out
    done = run_here("fleet", "rotate", "root", "--root-out", "../vault2", *root_keys(made, 2, 3))
    assert "move ../vault2 to media that is kept offline" in done.out
    after = roles()
    assert after["releases"]["key_ids"] != before["releases"]["key_ids"]
    assert after["root"]["key_ids"] == after["targets"]["key_ids"] != before["root"]["key_ids"]
    assert json.loads((made / ROOT_FILE).read_bytes())["signed"]["version"] == after["root"]["version"] == 2
    error = run_here("fleet", "refresh", *root_keys(made, 1, 2), code=1).error
    assert "2 keys that the root does not have" in error["found"]
    run_here("fleet", "refresh", *root_keys(made, 1, 2, vault="vault2"))
    assert roles()["root"]["version"] == 3


def test_a_rotation_without_its_keys_names_them(made: Path) -> None:
    error = run_here("fleet", "rotate", "timestamp", *root_keys(made, 1), code=1).error
    assert error["found"] == "1 root key of 2 that are needed"
    assert "--root-key root_1.pem --root-key root_2.pem" in error["fix"]
    error = run_here("fleet", "rotate", "root", *root_keys(made, 1, 2), code=1).error
    assert error["found"] == "no folder for the new root keys"
    error = run_here("fleet", "rotate", "timestmap", code=1).error
    assert error["found"] == "'timestmap' is no role; did you mean 'timestamp'?"
    error = run_here("fleet", "rotate", "timestamp", "--root-key", "nothing.pem", code=1).error
    assert "nothing.pem" in error["found"]


def test_robots_are_enrolled_replaced_and_removed(made: Path) -> None:
    first, second = public_key(), public_key()
    assert run_here("fleet", "enroll", "canary", first).out == "canary is enrolled; commit data/fleet/robots.yaml\n"
    assert "already enrolled" in run_here("fleet", "enroll", "canary", first).out
    error = run_here("fleet", "enroll", "canary", second, code=1).error
    assert error["fix"].startswith(f"robot-assets fleet enroll canary {second} --replace")
    run_here(*error["fix"].partition("   #")[0].split()[1:])
    assert f"canary: {second}\n" in (made / ROBOTS_FILE).read_text()
    assert "removed" in run_here("fleet", "enroll", "canary", "--remove").out
    assert "canary" not in (made / ROBOTS_FILE).read_text()
    assert "no public key for 'canary'" in run_here("fleet", "enroll", "canary", code=1).error["found"]
    assert "--remove" in run_here("fleet", "enroll", "canary", first, "--remove", code=1).error["found"]


def test_what_people_typed_cannot_drive_the_terminal(made: Path) -> None:
    for words in (("enroll", "\x1b[31mred", public_key()), ("publish", "\x1b[31mred"), ("rotate", "\x1b[31mred")):
        done = run_here("fleet", *words, code=1)
        assert "\x1b" not in done.out + done.err
        assert "[31mred" in done.err


def test_a_stick_is_written_for_the_groups_that_have_a_release(made: Path) -> None:
    from datetime import UTC, datetime

    from robot_assets.fleet.assignments import Assignments
    from robot_assets.fleet.desired import open_repository
    from robot_assets.pipeline.project import Project

    error = run_here("fleet", "export", "--out", "usb", "--group", "outdor", code=1).error
    assert error["found"] == "'outdor' is no group of robots; did you mean 'outdoor'?"
    error = run_here("fleet", "export", "--out", "usb", "--group", "outdoor", code=1).error
    assert error["fix"] == "robot-assets build rollout/outdoor"
    repository = open_repository(made, Project(made).params.fleet)
    version = write_release(made / "release", group="outdoor")
    now = datetime.now(UTC)
    repository.publish_release("outdoor", version, made / "release")
    sha256 = repository.bundle_sha256("outdoor", version)
    given = Assignments(group="outdoor", release=version, bundle_sha256=sha256, issued_at=now.isoformat())
    repository.publish_assignments(given, now)
    done = run_here("fleet", "export", "--out", "usb", "--group", "outdoor")
    assert f"outdoor  {version[:12]}" in done.out
    assert "4 files" in done.out
    assert "read back and verified" in done.out
    robot = Client(made / "usb", (made / ROOT_FILE).read_bytes(), made / "robot")
    assert robot.assignments("outdoor") == given


def test_what_nobody_can_install_is_removed(made: Path) -> None:
    (made / ".robot_assets/fleet/blobs").mkdir()
    (made / ".robot_assets/fleet/blobs" / ("0" * 64)).write_bytes(b"x" * 2**20)
    assert "removed 0 files, 0.0 MiB" in run_here("fleet", "prune").out
    assert "removed 1 file, 1.0 MiB" in run_here("fleet", "prune", "--days", "0").out


def test_a_repository_without_its_key_folder_names_the_variable(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROBOT_ASSETS_FLEET_KEYS", str(made.parent / "elsewhere"))
    assert {one["private"] for one in roles().values()} == {"not here"}
    error = run_here("fleet", "refresh", code=1).error
    assert f"{made.parent}/elsewhere/snapshot.pem" in error["found"]
    assert error["fix"].startswith("export ROBOT_ASSETS_FLEET_KEYS=FOLDER")


SCRIPT = """
mount -t tmpfs -o size={size} tmpfs {disk} || exit 77
cp -r {project}/. {disk} && cd {disk} || exit 77
{prepare}
{python} {words} && exit 1
{repair}
{python} {words} > /dev/null && cp -r {disk}/. {after}
"""


@pytest.mark.parametrize(
    ("words", "prepare", "repair", "found"),
    [
        ("fleet init", "", "mount -o remount,size=8m {disk}", "no space left on {disk}"),
        ("fleet refresh", "FILL", "rm {disk}/filler", "no space left on {disk}"),
        (
            "fleet refresh",
            "mount -o remount,ro {disk}",
            "mount -o remount,rw {disk}",
            "the file system is read-only",
        ),
        (
            "fleet enroll canary ed25519:CkTefdLuMJH6kAruXTZdjYT2KXznvCnvTO+MiTj0l5k=",
            "FILL",
            "rm {disk}/filler",
            "no space left on {disk}",
        ),
    ],
)
def test_a_full_or_read_only_disk_is_named_and_a_rerun_completes(
    project: Path, monkeypatch: pytest.MonkeyPatch, words: str, prepare: str, repair: str, found: str
) -> None:
    if words != "fleet init":
        run_here("fleet", "init")
    disk, after = project.parent / "disk", project.parent / "after"
    disk.mkdir()
    after.mkdir()
    names = {"disk": str(disk), "python": f"{sys.executable} -c 'from robot_assets.cli.main import main; main()'"}
    fill = f"(head -c 16m /dev/zero > {disk}/filler 2> /dev/null; true)"
    script = SCRIPT.format(
        size="24k" if words == "fleet init" else "512k",
        project=project,
        after=after,
        words=words,
        prepare=prepare.format(**names).replace("FILL", fill),
        repair=repair.format(**names),
        **names,
    )
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "bash", "-c", script], capture_output=True, text=True
    )
    if done.returncode == 77 or "unshare failed" in done.stderr:
        pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert found.format(**names) in done.stderr
    assert "store.url" not in done.stderr
    assert "Traceback" not in done.stderr
    monkeypatch.chdir(after)
    assert roles()["timestamp"]["private"] == "here"


def test_a_release_is_signed_where_the_key_is(made: Path) -> None:
    """A release that was built elsewhere, by its version in the store."""
    from robot_assets.fleet.desired import open_repository
    from robot_assets.pipeline.project import Project

    write_release(made / "release", group="outdoor")
    version = Project(made).store.add(made / "release").digest
    done = run_here("fleet", "publish", "outdoor", "--release", version[:12])
    assert done.out == f"release/outdoor {version[:12]} published at {made}/.robot_assets/fleet\n"
    assert "was published already" in run_here("fleet", "publish", "outdoor", "--release", version).out
    assert open_repository(made, Project(made).params.fleet).bundle_sha256("outdoor", version)
    error = run_here("fleet", "publish", "indoor", "--release", version, code=1).error
    assert "is of the group outdoor" in error["found"]
    assert error["fix"].startswith("robot-assets fleet publish indoor ")
    (made / KEYS / "releases.pem").unlink()
    error = run_here("fleet", "publish", "outdoor", "--release", version, code=1).error
    assert "no private key of the role releases" in error["found"]


@pytest.mark.parametrize("damage", ["removed", "shortened", "altered"])
def test_damaged_files_of_a_release_are_replaced(made: Path, damage: str) -> None:
    from robot_assets.pipeline.project import Project

    write_release(made / "release", group="outdoor")
    publish = ("fleet", "publish", "outdoor", "--release", Project(made).store.add(made / "release").digest)
    run_here(*publish)
    stored = next(iter((made / ".robot_assets" / "fleet" / "blobs").iterdir()))
    content = stored.read_bytes()
    if damage == "removed":
        stored.unlink()
    else:
        stored.write_bytes(content[:-1] if damage == "shortened" else content.swapcase())
    assert "was published already" in run_here(*publish, "--repair").out
    assert stored.read_bytes() == content
