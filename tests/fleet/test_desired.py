"""Enrolled robots, and which group each is in."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from robot_assets.fleet.desired import ROBOTS_FILE, enrolled_keys, open_repository, robots_of
from robot_assets.fleet.enrollment import enroll, remove
from robot_assets.fleet.errors import FleetError
from robot_assets.fleet.spec import FleetSpec
from robot_assets.provenance.public_key import PublicKey


def key() -> str:
    return str(PublicKey(os.urandom(32)))


def fleet(**groups: list[str]) -> FleetSpec:
    entries = {name: {"robots": robots, "target": "cpu", "models": ["mower"]} for name, robots in groups.items()}
    return FleetSpec.model_validate({"groups": entries})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / ROBOTS_FILE
    path.parent.mkdir(parents=True)
    return path


def test_a_project_without_the_file_has_no_robots(tmp_path: Path) -> None:
    assert enrolled_keys(tmp_path) == {}


def test_robots_are_enrolled_in_order_and_once(tmp_path: Path) -> None:
    lines = {"mower_10": key(), "mower_2": key(), "17": key(), "on": key(), "1e3": key(), "null": key()}
    for robot, line in lines.items():
        assert enroll(tmp_path, robot, line)
        assert not enroll(tmp_path, robot, line)
    assert {robot: str(one) for robot, one in enrolled_keys(tmp_path).items()} == lines
    assert list(enrolled_keys(tmp_path)) == list(lines)


def test_comments_and_order_stay(tmp_path: Path, file: Path) -> None:
    first, second, third = key(), key(), key()
    file.write_text(f"# ours\nmower_1: {first}  # in the yard\n\n'mower_2': {second}\n# the end")
    enroll(tmp_path, "mower_3", third)
    assert file.read_text() == (
        f"# ours\nmower_1: {first}  # in the yard\n\n'mower_2': {second}\n# the end\nmower_3: {third}\n"
    )
    new = key()
    enroll(tmp_path, "mower_1", new, may_replace=True)
    remove(tmp_path, "mower_2")
    assert file.read_text() == f"# ours\nmower_1: {new}  # in the yard\n\n# the end\nmower_3: {third}\n"


@pytest.mark.parametrize("content", ["", "# nothing yet\n", "{}\n", "# none\n{}\n", "null\n", "---\n"])
def test_a_file_without_robots_gets_the_first(tmp_path: Path, file: Path, content: str) -> None:
    file.write_text(content)
    line = key()
    enroll(tmp_path, "mower_1", line)
    assert {robot: str(one) for robot, one in enrolled_keys(tmp_path).items()} == {"mower_1": line}
    assert ("# n" in file.read_text()) == ("# n" in content)


def test_a_robot_keeps_its_key_unless_it_is_replaced(tmp_path: Path) -> None:
    old, new = key(), key()
    enroll(tmp_path, "mower_1", old)
    with pytest.raises(FleetError, match="is enrolled with another key") as caught:
        enroll(tmp_path, "mower_1", new)
    assert caught.value.fix.startswith(f"robot-assets fleet enroll mower_1 {new} --replace")
    assert enroll(tmp_path, "mower_1", new, may_replace=True)
    with pytest.raises(FleetError, match="mower_1 has this key"):
        enroll(tmp_path, "mower_2", new)
    assert list(enrolled_keys(tmp_path)) == ["mower_1"]


@pytest.mark.parametrize(
    "robot", ["", "Mower", "mower 1", "../mower", "_x", "a" * 64, "mower\n", "로봇", "a/b", "\x1b[31m"]
)
def test_what_is_no_id_is_refused(tmp_path: Path, robot: str) -> None:
    with pytest.raises(FleetError, match="is no id of a robot"):
        enroll(tmp_path, robot, key())
    assert not (tmp_path / ROBOTS_FILE).exists()


@pytest.mark.parametrize(
    "line", ["", "ed25519:AAAA", "ssh-ed25519 AAAA", "-----BEGIN PRIVATE KEY-----", "ed25519:" + "0" * 64]
)
def test_what_is_no_public_key_is_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises(FleetError) as caught:
        enroll(tmp_path, "mower_1", line)
    assert caught.value.fix.startswith("robot-assets agent key")
    assert not (tmp_path / ROBOTS_FILE).exists()


def test_a_robot_that_is_not_there_cannot_be_removed(tmp_path: Path) -> None:
    with pytest.raises(FleetError, match="mower_1 is not enrolled"):
        remove(tmp_path, "mower_1")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("mower_1: {key}\nmower_1: {other}\n", "duplicate key 'mower_1'"),
        ("mower_1: {key}\nmower_2: {key}\n", "mower_1 and mower_2 have the same key"),
        ("mower_1: 12\n", "mower_1 has 12 as its key"),
        ("mower_1:\n", "mower_1 has"),
        ("17: {key}\n", "17 is no id of a robot"),
        ("Mower: {key}\n", "is no id of a robot"),
        ("mower_1: ed25519:AAAA\n", "is not a public key"),
        ("- mower_1\n", "robots.yaml: it is"),
        ("mower_1: [\n", "is not closed"),
        ("<<<<<<< HEAD\nmower_1: {key}\n", "conflict markers"),
    ],
)
def test_a_faulty_file_is_named_with_its_fault(tmp_path: Path, file: Path, content: str, found: str) -> None:
    text = content.format(key=key(), other=key())
    file.write_text(text)
    with pytest.raises(FleetError) as caught:
        enrolled_keys(tmp_path)
    assert found in caught.value.found
    assert str(file) in caught.value.found
    with pytest.raises(FleetError):
        enroll(tmp_path, "mower_9", key())
    assert file.read_text() == text


def test_robots_that_are_enrolled_at_the_same_time_are_all_there(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: enroll(tmp_path, f"mower_{number}", key()), range(20)))
    assert len(enrolled_keys(tmp_path)) == 20


def test_named_robots_go_first_and_patterns_count_as_people_do(tmp_path: Path) -> None:
    enrolled = dict.fromkeys(["mower_10", "mower_2", "canary", "mower_1", "mower_x", "van_1"])
    groups = fleet(yard=["mower_2", "canary", "mower_*", "*ary"], road=["van_?"])
    assert robots_of(groups, "yard", enrolled) == ("mower_2", "canary", "mower_1", "mower_10", "mower_x")
    assert robots_of(groups, "road", enrolled) == ("van_1",)


def test_a_robot_in_two_groups_is_an_error_of_both() -> None:
    enrolled = dict.fromkeys(["mower_1", "mower_2"])
    for groups in (fleet(yard=["mower_*"], field=["mower_2"]), fleet(yard=["mower_*"], field=["*_2"])):
        for name in ("yard", "field"):
            with pytest.raises(FleetError, match="mower_2 is in the groups") as caught:
                robots_of(groups, name, enrolled)
            assert "fleet.groups.yard.robots" in caught.value.fix


def test_a_group_without_robots_and_a_robot_without_a_key_are_errors() -> None:
    enrolled = dict.fromkeys(["mower_1"])
    with pytest.raises(FleetError, match=r"van_\* matches none of 1 enrolled robot\n"):
        robots_of(fleet(road=["van_*"]), "road", enrolled)
    with pytest.raises(FleetError, match="mower_2 of the group yard is not enrolled; did you mean mower_1") as caught:
        robots_of(fleet(yard=["mower_2"]), "yard", enrolled)
    assert caught.value.fix.startswith("robot-assets fleet enroll mower_2 PUBLIC_KEY")


def test_the_repository_of_a_project_is_where_its_params_say(tmp_path: Path) -> None:
    assert open_repository(tmp_path, FleetSpec()).files.folder == tmp_path / ".robot_assets" / "fleet"
    assert open_repository(tmp_path, FleetSpec(url="/mnt/fleet")).files.folder == Path("/mnt/fleet")
    assert open_repository(tmp_path, FleetSpec(url="s3://bucket/fleet")).files.url == "s3://bucket/fleet"
    assert open_repository(tmp_path, FleetSpec(timestamp_days=3)).place.timestamp_days == 3
