"""Keys of the repository: made, rotated with the overlap that robots need, and never where others can read them."""

from __future__ import annotations

import os
import shutil
import stat
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from robot_assets.fleet.errors import FleetError
from robot_assets.fleet.files import Files
from robot_assets.fleet.inventory import inventory
from robot_assets.fleet.keys import (
    keys_folder,
    make_root_keys,
    offline_folder,
    read_key,
    read_root_keys,
    role_key,
)
from robot_assets.fleet.layout import ONLINE_ROLES
from robot_assets.fleet.renewal import repair
from robot_assets.fleet.repository import Repository
from robot_assets.fleet.rotation import rotate, rotate_root
from robot_assets.provenance.keys import create_key
from tests.fleet_repository import GROUP, NOW, Interrupted, Killed, Yard, client, new_yard, write_release

DAY = timedelta(days=1)


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    return new_yard(tmp_path)


def root_key(yard: Yard) -> list[Path]:
    return [yard.folder / "keys" / "root" / "root_1.pem"]


def key_id(yard: Yard, role: str) -> str:
    return role_key(yard.folder / "keys", role).public_key.keyid


def test_private_keys_are_readable_by_their_owner_alone_and_never_published(yard: Yard) -> None:
    keys = yard.folder / "keys"
    for path in (*keys.glob("*.pem"), *root_key(yard)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    published = b"".join(path.read_bytes() for path in Path(yard.url).rglob("*") if path.is_file())
    assert b"PRIVATE" not in published
    assert {path.stem for path in keys.glob("*.pem")} == set(ONLINE_ROLES)


def test_every_role_has_a_key_of_its_own_and_root_and_targets_share_theirs(yard: Yard) -> None:
    rows = {row.role: row for row in inventory(yard.repository.place, NOW)}
    assert rows["root"].key_ids == rows["targets"].key_ids
    assert len({row.key_ids for row in rows.values()}) == 5
    assert rows["root"].private == "1 of 1 here: move them offline"
    assert all(rows[role].private == "here" for role in ONLINE_ROLES)
    assert all(rows[role].key_ids == (key_id(yard, role),) for role in ONLINE_ROLES)
    root_key(yard)[0].unlink()
    (yard.folder / "keys" / "snapshot.pem").unlink()
    rows = {row.role: row for row in inventory(yard.repository.place, NOW)}
    assert rows["root"].private == rows["snapshot"].private == "not here"


def test_what_expires_soon_is_named_with_the_command_that_renews_it(yard: Yard) -> None:
    assert not any(row.warning for row in inventory(yard.repository.place, NOW))
    soon = {row.role: row.warning for row in inventory(yard.repository.place, NOW + 306 * DAY)}
    assert soon["root"].startswith("expires in 59 days: robot-assets fleet refresh --root-key")
    assert soon["releases"] == "expires in 59 days: robot-assets fleet refresh"
    assert "robots take nothing new" in soon["timestamp"]


@pytest.mark.parametrize("role", ONLINE_ROLES)
def test_robots_follow_a_rotated_key(yard: Yard, role: str) -> None:
    version = yard.release()
    yard.assign(version, "mower_1")
    robot = client(yard)
    robot.assignments()
    old = key_id(yard, role)
    rotate(yard.repository.place, role, read_root_keys(root_key(yard)), NOW)
    assert key_id(yard, role) != old
    assert robot.assignments().install == ("mower_1",)
    assert robot.bundle(version)
    new = yard.release(b"new")
    yard.assign(new, "mower_2")
    assert robot.assignments().release == new
    assert client(yard, "new").assignments().release == new


@pytest.mark.parametrize("role", ONLINE_ROLES)
def test_a_robot_with_the_old_root_and_one_with_the_new_accept_what_is_published_between(yard: Yard, role: str) -> None:
    """Timestamp and snapshot have the signatures of both keys before the new root is there."""
    yard.assign(None, "mower_1")
    rotate(yard.repository.place, role, read_root_keys(root_key(yard)), NOW)
    (yard.metadata / "2.root.json").unlink(missing_ok=True)
    assert client(yard).assignments().install == ("mower_1",)


@pytest.mark.parametrize("role", ONLINE_ROLES)
def test_the_old_key_signs_nothing_any_more(yard: Yard, role: str) -> None:
    shutil.copytree(yard.folder / "keys", yard.folder / "old")
    version = yard.release()
    rotate(yard.repository.place, role, read_root_keys(root_key(yard)), NOW)
    old = Repository(Files(yard.url), yard.folder / "old", yard.folder / "root.json")
    (yard.folder / "old" / "seen_versions.json").unlink()
    other = write_release(yard.folder / "other", b"other")
    publish_release = partial(old.publish_release, GROUP, other, yard.folder / "other", now=NOW)
    publish_assignments = partial(old.publish_assignments, yard.assignments(version, "mower_1"), NOW)
    with pytest.raises(FleetError, match=f"is another key than that of the role {role}"):
        (publish_release if role == "releases" else publish_assignments)()


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("is_lost", [False, True])
@pytest.mark.parametrize("role", ["timestamp", "releases"])
def test_a_rotation_that_is_killed_at_any_write_is_finished_by_the_next(
    tmp_path: Path, role: str, is_lost: bool, after: bool
) -> None:
    first = new_yard(tmp_path / "first")
    version = first.release()
    first.assign(version, "mower_1")
    if is_lost:
        (first.folder / "keys" / f"{role}.pem").unlink()
    at, is_done = 0, False
    while not is_done:
        folder = tmp_path / str(at)
        shutil.copytree(first.folder, folder)
        yard = Yard(folder, str(folder / "repository"))
        killed = Repository(Killed(yard.url, at, after=after), folder / "keys", folder / "root.json")
        signers = read_root_keys(root_key(yard))
        try:
            rotate(killed.place, role, signers, NOW)
            is_done = True
        except Interrupted:
            if not is_lost:
                assert client(yard).assignments().install == ("mower_1",), "robots accept every state between"
            rotate(yard.repository.place, role, signers, NOW)
        assert client(yard).assignments().install == ("mower_1",)
        assert client(yard).knows(version)
        yard.assign(yard.release(b"new"), "mower_2")
        assert client(yard).assignments().install == ("mower_2",)
        at += 1
    assert at >= 3


@pytest.mark.parametrize("after", [False, True])
def test_robots_follow_new_root_keys_whenever_the_rotation_was_killed(tmp_path: Path, after: bool) -> None:
    first = new_yard(tmp_path / "first")
    first.assign(None, "mower_1")
    at, is_done = 0, False
    while not is_done:
        folder = tmp_path / str(at)
        shutil.copytree(first.folder, folder)
        yard = Yard(folder, str(folder / "repository"))
        robot = client(yard)
        robot.assignments()
        old, new = read_root_keys(root_key(yard)), make_root_keys(folder / "vault", 3, 2)
        killed = Repository(Killed(yard.url, at, after=after), folder / "keys", folder / "root.json")
        try:
            rotate_root(killed.place, old, new, NOW)
            is_done = True
        except Interrupted:
            assert robot.assignments().install == ("mower_1",)
            rotate_root(yard.repository.place, old, new, NOW)
        yard.assign(None, "mower_2")
        assert robot.assignments().install == ("mower_2",)
        rows = {row.role: row for row in inventory(yard.repository.place, NOW)}
        assert len(rows["root"].key_ids) == 3
        assert rows["targets"].threshold == 2
        at += 1
    assert at > 3


def test_rotations_need_the_threshold_of_root_keys(tmp_path: Path) -> None:
    keys = make_root_keys(tmp_path / "vault", 3, 2)
    Repository.create(Files(str(tmp_path / "r")), tmp_path / "keys", tmp_path / "root.json", root_keys=keys, now=NOW)
    place = Repository(Files(str(tmp_path / "r")), tmp_path / "keys", tmp_path / "root.json").place
    stranger = tmp_path / "stranger.pem"
    create_key(stranger)
    paths = sorted((tmp_path / "vault").iterdir())
    for given, found in (
        ([], "0 root keys of 2"),
        ([paths[0], paths[0]], "1 root key of 2"),
        ([paths[0], stranger], "1 root key of 2 that are needed, and 1 key that the root does not have"),
    ):
        with pytest.raises(FleetError, match=found) as caught:
            rotate(place, "timestamp", read_root_keys(given), NOW)
        assert caught.value.fix.startswith("robot-assets fleet rotate timestamp --root-key")
        assert not (tmp_path / "keys" / "timestamp.next.pem").exists()
    assert rotate(place, "timestamp", read_root_keys([paths[2], paths[0]]), NOW).root_version == 2


def test_the_present_root_keys_are_no_new_ones(yard: Yard) -> None:
    present = make_root_keys(yard.folder / "keys" / "root", 1, 1)
    with pytest.raises(FleetError, match="these are the present root keys"):
        rotate_root(yard.repository.place, present.signers, present, NOW)


def test_of_a_compromised_key_only_what_is_assigned_stays(yard: Yard) -> None:
    assigned, other = yard.release(b"assigned"), yard.release(b"other")
    yard.assign(assigned, "mower_1")
    unpublished = yard.release(b"unpublished")
    rotate(yard.repository.place, "releases", read_root_keys(root_key(yard)), NOW, is_compromised=True)
    robot = client(yard)
    assert robot.knows(assigned)
    assert not robot.knows(other)
    assert not robot.knows(unpublished)


def test_a_lost_key_of_the_timestamp_is_replaced_and_the_repository_repaired(yard: Yard) -> None:
    yard.assign(None, "mower_1")
    robot = client(yard)
    robot.assignments()
    (yard.folder / "keys" / "timestamp.pem").unlink()
    rotate(yard.repository.place, "timestamp", read_root_keys(root_key(yard)), NOW)
    repair(yard.repository.place, NOW)
    assert robot.assignments().install == ("mower_1",)


def test_root_keys_are_not_made_where_everybody_reads(yard: Yard) -> None:
    keys = yard.folder / "keys"
    assert offline_folder(keys, None, yard.repository.files) == keys / "root"
    with pytest.raises(FleetError, match="is inside the repository"):
        offline_folder(keys, Path(yard.url) / "vault", yard.repository.files)


@pytest.mark.parametrize(("count", "threshold"), [(1, 2), (3, 0), (0, 0)])
def test_a_threshold_that_cannot_be_reached_makes_no_key(tmp_path: Path, count: int, threshold: int) -> None:
    with pytest.raises(FleetError, match="a threshold of"):
        make_root_keys(tmp_path / "vault", count, threshold)
    assert not (tmp_path / "vault").exists()


def test_the_folder_of_keys_is_named_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROBOT_ASSETS_FLEET_KEYS", raising=False)
    assert keys_folder(tmp_path) == tmp_path / ".robot_assets" / "keys" / "fleet"
    monkeypatch.setenv("ROBOT_ASSETS_FLEET_KEYS", "/run/secrets/fleet")
    assert keys_folder(tmp_path) == Path("/run/secrets/fleet")
    monkeypatch.setenv("ROBOT_ASSETS_FLEET_KEYS", "$NOWHERE_AT_ALL/fleet")
    with pytest.raises(FleetError, match="NOWHERE_AT_ALL is not set"):
        keys_folder(tmp_path)


def test_a_key_that_others_can_read_is_refused(yard: Yard) -> None:
    path = yard.folder / "keys" / "timestamp.pem"
    path.chmod(0o644)
    with pytest.raises(FleetError, match="others than its owner can read") as caught:
        yard.assign(None)
    assert caught.value.fix.startswith(f"chmod 600 {path}")
    path.chmod(0o600)
    path.write_text("not a key")
    with pytest.raises(FleetError, match="does not hold a private key") as caught:
        read_key(path)
    assert caught.value.fix.startswith("ls -l")


def test_a_read_only_folder_of_keys_signs(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a secret of a cluster: nothing is remembered there."""
    from robot_assets.fleet import seen

    def refuse(path: Path) -> None:
        raise OSError(30, "Read-only file system", str(path))

    monkeypatch.setattr(seen, "publishing_file", refuse)
    before = (yard.folder / "keys" / "seen_versions.json").read_bytes()
    yard.assign(None, "mower_1")
    assert client(yard).assignments().install == ("mower_1",)
    assert (yard.folder / "keys" / "seen_versions.json").read_bytes() == before
    assert os.listdir(yard.folder / "keys")
