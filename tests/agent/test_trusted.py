"""What a robot demands of the repository beyond python-tuf. The attacks: tests/robots/test_attacks.py."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from robot_assets.agent.state import SeenVersion
from robot_assets.agent.transport import Missing, transport_of
from robot_assets.agent.trusted import Known, Look, TrustedRepository, Untrusted, parse_assignments, read_root
from robot_assets.fleet.errors import AgentError
from tests.robots.world import Release, World

NOTHING = Known({}, "")


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Release]:
    world = World(tmp_path_factory.mktemp("ready") / "fleet")
    one = world.release("one")
    world.assign(one)
    world.robot()
    return world, one


@pytest.fixture
def world(ready: tuple[World, Release], tmp_path: Path) -> World:
    return ready[0].copied_to(tmp_path / "fleet")


def repository(world: World) -> TrustedRepository:
    """As a process sees it that has just started."""
    robot = world.robot().spec
    return TrustedRepository(robot, transport_of(robot.url))


def look(world: World, known: Known = NOTHING, now: datetime | None = None, kept: bytes = b"") -> Look:
    return repository(world).look(known, now or datetime.now(UTC), kept)


def test_a_look_has_the_assignments_and_the_versions_of_all_roles(world: World, ready: tuple[World, Release]) -> None:
    found = look(world)
    assert found.assignments
    assert found.assignments.release == ready[1].version
    assert set(found.versions) == {"root", "timestamp", "snapshot", "targets", "assignments"}
    assert found.known_time[:16] == found.assignments.issued_at[:16]


def test_a_bundle_is_the_one_that_both_roles_name(world: World, ready: tuple[World, Release]) -> None:
    one, now = ready[1], datetime.now(UTC)
    content, version = repository(world).bundle(one.version, one.bundle_sha256, NOTHING, now)
    assert content == (one.path / "bundle.json").read_bytes()
    assert version.version >= 1
    with pytest.raises(Untrusted, match="assigned with another"):
        repository(world).bundle(one.version, "0" * 64, NOTHING, now)
    with pytest.raises(Untrusted, match="does not have it"):
        repository(world).bundle("ab" * 16, one.bundle_sha256, NOTHING, now)


def test_versions_never_decrease_where_the_trusted_metadata_is_lost(world: World) -> None:
    old = world.folder / "old"
    shutil.copytree(world.storage, old)
    world.assign(world.release("two"))
    seen = look(world)
    shutil.rmtree(world.robot().spec.state / "tuf")
    shutil.rmtree(world.storage)
    old.rename(world.storage)
    with pytest.raises(Untrusted, match="has seen version"):
        look(world, Known(seen.versions, seen.known_time))


def test_another_root_of_robot_yaml_begins_anew(world: World, tmp_path: Path) -> None:
    seen = look(world)
    high = {role: SeenVersion(version=99, keys=one.keys) for role, one in seen.versions.items()}
    other = World(tmp_path / "other")
    other.assign(other.release("one"))
    assert look(other, Known(high, "")).versions["root"].version == 1


def test_expired_metadata_is_not_revived_by_a_clock_that_is_wrong(world: World) -> None:
    seen = look(world)
    late = (datetime.now(UTC) + timedelta(days=30)).isoformat()
    for now in (datetime(1970, 1, 1, tzinfo=UTC), datetime.now(UTC)):
        with pytest.raises(Untrusted, match="is known to have passed"):
            look(world, Known(seen.versions, late), now)


def test_the_same_metadata_is_checked_for_its_age_at_every_look(world: World) -> None:
    trusted = repository(world)
    trusted.look(NOTHING, datetime.now(UTC), b"")
    with pytest.raises(Untrusted, match="timestamp expired"):
        trusted.look(NOTHING, datetime.now(UTC) + timedelta(days=8), b"")


def test_a_stolen_key_of_assignments_does_not_move_a_robot_into_the_future(world: World) -> None:
    evil = world.forger("assignments", "snapshot", "timestamp")
    found = look(world)
    assert found.assignments
    evil.assign(found.assignments.model_copy(update={"issued_at": "2106-01-01T00:00:00+00:00"}))
    later = look(world)
    assert datetime.fromisoformat(later.known_time) < datetime.now(UTC) + timedelta(days=30)


def test_kept_assignments_are_not_read_again(world: World) -> None:
    kept = look(world).content
    shutil.rmtree(world.storage / "targets")
    assert look(world, kept=kept).content == kept
    with pytest.raises(Missing):
        look(world)


@pytest.mark.parametrize("damage", ["empty", "half", "folder", "file"])
@pytest.mark.parametrize(
    "name", ["timestamp.json", "snapshot.json", "targets.json", "assignments.json", "root_history"]
)
def test_damaged_local_metadata_is_read_again(world: World, name: str, damage: str) -> None:
    seen = look(world)
    path = world.robot().spec.state / "tuf" / name
    half = path.read_bytes()[:50] if path.is_file() else b"half"
    (world.robot().spec.state / "tuf" / "tmp1234").write_bytes(b"of a process that was killed")
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    if damage == "folder":
        (path / "x").mkdir(parents=True)
    else:
        path.write_bytes({"empty": b"", "half": half, "file": b"\0" * 50}[damage])
    again = look(world, Known(seen.versions, seen.known_time))
    assert again.assignments == seen.assignments
    assert look(world).assignments == seen.assignments
    assert not list(path.parent.rglob("tmp*"))


def test_nothing_is_assigned_to_another_group(world: World) -> None:
    robot = world.robot().spec.model_copy(update={"group": "others"})
    assert TrustedRepository(robot, transport_of(robot.url)).look(NOTHING, datetime.now(UTC), b"").assignments is None


@pytest.mark.parametrize("content", [b"", b"[]", b'{"format": 2}', b"\xff"])
def test_assignments_that_are_none_are_refused(content: bytes) -> None:
    with pytest.raises(Untrusted, match="not valid"):
        parse_assignments(content, "robots")


def test_a_root_is_needed(tmp_path: Path) -> None:
    with pytest.raises(AgentError, match="cannot be read"):
        read_root(tmp_path / "root.json")
    (tmp_path / "root.json").write_text("{}")
    with pytest.raises(AgentError, match="not root metadata"):
        read_root(tmp_path / "root.json")
