"""The distribution repository: what robots see of it, what its writer refuses, and what a crash leaves."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from robot_assets.fleet.assignments import Assignments, Recall
from robot_assets.fleet.errors import FleetError
from robot_assets.fleet.files import Files
from robot_assets.fleet.keys import read_root_keys
from robot_assets.fleet.layout import blob, release_target
from robot_assets.fleet.lock import repository_lock
from robot_assets.fleet.metadata import metadata_path
from robot_assets.fleet.pruning import prune
from robot_assets.fleet.published import newest
from robot_assets.fleet.renewal import refresh, repair
from robot_assets.fleet.repository import Repository
from robot_assets.provenance.keys import create_key
from tests.fleet_repository import GROUP, NOW, Interrupted, Killed, Yard, client, new_yard, write_release

DAY = timedelta(days=1)


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    return new_yard(tmp_path)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def test_a_robot_finds_what_was_assigned_with_python_tuf_alone(yard: Yard) -> None:
    version = yard.release()
    yard.assign(version, "mower_1")
    robot = client(yard)
    assigned = robot.assignments()
    assert assigned == yard.repository.assignments(GROUP)
    assert (assigned.release, assigned.install) == (version, ("mower_1",))
    bundle = json.loads(robot.bundle(version))
    for file in bundle["files"]:
        assert len((Path(yard.url) / blob(file["sha256"])).read_bytes()) == file["size"]


def test_a_release_is_seen_with_the_next_assignments(yard: Yard) -> None:
    yard.assign(None)
    version = yard.release()
    assert yard.repository.bundle_sha256(GROUP, version) is not None
    assert not client(yard).knows(version)
    yard.assign(version)
    assert client(yard).knows(version)


def test_a_release_needs_the_key_of_releases_alone(yard: Yard, tmp_path: Path) -> None:
    version = write_release(tmp_path / "release")
    alone = tmp_path / "builder"
    alone.mkdir()
    shutil.copy(tmp_path / "keys" / "releases.pem", alone)
    builder = Repository(Files(yard.url), alone, tmp_path / "root.json")
    assert builder.publish_release(GROUP, version, tmp_path / "release", now=NOW)
    assert not builder.publish_release(GROUP, version, tmp_path / "release", now=NOW)
    with pytest.raises(FleetError, match="no private key of the role assignments") as caught:
        builder.publish_assignments(yard.assignments(version), NOW)
    assert "ROBOT_ASSETS_FLEET_KEYS" in caught.value.fix


def test_assignments_need_no_key_of_releases(yard: Yard, tmp_path: Path) -> None:
    version = yard.release()
    (tmp_path / "keys" / "releases.pem").unlink()
    assert yard.assign(version, "mower_1")


def test_another_key_than_the_expected_one_signs_nothing(yard: Yard, tmp_path: Path) -> None:
    before = names(yard.metadata)
    key = tmp_path / "keys" / "timestamp.pem"
    key.unlink()
    create_key(key)
    with pytest.raises(FleetError, match="is another key than that of the role timestamp"):
        yard.repository.publish_assignments(yard.assignments(None), NOW)
    assert names(yard.metadata) - before <= {"2.assignments.json"}
    assert client(yard).knows("f" * 32) is False


def test_what_did_not_change_costs_a_robot_two_small_requests(yard: Yard) -> None:
    version = yard.release()
    assert yard.assign(version, "mower_1")
    robot = client(yard)
    robot.assignments()
    assert not yard.assign(version, "mower_1", now=NOW + DAY)
    robot.fetcher.requests.clear()
    robot.fetcher.size_bytes = 0
    robot.poll()
    assert robot.fetcher.requests == ["2.root.json", "timestamp.json"]
    assert robot.fetcher.size_bytes < 1000


def test_the_time_of_equal_assignments_is_renewed_with_half_of_the_validity_left(yard: Yard) -> None:
    yard.assign(None)
    assert not yard.assign(None, now=NOW + 3 * DAY)
    assert yard.repository.assignments(GROUP) == yard.assignments(None)
    yard.assign(None, now=NOW + 4 * DAY)
    assert yard.repository.assignments(GROUP) == yard.assignments(None, at=NOW + 4 * DAY)


def test_nothing_is_published_for_a_group_at_first(yard: Yard) -> None:
    assert yard.repository.exists
    assert yard.repository.assignments(GROUP) is None
    assert yard.repository.bundle_sha256(GROUP, "f" * 32) is None


def test_without_a_repository_the_command_that_makes_one_is_named(tmp_path: Path) -> None:
    repository = Repository(Files(str(tmp_path / "nothing")), tmp_path / "keys")
    assert not repository.exists
    for call in (lambda: repository.assignments(GROUP), lambda: repository.bundle_sha256(GROUP, "f" * 32)):
        with pytest.raises(FleetError, match="no distribution repository") as caught:
            call()
        assert caught.value.fix.startswith("robot-assets fleet init")


def test_a_repository_is_not_made_twice(yard: Yard, tmp_path: Path) -> None:
    before = (tmp_path / "root.json").read_bytes()
    with pytest.raises(FleetError, match="is a distribution repository already"):
        new_yard(tmp_path)
    other = tmp_path / "other"
    with pytest.raises(FleetError, match="is a distribution repository already"):
        Repository.create(Files(yard.url), other / "keys", other / "root.json", now=NOW)
    assert (tmp_path / "root.json").read_bytes() == before


@pytest.mark.parametrize("after", [False, True])
def test_a_repository_that_is_made_halfway_is_finished_with_the_same_keys(tmp_path: Path, after: bool) -> None:
    for at in range(7):
        folder = tmp_path / str(at)
        url = str(folder / "repository")
        made = False
        try:
            Repository.create(Killed(url, at, after=after), folder / "keys", folder / "root.json", now=NOW)
            made = True
        except Interrupted:
            key = (folder / "keys" / "timestamp.pem").read_bytes()
            new_yard(folder)
            assert (folder / "keys" / "timestamp.pem").read_bytes() == key
        yard = Yard(folder, url)
        yard.assign(None, "mower_1")
        assert client(yard).assignments().install == ("mower_1",)
    assert made, "the last position is after the last write"


@pytest.mark.parametrize("after", [False, True])
def test_a_kill_at_any_write_leaves_the_old_state_or_the_new_one(tmp_path: Path, after: bool) -> None:
    first = new_yard(tmp_path / "first")
    old = first.release(b"old")
    first.assign(old, "mower_1")
    positions = 0
    is_done = False
    while not is_done:
        at = positions
        folder = tmp_path / str(at)
        shutil.copytree(tmp_path / "first", folder)
        yard = Yard(folder, str(folder / "repository"))
        new = write_release(folder / "new", b"new")
        assert client(yard).assignments().release == old
        repository = Repository(Killed(yard.url, at, after=after), folder / "keys", folder / "root.json")
        try:
            repository.publish_release(GROUP, new, folder / "new", now=NOW)
            repository.publish_assignments(yard.assignments(new, "mower_1"), NOW)
            is_done = True
        except Interrupted:
            positions += 1
        assert client(yard).assignments().release in (old, new)
        yard.repository.publish_release(GROUP, new, folder / "new", now=NOW)
        yard.assign(new, "mower_1")
        robot = client(yard)
        assert robot.assignments().release == new
        assert json.loads(robot.bundle(new))["group"] == GROUP
        assert not yard.assign(new, "mower_1")
    assert positions >= 8


ALTERATIONS: dict[str, Callable[[bytes], bytes]] = {
    "cut in half": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "another version": lambda content: content.replace(b'"version":', b'"version":1'),
    "of another kind": lambda content: b'{"signatures":[],"signed":{"_type":"mirrors"}}',
    "no JSON": lambda content: b"\x00\xff",
}


@pytest.mark.parametrize("alteration", ALTERATIONS)
@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", "releases", "assignments"])
def test_no_successor_of_altered_metadata_is_signed(yard: Yard, role: str, alteration: str) -> None:
    version = yard.release()
    yard.assign(version)
    present = yard.repository.place.published().versions[role]
    path = Path(yard.url) / metadata_path(role, present)
    path.write_bytes(ALTERATIONS[alteration](path.read_bytes()))
    before = names(yard.metadata)
    with pytest.raises(FleetError) as caught:
        yard.repository.publish_assignments(
            Assignments(group=GROUP, release=None, bundle_sha256=None, issued_at=NOW.isoformat()), NOW
        )
    assert str(path) in caught.value.found
    assert caught.value.fix.startswith("robot-assets fleet refresh --repair")
    with pytest.raises(FleetError):
        yard.release(b"other")
    assert names(yard.metadata) == before


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "releases", "assignments"])
def test_a_damaged_repository_is_repaired_from_what_verifies(yard: Yard, role: str) -> None:
    old, new = yard.release(b"old"), yard.release(b"new")
    yard.assign(old, "mower_1")
    robot = client(yard)
    assert robot.assignments().release == old
    path = Path(yard.url) / metadata_path(role, yard.repository.place.published().versions[role])
    path.write_bytes(path.read_bytes()[:100])
    repair(yard.repository.place, NOW)
    if role == "releases":
        yard.release(b"new")
        yard.release(b"old")
    yard.assign(new, "mower_1")
    assert robot.assignments().release == new
    assert client(yard, "another").assignments().release == new


def test_a_lost_timestamp_is_signed_again(yard: Yard) -> None:
    yard.assign(None, "mower_1")
    robot = client(yard)
    robot.assignments()
    (yard.metadata / "timestamp.json").unlink()
    with pytest.raises(FleetError, match=r"timestamp\.json is missing") as caught:
        yard.assign(None, "mower_2")
    assert caught.value.fix.startswith("robot-assets fleet refresh --repair")
    repair(yard.repository.place, NOW)
    yard.assign(None, "mower_2")
    assert robot.assignments().install == ("mower_2",)


def test_metadata_that_others_signed_is_not_a_basis(yard: Yard, tmp_path: Path) -> None:
    stranger = new_yard(tmp_path / "stranger")
    stranger.release(b"malicious")
    forged = stranger.metadata / "2.releases.json"
    shutil.copy(forged, yard.metadata / "2.releases.json")
    with pytest.raises(FleetError, match="is not signed by the keys of the role releases") as caught:
        yard.release()
    assert caught.value.fix.startswith(f"rm {yard.metadata / '2.releases.json'}")
    (yard.metadata / "2.releases.json").unlink()
    assert yard.assign(yard.release())


def test_a_root_that_the_old_keys_did_not_sign_is_refused(yard: Yard, tmp_path: Path) -> None:
    stranger = new_yard(tmp_path / "stranger")
    keys = read_root_keys([tmp_path / "stranger" / "keys" / "root" / "root_1.pem"])
    refresh(stranger.repository.place, NOW, keys)
    shutil.copy(stranger.metadata / "2.root.json", yard.metadata)
    with pytest.raises(FleetError, match="not signed by the keys of the role root"):
        yard.assign(None)


def test_a_repository_that_goes_back_is_refused_until_it_is_repaired(yard: Yard, tmp_path: Path) -> None:
    old, new = yard.release(b"old"), yard.release(b"new")
    yard.assign(old)
    shutil.copytree(yard.url, tmp_path / "backup")
    yard.assign(new)
    yard.assign(new, "mower_1")
    robot = client(yard)
    assert robot.assignments().release == new
    shutil.rmtree(yard.url)
    shutil.copytree(tmp_path / "backup", yard.url)
    with pytest.raises(FleetError, match="went back") as caught:
        yard.assign(old)
    assert caught.value.fix.startswith("robot-assets fleet refresh --repair")
    repair(yard.repository.place, NOW)
    yard.assign(old, "mower_2")
    assert robot.assignments().install == ("mower_2",), "a robot that knows the later versions follows"


def test_an_unsigned_release_is_not_assigned(yard: Yard) -> None:
    version = yard.release()
    fields = yard.assignments(version).model_dump()
    for change, found in (
        ({"release": "f" * 32 + ".dir"}, "is not signed by the role releases"),
        ({"bundle_sha256": "f" * 64}, "has another bundle.json than the signed one"),
        ({"bundle_sha256": None}, "has another bundle.json than the signed one"),
    ):
        with pytest.raises(FleetError, match=found) as caught:
            yard.repository.publish_assignments(Assignments(**{**fields, **change}), NOW)
        assert caught.value.fix.startswith(f"robot-assets fleet publish {GROUP}")
    assert yard.repository.assignments(GROUP) is None


def test_the_last_ten_releases_stay_and_those_that_are_needed(yard: Yard, tmp_path: Path) -> None:
    versions = [yard.release(b"%d" % number) for number in range(11)]
    assert yard.repository.bundle_sha256(GROUP, versions[0]) is None
    yard.assign(versions[1])
    versions += [yard.release(b"%d" % number) for number in range(11, 14)]
    others = [yard.release(b"other", "field")]
    folder = tmp_path / "last"
    versions.append(write_release(folder, b"last"))
    yard.repository.publish_release(GROUP, versions[-1], folder, keep=[versions[4]], now=NOW)
    known = {version for version in versions if yard.repository.bundle_sha256(GROUP, version)}
    assert known == {versions[1], versions[4], *versions[-10:]}
    assert yard.repository.bundle_sha256("field", others[0])


def test_a_release_that_is_kept_stays_while_it_is_named(yard: Yard, tmp_path: Path) -> None:
    versions = [yard.release(b"%d" % number) for number in range(10)]
    folder = tmp_path / "last"
    last = write_release(folder, b"last")
    yard.repository.publish_release(GROUP, last, folder, keep=[versions[0]], now=NOW)
    assert yard.repository.bundle_sha256(GROUP, versions[0])
    yard.release(b"next")
    assert yard.repository.bundle_sha256(GROUP, versions[0]) is None


def test_files_of_releases_that_nobody_can_install_are_pruned(yard: Yard) -> None:
    versions = [yard.release(b"%d" % number) for number in range(12)]
    yard.assign(versions[2], "mower_1")
    newest_one = yard.release(b"newest")
    later = datetime.now(UTC) + 30 * DAY
    assert prune(yard.repository.place, datetime.now(UTC), 7).files == 0, "somebody may be uploading them"
    assert prune(yard.repository.place, later, 7).files == 2 * 3
    assert prune(yard.repository.place, later, 7).files == 0
    robot = client(yard)
    for version in (versions[2], versions[11]):
        for file in json.loads(robot.bundle(version))["files"]:
            assert (Path(yard.url) / blob(file["sha256"])).stat().st_size == file["size"]
    assert yard.repository.bundle_sha256(GROUP, newest_one)
    yard.release(b"0")
    yard.assign(versions[0])
    assert (Path(yard.url) / blob(hashlib.sha256(b"0").hexdigest())).read_bytes() == b"0"


def test_nothing_is_pruned_when_a_bundle_is_damaged(yard: Yard) -> None:
    for number in range(12):
        yard.release(b"%d" % number)
    for path in (Path(yard.url) / "targets" / "releases").rglob("*.json"):
        path.write_bytes(b"{}")
    stored = names(Path(yard.url) / "blobs")
    with pytest.raises(FleetError, match="is damaged or was altered"):
        prune(yard.repository.place, datetime.now(UTC) + 30 * DAY, 7)
    assert names(Path(yard.url) / "blobs") == stored


def test_superseded_assignments_are_removed_and_the_last_ones_stay(yard: Yard) -> None:
    for number in range(4):
        yard.assign(None, f"mower_{number}")
        yard.assign(None, f"mower_{number}", group="yard_2")
    stored = names(Path(yard.url) / "targets" / "assignments")
    assert len([name for name in stored if name.endswith(".yard.json")]) == 2
    assert len(stored) == 4


def test_old_metadata_is_removed_and_roots_stay(yard: Yard) -> None:
    for number in range(20):
        yard.assign(None, f"mower_{number}")
    assert len([name for name in names(yard.metadata) if name.endswith(".snapshot.json")]) <= 18
    assert "1.root.json" in names(yard.metadata)
    assert client(yard).assignments().install == ("mower_19",)


@pytest.mark.parametrize("what", ["altered", "missing", "link", "link in a folder"])
def test_a_release_whose_files_are_not_those_of_its_bundle_is_not_published(
    yard: Yard, tmp_path: Path, what: str
) -> None:
    folder = tmp_path / "release"
    version = write_release(folder)
    engine = folder / "mower" / "engine.onnx"
    if what == "link in a folder":
        (folder / "mower").rename(tmp_path / "elsewhere")
        (folder / "mower").symlink_to(tmp_path / "elsewhere")
    else:
        engine.rename(tmp_path / "engine")
    if what == "altered":
        engine.write_bytes(b"Engine")
    if what == "link":
        engine.symlink_to(tmp_path / "engine")
    with pytest.raises(FleetError) as caught:
        yard.repository.publish_release(GROUP, version, folder, now=NOW)
    assert "mower" in caught.value.found
    assert yard.repository.bundle_sha256(GROUP, version) is None


def test_a_folder_that_is_no_release_of_the_group_is_refused(yard: Yard, tmp_path: Path) -> None:
    version = write_release(tmp_path / "release", group="field")
    with pytest.raises(FleetError, match="is of the group field"):
        yard.repository.publish_release(GROUP, version, tmp_path / "release", now=NOW)
    with pytest.raises(FleetError, match="cannot be read"):
        yard.repository.publish_release(GROUP, version, tmp_path / "nothing", now=NOW)
    bundle = tmp_path / "release" / "bundle.json"
    bundle.write_text(bundle.read_text().replace("mower/engine.onnx", "../engine.onnx"))
    with pytest.raises(FleetError, match="not a path inside the release"):
        yard.repository.publish_release("field", version, tmp_path / "release", now=NOW)


def test_a_blob_that_arrived_in_part_is_uploaded_again(yard: Yard, tmp_path: Path) -> None:
    version = yard.release()
    stored = sorted((Path(yard.url) / "blobs").iterdir())
    content = stored[0].read_bytes()
    stored[0].write_bytes(content[:3])
    stored[1].unlink()
    assert yard.release() == version
    assert stored[0].read_bytes() == content
    assert stored[1].exists()


def test_groups_are_published_at_the_same_time(yard: Yard) -> None:
    groups = [f"group_{number}" for number in range(6)]

    def publish(group: str) -> None:
        yard.assign(yard.release(group.encode(), group), "mower_1", group=group)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(publish, groups))
    robot = client(yard)
    for group in groups:
        assert robot.bundle(str(robot.assignments(group).release), group)


def test_a_lock_that_is_held_is_an_error_after_a_while(yard: Yard) -> None:
    second = repository_lock(Files(yard.url), wait_s=0.1)
    with repository_lock(Files(yard.url)), pytest.raises(FleetError, match="another process") as caught, second:
        pass
    assert caught.value.fix == "run the command again when that process has ended"


def test_an_expired_root_is_renewed_with_the_root_keys(yard: Yard, tmp_path: Path) -> None:
    later = NOW + 366 * DAY
    with pytest.raises(FleetError, match="the root metadata expired") as caught:
        yard.assign(None, now=later)
    assert caught.value.fix.startswith("robot-assets fleet refresh --root-key")
    refresh(yard.repository.place, later, read_root_keys([tmp_path / "keys" / "root" / "root_1.pem"]))
    yard.assign(None, "mower_1", now=later)
    expiries = yard.repository.place.published().expiries
    assert min(expiries.values()) == later + 7 * DAY
    assert all(
        expires > later + 300 * DAY for role, expires in expiries.items() if role not in ("snapshot", "timestamp")
    )


def test_a_clock_before_the_last_signature_signs_nothing(yard: Yard) -> None:
    yard.assign(None, "mower_1", now=NOW + 10 * DAY)
    before = names(yard.metadata)
    for clock in (NOW.replace(year=1970), NOW):
        with pytest.raises(FleetError, match="the clock of this machine is at") as caught:
            yard.assign(None, "mower_2", now=clock)
        assert caught.value.fix.startswith("timedatectl set-ntp true")
    assert names(yard.metadata) == before
    yard.assign(None, "mower_2", now=NOW + 9.5 * DAY)


def test_a_refresh_renews_what_expires_soon(yard: Yard) -> None:
    yard.release()
    later = NOW + 340 * DAY
    refresh(yard.repository.place, later)
    expiries = yard.repository.place.published().expiries
    assert expiries["releases"] == expiries["assignments"] == later + 365 * DAY
    assert expiries["timestamp"] == expiries["snapshot"] == later + 7 * DAY


def test_recalls_and_windows_arrive_as_they_were_published(yard: Yard) -> None:
    given = yard.assignments(None).model_copy(
        update={"recalls": (Recall(hash="0123456789ab", reason="전장 결함"),), "window": {"start": "22:00"}}
    )
    yard.repository.publish_assignments(given, NOW)
    assert client(yard).assignments() == given == yard.repository.assignments(GROUP)


def test_metadata_of_a_large_fleet_stays_small(yard: Yard, capsys: pytest.CaptureFixture[str]) -> None:
    """50 groups of 200 robots with 10 releases each: what a robot downloads when everything is new to it."""
    from robot_assets.fleet.draft import drafting
    from robot_assets.fleet.metadata import ADDED, target_file
    from robot_assets.fleet.publishing import assign, publish

    groups = [f"delivery_district_{number:02}" for number in range(50)]
    robots = [f"delivery_robot_{number:04}" for number in range(200)]
    bundle = b"a bundle"
    releases = [
        target_file(release_target(group, f"{number:032x}"), bundle, {ADDED: number})
        for group in groups
        for number in range(10)
    ]
    with drafting(yard.repository.place, NOW) as draft:
        signer = draft.signer("releases", draft.published.targets)
        draft.write_delegated("releases", releases, [signer])
        for group in groups:
            given = {"release": f"{9:032x}", "bundle_sha256": "0" * 64, "issued_at": NOW.isoformat()}
            assign(draft, Assignments(group=group, install=tuple(robots), **given))
        publish(draft)
    robot = client(yard)
    assert robot.assignments(groups[7]).install == tuple(robots)
    assert robot.knows(f"{9:032x}", groups[7])
    per_robot = robot.fetcher.size_bytes
    total = sum(path.stat().st_size for path in yard.metadata.iterdir() if path.name[0] not in "12345678")
    with capsys.disabled():
        print(f"\n50 groups of 200 robots: a robot to which all is new downloads {per_robot:,} bytes")
    assert per_robot < 300_000
    assert total < 2_000_000


def test_a_bucket_is_written_by_one_process_at_a_time(bucket: str, tmp_path: Path) -> None:
    yard = new_yard(tmp_path, bucket)
    groups = ["yard", "field"]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda group: yard.assign(yard.release(group.encode(), group), "mower_1", group=group), groups))
    for group in groups:
        found = yard.repository.assignments(group)
        assert found is not None
        assert yard.repository.bundle_sha256(group, str(found.release)) == found.bundle_sha256
    part = newest(yard.repository.files, yard.repository.place.published(), "releases")
    assert len(part.targets) == 2


def test_a_lease_of_a_process_that_died_is_taken_over_and_stays_lost(bucket: str) -> None:
    files = Files(bucket)
    dead = repository_lock(files, lease_s=0.5)
    lock = dead.__enter__()
    lock.check()
    with repository_lock(Files(bucket), lease_s=0.5) as other:
        with pytest.raises(FleetError, match="has taken over the lock"):
            lock.check()
        dead.__exit__(None, None, None)
        other.check()
        third = repository_lock(Files(bucket), wait_s=0.2, lease_s=60)
        with pytest.raises(FleetError, match="another process"), third:
            pass
    with repository_lock(Files(bucket), wait_s=1) as last:
        last.check()
