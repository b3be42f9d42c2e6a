"""A copy for robots without a network: complete, verified, and a repository by itself."""

from __future__ import annotations

import os
import re
import shutil
from collections import namedtuple
from datetime import timedelta
from pathlib import Path

import pytest

from robot_assets.fleet import exporting
from robot_assets.fleet.errors import FleetError
from robot_assets.fleet.exporting import export
from robot_assets.fleet.keys import read_root_keys
from robot_assets.fleet.rotation import rotate
from tests.fleet_repository import GROUP, NOW, Client, Yard, new_yard


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    return new_yard(tmp_path)


def reader(yard: Yard, stick: Path, name: str = "robot") -> Client:
    return Client(stick, (yard.metadata / "1.root.json").read_bytes(), yard.folder / "robots" / name)


def blobs(stick: Path) -> set[bytes]:
    return {path.read_bytes() for path in (stick / "blobs").iterdir()}


def test_a_robot_takes_the_release_of_its_group_from_a_stick(yard: Yard, tmp_path: Path) -> None:
    old, new = yard.release(b"old"), yard.release(b"new")
    yard.assign(old)
    yard.assign(new, "mower_1")
    yard.assign(yard.release(b"elsewhere", "field"), group="field")
    stick = tmp_path / "usb"
    done = export(yard.repository.place, [GROUP], stick, NOW)
    robot = reader(yard, stick)
    assert robot.assignments() == yard.repository.assignments(GROUP)
    assert robot.bundle(new)
    assert blobs(stick) == {b"new", b"answers of new"}
    assert done.releases == {GROUP: new}
    assert done.files == 4
    assert not (stick / "locks").exists()


def test_a_later_export_replaces_the_earlier_one(yard: Yard, tmp_path: Path) -> None:
    stick = tmp_path / "usb"
    (stick).mkdir()
    (stick / "photo.jpg").write_bytes(b"mine")
    yard.assign(yard.release(b"old"))
    export(yard.repository.place, [GROUP], stick, NOW)
    robot = reader(yard, stick)
    robot.assignments()
    rotate(yard.repository.place, "timestamp", read_root_keys([tmp_path / "keys" / "root" / "root_1.pem"]), NOW)
    new = yard.release(b"new")
    yard.assign(new)
    export(yard.repository.place, [GROUP], stick, NOW)
    assert robot.assignments().release == new
    assert blobs(stick) == {b"new", b"answers of new"}
    assert (stick / "photo.jpg").read_bytes() == b"mine"


def test_several_groups_fit_on_one_stick(yard: Yard, tmp_path: Path) -> None:
    for group in (GROUP, "field"):
        yard.assign(yard.release(group.encode(), group), group=group)
    export(yard.repository.place, [GROUP, "field"], tmp_path / "usb", NOW)
    robot = reader(yard, tmp_path / "usb")
    assert robot.bundle(str(robot.assignments("field").release), "field")
    assert robot.bundle(str(robot.assignments().release))


def test_what_was_interrupted_or_damaged_is_copied_again(yard: Yard, tmp_path: Path) -> None:
    yard.assign(yard.release(b"new"))
    stick = tmp_path / "usb"
    export(yard.repository.place, [GROUP], stick, NOW)
    first, second = sorted((stick / "blobs").iterdir())
    first.write_bytes(first.read_bytes().swapcase())
    second.unlink()
    (stick / "metadata" / "timestamp.json").unlink()
    export(yard.repository.place, [GROUP], stick, NOW)
    assert blobs(stick) == {b"new", b"answers of new"}
    assert reader(yard, stick).assignments()


def test_a_group_without_a_release_is_refused(yard: Yard, tmp_path: Path) -> None:
    yard.assign(None)
    for group in (GROUP, "nobody"):
        with pytest.raises(FleetError, match=f"no release is assigned to the group {group}"):
            export(yard.repository.place, [group], tmp_path / "usb", NOW)
    assert not (tmp_path / "usb").exists()


def test_a_stick_of_another_fleet_and_the_repository_itself_are_refused(yard: Yard, tmp_path: Path) -> None:
    yard.assign(yard.release(b"new"))
    stranger = new_yard(tmp_path / "stranger")
    with pytest.raises(FleetError, match="has another distribution repository"):
        export(yard.repository.place, [GROUP], Path(stranger.url), NOW)
    with pytest.raises(FleetError, match="is the repository itself"):
        export(yard.repository.place, [GROUP], Path(yard.url), NOW)


def test_an_expired_repository_is_not_copied(yard: Yard, tmp_path: Path) -> None:
    yard.assign(yard.release(b"new"))
    with pytest.raises(FleetError, match="robots would refuse the copy") as caught:
        export(yard.repository.place, [GROUP], tmp_path / "usb", NOW + timedelta(days=8))
    assert caught.value.fix == "robot-assets fleet refresh"


def test_a_damaged_blob_is_not_spread(yard: Yard, tmp_path: Path) -> None:
    yard.assign(yard.release(b"new"))
    stored = next(iter((Path(yard.url) / "blobs").iterdir()))
    stored.write_bytes(stored.read_bytes().swapcase())
    with pytest.raises(FleetError, match="is damaged or was altered") as caught:
        export(yard.repository.place, [GROUP], tmp_path / "usb", NOW)
    assert re.match(f"robot-assets fleet publish {GROUP} --release [0-9a-f]{{32}}.dir --repair ", caught.value.fix)
    assert not (tmp_path / "usb" / "metadata" / "timestamp.json").exists()


def test_a_stick_without_room_is_refused_before_anything_is_copied(
    yard: Yard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    yard.assign(yard.release(b"new" * 1000))
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(4000, 3000, 1000))
    with pytest.raises(FleetError, match="2 files with") as caught:
        export(yard.repository.place, [GROUP], tmp_path / "usb", NOW)
    assert caught.value.fix.startswith("df -h")
    assert not (tmp_path / "usb").exists()


def test_a_stick_that_does_not_keep_what_is_written_is_found_out(
    yard: Yard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    yard.assign(yard.release(b"new"))

    def damaging(handle: int, *_: int) -> None:
        path = os.readlink(f"/proc/self/fd/{handle}")
        if "usb" in path:
            Path(path).write_bytes(b"zero")

    monkeypatch.setattr(exporting.os, "posix_fadvise", damaging)
    with pytest.raises(FleetError, match="does not read back as it was written"):
        export(yard.repository.place, [GROUP], tmp_path / "usb", NOW)


def test_a_bucket_is_exported_to_a_folder(bucket: str, tmp_path: Path) -> None:
    yard = new_yard(tmp_path, bucket)
    version = yard.release(b"new")
    yard.assign(version, "mower_1")
    export(yard.repository.place, [GROUP], tmp_path / "usb", NOW)
    robot = Client(tmp_path / "usb", (tmp_path / "root.json").read_bytes(), tmp_path / "robot")
    assert robot.assignments().install == ("mower_1",)
    assert blobs(tmp_path / "usb") == {b"new", b"answers of new"}
