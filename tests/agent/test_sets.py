"""Releases on a robot: the link that serves, eviction, and damage."""

from __future__ import annotations

from pathlib import Path

import pytest

from robot_assets.agent.sets import Sets
from robot_assets.agent.state import set_id
from robot_assets.fleet.errors import AgentError
from tests.robots.world import Release, write_release


@pytest.fixture
def sets(tmp_path: Path) -> Sets:
    (tmp_path / "state").mkdir()
    return Sets(tmp_path / "state")


def added(sets: Sets, folder: Path, name: str) -> Release:
    release = write_release(folder / "releases", name, {"engine.bin": name.encode()})
    sets.download(release.version).parent.mkdir(exist_ok=True)
    release.path.rename(sets.download(release.version))
    sets.add(release.version)
    return release


def test_a_release_is_here_once_it_is_complete(sets: Sets, tmp_path: Path) -> None:
    release = write_release(tmp_path / "releases", "one", {"engine.bin": b"1"})
    sets.download(release.version).parent.mkdir()
    release.path.rename(sets.download(release.version))
    assert not sets.has(release.version)
    sets.add(release.version)
    assert sets.has(release.version)
    assert sets.ids() == [release.id]
    assert sets.damage(release.version) is None


def test_the_link_is_relative_and_replaced_by_one_rename(sets: Sets, tmp_path: Path) -> None:
    one, two = added(sets, tmp_path, "one"), added(sets, tmp_path, "two")
    current = tmp_path / "state" / "current"
    sets.switch(one.version)
    assert (current / "net/engine.bin").read_bytes() == b"one"
    assert str(current.readlink()) == f"sets/{one.id}"
    (tmp_path / "state" / ".current.part").symlink_to("nowhere")  # of a process that was killed
    sets.switch(two.version)
    assert sets.linked == two.id
    sets.switch(None)
    sets.switch(None)
    assert sets.linked is None


def test_the_same_link_keeps_its_time(sets: Sets, tmp_path: Path) -> None:
    one = added(sets, tmp_path, "one")
    assert sets.switched_at == 0
    sets.switch(one.version)
    before = sets.switched_at
    sets.switch(one.version)
    assert sets.switched_at == before > 0


def test_all_but_what_is_kept_is_removed(sets: Sets, tmp_path: Path) -> None:
    one, two, three = (added(sets, tmp_path, name) for name in ("one", "two", "three"))
    sets.download("ab" * 16).mkdir()
    (tmp_path / "state" / "downloads" / ".left.removed").mkdir()
    sets.evict([one.version, three.version])
    assert sets.ids() == sorted([one.id, three.id])
    assert not list((tmp_path / "state" / "downloads").iterdir())
    sets.evict([one.version, three.version])
    assert not sets.has(two.version)


@pytest.mark.parametrize("what", ["other bytes", "shorter", "missing", "no bundle", "half a bundle"])
def test_damage_is_found(sets: Sets, tmp_path: Path, what: str) -> None:
    one = added(sets, tmp_path, "one")
    folder = sets.folder(one.version)
    engine, bundle = folder / "net/engine.bin", folder / "bundle.json"
    {
        "other bytes": lambda: engine.write_bytes(b"eno"),
        "shorter": lambda: engine.write_bytes(b"on"),
        "missing": engine.unlink,
        "no bundle": bundle.unlink,
        "half a bundle": lambda: bundle.write_bytes(bundle.read_bytes()[:100]),
    }[what]()
    assert sets.damage(one.version)


def test_a_damaged_release_becomes_a_download_again(sets: Sets, tmp_path: Path) -> None:
    one = added(sets, tmp_path, "one")
    sets.demote(one.version)
    assert not sets.has(one.version)
    assert (sets.download(one.version) / "net/engine.bin").read_bytes() == b"one"


def test_files_of_other_releases_are_found_by_their_content(sets: Sets, tmp_path: Path) -> None:
    one, two = added(sets, tmp_path, "one"), added(sets, tmp_path, "two")
    (sets.folder(two.version) / "bundle.json").write_bytes(b"{}")
    found = sets.reusable(but="ab" * 16)
    assert all(path.is_relative_to(sets.folder(one.version)) for path in found.values())
    assert len(found) == 2
    assert not sets.reusable(but=one.version)


@pytest.mark.parametrize("version", ["../../etc", "", "A" * 32, "ab" * 16 + "/x", "ab" * 15, "ab" * 16 + ".dir.dir"])
def test_what_is_no_version_is_never_a_path(version: str) -> None:
    with pytest.raises(AgentError, match="not a data version"):
        set_id(version)
