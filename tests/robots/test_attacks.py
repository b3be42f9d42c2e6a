"""Attacks on a robot, by the names of the TUF specification (1.5.2) and as python-tuf tests them, and with stolen keys.

In each the robot serves one release, an attacker who can write the whole repository wants it to take another one, and
the robot goes on serving and says why it does not.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tuf.ngclient._internal import trusted_metadata_set

from robot_assets.agent.transport import HttpTransport, Limits
from robot_assets.agent.update import Agent
from robot_assets.fleet import layout
from robot_assets.fleet.assignments import Assignments
from robot_assets.fleet.files import Files
from robot_assets.fleet.keys import read_root_keys
from robot_assets.fleet.received import read_reports
from robot_assets.fleet.reports import State
from robot_assets.fleet.rotation import rotate
from tests.robots import http_repository as http
from tests.robots.forger import Forger, in_days
from tests.robots.world import GROUP, Clock, Release, Robot, World, bundle_of, parts_of, write_release
from tests.small_release import public_key, small_release

ONLINE = ("snapshot", "timestamp")
ALL = (*ONLINE, "releases", "assignments")
LIMITS = Limits(connect_s=2, gap_s=0.3, grace_s=0.2, rate_bytes_s=2048)
"""Of an agent that does not wait long."""


@dataclass
class Fleet:
    """A robot that serves ``one``; ``two`` is authentic and not assigned."""

    world: World
    robot: Robot
    one: Release
    two: Release

    def refuses(self, *words: str, agent: Agent | None = None, state: State | None = State.HELD) -> str:
        """The robot goes on serving ``one``, and says why with these words."""
        if agent is None:
            now = self.robot.run(2)
        else:
            agent.once()
            now = agent.once()
        assert self.robot.serving() == self.one.id
        assert not now.failed, now.failed
        assert all(word in now.why for word in words), now.why
        assert state is None or now.state is state, now
        return now.why

    def takes(self, release: Release) -> None:
        """The robot gets to a release."""
        state = self.robot.run(2)
        assert self.robot.serving() == release.id, state

    def saved(self) -> Path:
        """A copy of the repository as it is now."""
        folder = self.world.folder / f"saved_{len(list(self.world.folder.iterdir()))}"
        shutil.copytree(self.world.storage, folder)
        return folder

    def restore(self, saved: Path) -> None:
        """Replay an old state of the repository."""
        shutil.rmtree(self.world.storage)
        shutil.copytree(saved, self.world.storage)

    def evil_assignments(self, release: str, bundle_sha256: str, **changes: Any) -> Assignments:
        issued_at = datetime.now(UTC).isoformat()
        values = {"group": GROUP, "install": ("r1",), "issued_at": issued_at, **changes}
        return Assignments(release=release, bundle_sha256=bundle_sha256, **values)


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A fleet with three root keys, two of which have to sign."""
    world = World(tmp_path_factory.mktemp("ready") / "fleet", root_keys=3, threshold=2)
    one, _ = world.release("one"), world.release("two")
    world.assign(one)
    robot = world.robot()
    robot.run(2)
    assert robot.serving() == one.id
    return world


@pytest.fixture
def fleet(ready: World, tmp_path: Path) -> Fleet:
    world = ready.copied_to(tmp_path / "fleet")
    one, two = (
        write_release(tmp_path / "again", name, {"engine.bin": f"engine {name}".encode()}) for name in ("one", "two")
    )
    return Fleet(world, world.robot(), one, two)


def _again(folder: Path, name: str) -> Release:
    return write_release(folder / "again", name, {"engine.bin": f"engine {name}".encode()})


@contextmanager
def at(robot: Robot, time: datetime) -> Iterator[None]:
    """Set the clock of the robot, which python-tuf reads by itself."""
    robot.clock.offset_s = (time - datetime.now(UTC)).total_seconds()
    clock = robot.clock

    class Wrong(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return clock.now()

    right = trusted_metadata_set.datetime
    trusted_metadata_set.datetime = SimpleNamespace(datetime=Wrong, timezone=right.timezone)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        trusted_metadata_set.datetime = right  # type: ignore[attr-defined]
        robot.clock.offset_s = 0


# ---- arbitrary software ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [*ALL, "targets"])
def test_arbitrary_software_metadata_of_an_unknown_key_is_refused(fleet: Fleet, role: str) -> None:
    """Everything is resigned, and one role by a key that the robot does not know."""
    honest = {*ALL, "targets", "root_1", "root_2", "root_3"} - {role}
    honest -= {"root_1", "root_2", "root_3"} if role == "targets" else set()
    evil = fleet.world.forger(*honest)
    bundle = bundle_of({"net/engine.bin": b"evil", "net/reference.npz": b"evil"})
    version = "e" * 32
    evil.edit("targets", lambda targets: None)
    sha256 = evil.release(GROUP, version, {}, bundle)
    evil.assign(fleet.evil_assignments(version, sha256))
    evil.publish("targets", "releases", "assignments")
    fleet.refuses("refused", role)


def test_arbitrary_software_a_bundle_with_other_bytes_is_refused(fleet: Fleet) -> None:
    fleet.world.assign(fleet.two)
    evil = bundle_of({"net/engine.bin": b"evil", "net/reference.npz": b"evil"})
    target = layout.release_target(GROUP, fleet.two.version)
    folder = (fleet.world.storage / layout.TARGETS / target).parent
    (folder / f"{fleet.two.bundle_sha256}.{fleet.two.id}.json").write_bytes(evil)
    fleet.refuses("refused", "bytes")


@pytest.mark.parametrize(
    "content", [b"evil two!!", b"engine tw", b"engine two and more"], ids=["other", "short", "long"]
)
def test_wrong_hashes_and_lengths_of_a_file_are_refused_and_the_next_poll_recovers(
    fleet: Fleet, content: bytes
) -> None:
    fleet.world.assign(fleet.two)
    blob = fleet.world.storage / layout.blob(hashlib.sha256(b"engine two").hexdigest())
    blob.write_bytes(content)
    fleet.refuses(blob.name, state=None)
    blob.write_bytes(b"engine two")
    fleet.robot.clock.offset_s += 7200
    fleet.takes(fleet.two)


@pytest.mark.parametrize("role", ["snapshot", "releases", "assignments"])
@pytest.mark.parametrize("what", ["hash", "length"])
def test_wrong_hashes_and_lengths_of_metadata_are_refused(fleet: Fleet, role: str, what: str) -> None:
    """The newest file of a role is valid by its signature, and is not the one that was announced."""
    evil = fleet.world.forger(*ALL)
    evil.edit("releases", lambda targets: None)
    evil.publish("releases")
    fleet.world.assign(fleet.two)
    path = evil.path(role)
    document = json.loads(path.read_bytes())
    size = path.stat().st_size
    swapped = {"signed": document["signed"], "signatures": document["signatures"]}
    content = json.dumps(swapped, separators=(",", ":") if what == "hash" else (", ", ": ")).encode()
    assert (len(content) == size) == (what == "hash")
    path.write_bytes(content)
    assert fleet.refuses(state=None)


# ---- rollback, replay, mix and match --------------------------------------------------------------------------------


def test_replay_of_an_old_state_is_refused(fleet: Fleet) -> None:
    saved = fleet.saved()
    fleet.world.assign(fleet.two, install=())
    fleet.robot.run()
    fleet.restore(saved)
    fleet.refuses("refused", "version", "timestamp")


def test_replay_is_refused_where_the_trusted_metadata_was_lost(fleet: Fleet) -> None:
    saved = fleet.saved()
    fleet.world.assign(fleet.two, install=())
    fleet.robot.run()
    shutil.rmtree(fleet.robot.spec.state / "tuf")
    fleet.restore(saved)
    fleet.refuses("refused", "version")


@pytest.mark.parametrize("role", ["targets", "releases", "assignments"])
def test_rollback_of_a_role_is_refused(fleet: Fleet, role: str) -> None:
    """Snapshot and timestamp are new; they name an older version of a role."""
    evil = fleet.world.forger(*ALL, "root_1", "root_2", "root_3")
    for name in ("targets", "releases", "assignments"):
        evil.edit(name, lambda targets: None)
    evil.publish("targets", "releases", "assignments")
    fleet.world.assign(fleet.two)
    fleet.takes(fleet.two)
    seen = evil.read("snapshot").signed.meta[f"{role}.json"].version
    older = evil.path(role, seen - 1).read_bytes()

    def roll_back(snapshot: Any) -> None:
        meta = snapshot.meta[f"{role}.json"]
        meta.version, meta.length, meta.hashes = seen - 1, len(older), {"sha256": hashlib.sha256(older).hexdigest()}

    evil.edit("snapshot", roll_back)
    evil.edit("timestamp", evil.refer_snapshot)
    state = fleet.robot.run(2)
    assert fleet.robot.serving() == fleet.two.id
    assert "refused" in state.why
    assert "version" in state.why


def test_rollback_of_the_snapshot_is_refused(fleet: Fleet) -> None:
    evil = fleet.world.forger("timestamp")
    fleet.world.assign(fleet.two, install=())
    fleet.robot.run()
    seen = evil.version("snapshot")
    older = evil.path("snapshot", seen - 1).read_bytes()

    def roll_back(timestamp: Any) -> None:
        meta = timestamp.snapshot_meta
        meta.version, meta.length, meta.hashes = seen - 1, len(older), {"sha256": hashlib.sha256(older).hexdigest()}

    evil.edit("timestamp", roll_back)
    fleet.refuses("refused", "version")


def test_mix_and_match_of_two_states_is_refused(fleet: Fleet) -> None:
    """The snapshot and the releases of one state, the assignments of another one, under the names of the newest."""
    evil = fleet.world.forger()
    older = evil.path("assignments").read_bytes()
    fleet.world.assign(fleet.two)
    evil.path("assignments").write_bytes(older)
    assert fleet.refuses(state=None)


def test_rollback_of_the_root_is_refused(fleet: Fleet) -> None:
    """A key of root that was rotated out cannot come back with a root of its own."""
    evil = fleet.world.forger("root_1", "root_2", "root_3")
    before = evil.read("root")
    signers = read_root_keys(sorted((fleet.world.keys / "root").glob("*.pem")))
    rotate(fleet.world.repository.place, "timestamp", signers, datetime.now(UTC))
    fleet.robot.run()
    evil.path("root", 2).write_bytes(before.to_bytes())
    for path in (fleet.robot.spec.state / "tuf").rglob("*"):
        if path.is_file():
            path.unlink()
    fleet.refuses("refused")


def test_a_key_that_was_rotated_out_signs_nothing_any_more(fleet: Fleet) -> None:
    stolen = fleet.world.folder / "stolen"
    shutil.copytree(fleet.world.keys, stolen)
    signers = read_root_keys(sorted((fleet.world.keys / "root").glob("*.pem")))
    for role in ALL:
        rotate(fleet.world.repository.place, role, signers, datetime.now(UTC))
    fleet.robot.run()
    evil = Forger(fleet.world.storage, stolen, frozenset(ALL))
    evil.assign(fleet.evil_assignments(fleet.two.version, fleet.two.bundle_sha256))
    fleet.refuses("refused")


# ---- fast-forward ---------------------------------------------------------------------------------------------------


def test_fast_forward_is_recovered_by_new_keys(fleet: Fleet) -> None:
    """Stolen online keys announce the last version that there is; new keys begin anew, and the robot follows."""
    evil = fleet.world.forger(*ONLINE)
    saved = fleet.saved()
    evil.edit("snapshot", lambda snapshot: None, version=2**31 - 1)
    evil.edit("timestamp", evil.refer_snapshot, version=2**31 - 1)
    fleet.robot.run()
    fleet.restore(saved)
    fleet.refuses("refused", "version")
    signers = read_root_keys(sorted((fleet.world.keys / "root").glob("*.pem")))
    for role in ONLINE:
        rotate(fleet.world.repository.place, role, signers, datetime.now(UTC))
    fleet.world.assign(fleet.two)
    fleet.takes(fleet.two)


# ---- freeze and clocks ----------------------------------------------------------------------------------------------


def test_freeze_is_noticed_when_the_timestamp_expires(fleet: Fleet) -> None:
    with at(fleet.robot, datetime.now(UTC) + timedelta(days=30)):
        fleet.refuses("expired", "timestamp")
    fleet.world.assign(fleet.two)
    fleet.takes(fleet.two)


@pytest.mark.parametrize("role", [*ALL, "targets"])
def test_expired_metadata_of_each_role_is_refused(fleet: Fleet, role: str) -> None:
    fleet.world.assign(fleet.two, install=())
    fleet.robot.run()
    evil = fleet.world.forger(*ALL, "root_1", "root_2", "root_3")
    evil.assign(fleet.evil_assignments(fleet.two.version, fleet.two.bundle_sha256))
    evil.edit(role, in_days(-1))
    if role not in ONLINE:
        evil.edit("snapshot", lambda snapshot: evil.refer(snapshot, [role]))
    if role != "timestamp":
        evil.edit("timestamp", evil.refer_snapshot)
    fleet.refuses("expired")


def test_a_root_that_has_expired_is_refused(fleet: Fleet) -> None:
    fleet.world.forger("root_1", "root_2", "root_3").edit("root", in_days(-1))
    fleet.refuses("expired")


def test_a_clock_at_1970_revives_no_expired_metadata(fleet: Fleet) -> None:
    """The newest time that was signed is known to have passed, whatever the clock says."""
    saved = fleet.saved()
    evil = fleet.world.forger(*ALL)
    evil.edit("timestamp", in_days(-3))
    frozen = fleet.saved()
    fleet.restore(saved)
    with at(fleet.robot, datetime(1970, 1, 1, tzinfo=UTC)):
        fleet.takes(fleet.one)
        fleet.restore(frozen)
        fleet.refuses("expired")


def test_a_clock_at_1970_does_not_stop_a_rollout(fleet: Fleet) -> None:
    fleet.world.assign(fleet.two)
    with at(fleet.robot, datetime(1970, 1, 1, tzinfo=UTC)):
        fleet.takes(fleet.two)


def test_a_clock_at_2106_holds_until_it_is_right_and_what_serves_goes_on(fleet: Fleet) -> None:
    fleet.world.assign(fleet.two)
    with at(fleet.robot, datetime(2106, 2, 7, 6, 28, 15, tzinfo=UTC)):
        fleet.refuses("expired", "2106")
    fleet.takes(fleet.two)


# ---- endless data, slow retrieval, and servers that refuse ----------------------------------------------------------


@contextmanager
def behind_http(fleet: Fleet) -> Iterator[tuple[http.HttpRepository, Agent]]:
    with http.serving(fleet.world.storage) as server:
        robot = replace(fleet.robot, spec=fleet.robot.spec.model_copy(update={"url": server.url}))
        yield server, Agent(robot.spec, robot.parts, HttpTransport(server.url, LIMITS))


FILES = {
    "root": "metadata/*.root.json",
    "timestamp": "metadata/timestamp.json",
    "snapshot": "metadata/*.snapshot.json",
    "assignments": "metadata/*.assignments.json",
    "assignments target": "targets/assignments/*",
    "releases": "metadata/*.releases.json",
    "bundle": "targets/releases/*",
    "blob": "blobs/*",
}
ANSWERS: dict[str, http.Answer] = {
    "endless data": http.endless,
    "slow retrieval": http.slow(0.08),
    "cut in half": http.cut(),
    "ends early": http.truncated(),
    "longer than announced": http.wrong_length(-3),
    "shorter than announced": http.wrong_length(3),
    "403": http.status(403),
    "404": http.status(404),
    "500": http.status(500),
    "closed": http.reset,
    "hangs": http.hang,
    "a page of a proxy": http.replaced(b"<html>Please log in</html>"),
    "empty": http.replaced(b""),
    "no JSON object": http.replaced(b"[1, 2, 3]"),
    "deep JSON": http.replaced(b"[" * 15_000),
}
NO_ATTACK = {("root", "403"), ("root", "404"), ("blob", "shorter than announced")}
"""An honest server has no newer root; a file that ends early is good when its hash is."""


@pytest.mark.parametrize("answer", list(ANSWERS))
def test_a_server_that_misbehaves_gets_nothing_installed_and_later_polls_recover(fleet: Fleet, answer: str) -> None:
    """Each file in the order in which a robot reads them: those before are honest, so that it gets that far."""
    evil = fleet.world.forger("releases", *ONLINE)
    evil.edit("releases", lambda targets: None)  # so that it is read again
    evil.publish("releases")
    fleet.world.assign(fleet.two)
    with behind_http(fleet) as (server, agent):
        for file in FILES:
            if (file, answer) in NO_ATTACK:
                continue
            with server.attacked(FILES[file], ANSWERS[answer]):
                state = agent.once()
            assert fleet.robot.serving() == fleet.one.id, file
            assert state.why, f"{file}: it does not say why"
            assert not state.failed, f"{file}: a release has not failed when it was not received"
        fleet.robot.clock.offset_s += 7200  # damaged files are read less and less often
        agent.once()
        assert fleet.robot.serving() == fleet.two.id, agent.state.why


def test_endless_data_is_read_no_further_than_announced(fleet: Fleet) -> None:
    fleet.world.assign(fleet.two)
    with behind_http(fleet) as (server, agent):
        for pattern in FILES.values():
            with server.attacked(pattern, http.endless):
                agent.once()
            assert max(one.sent for one in server.asked) < 8 << 20


# ---- stolen keys ----------------------------------------------------------------------------------------------------


def evil_release(fleet: Fleet, evil: Forger, group: str = GROUP) -> tuple[str, str]:
    """A release of the attacker, that the role ``releases`` names; its version and the sha256 of its bundle."""
    files = {"net/engine.bin": b"evil", "net/reference.npz": b"evil"}
    bundle = bundle_of(files, group)
    version = hashlib.md5(bundle).hexdigest()
    return version, evil.release(GROUP, version, files, bundle)


def test_a_stolen_key_of_releases_makes_nothing_that_a_robot_installs(fleet: Fleet) -> None:
    """The evil release is authentic, and nobody has assigned it."""
    evil_release(fleet, fleet.world.forger("releases", *ONLINE))
    state = fleet.robot.run(2)
    assert fleet.robot.serving() == fleet.one.id
    assert state.state is State.COMMITTED
    fleet.world.assign(fleet.two)
    fleet.takes(fleet.two)


def test_a_stolen_key_of_releases_cannot_replace_an_assigned_release(fleet: Fleet) -> None:
    """The path of the assigned release gets another bundle: the assignments state its sha256."""
    fleet.world.assign(fleet.two)
    evil = fleet.world.forger("releases", *ONLINE)
    files = {"net/engine.bin": b"evil", "net/reference.npz": b"evil"}
    evil.release(GROUP, fleet.two.id, files, bundle_of(files))
    fleet.refuses("refused", "another bundle.json")


def test_a_stolen_key_of_releases_cannot_assign(fleet: Fleet) -> None:
    """Assignments count from their own role alone, also where the metadata of releases lists some."""
    evil = fleet.world.forger("releases", *ONLINE)
    version, sha256 = evil_release(fleet, evil)
    content = fleet.evil_assignments(version, sha256).model_dump_json().encode()
    evil.target("releases", layout.assignments_target(GROUP), content)
    evil.edit("assignments", lambda targets: targets.targets.clear())
    evil.publish("releases")
    state = fleet.robot.run(2)
    assert fleet.robot.serving() == fleet.one.id
    assert state.current == fleet.one.version


def test_a_stolen_key_of_assignments_alone_changes_nothing(fleet: Fleet) -> None:
    """Without the keys of snapshot and timestamp, nobody sees its metadata."""
    evil = fleet.world.forger("assignments")
    evil.assign(fleet.evil_assignments(fleet.two.version, fleet.two.bundle_sha256))
    fleet.refuses("refused")


@pytest.mark.parametrize("what", ["unsigned", "another bundle", "another group", "withdrawn", "path", "empty"])
def test_a_stolen_key_of_assignments_cannot_make_a_release(fleet: Fleet, what: str) -> None:
    evil = fleet.world.forger("assignments", *ONLINE)
    release, sha256 = fleet.two.version, fleet.two.bundle_sha256
    if what == "unsigned":
        release, sha256 = "e" * 32 + ".dir", "e" * 64
    elif what == "another bundle":
        sha256 = "e" * 64
    elif what == "another group":
        other = write_release(fleet.world.folder / "releases", "other", {"engine.bin": b"theirs"}, "others")
        fleet.world.repository.publish_release("others", other.version, other.path)
        release, sha256 = other.version, other.bundle_sha256
    elif what == "withdrawn":
        honest = fleet.world.forger("releases")
        honest.edit("releases", lambda targets: targets.targets.pop(layout.release_target(GROUP, release)))
        evil.publish("releases")
    elif what == "path":
        release = "../../../etc"
    else:
        release = ""
    evil.publish("releases")
    evil.assign(fleet.evil_assignments(release, sha256))
    fleet.refuses()


def test_a_release_of_another_group_in_the_folder_of_this_one_is_refused(fleet: Fleet) -> None:
    """Both delegations name it: bundle.json itself says for whom it is."""
    evil = fleet.world.forger(*ALL)
    version, sha256 = evil_release(fleet, evil, group="others")
    evil.assign(fleet.evil_assignments(version, sha256))
    state = fleet.robot.run(2)
    assert fleet.robot.serving() == fleet.one.id
    assert "others" in state.why


def test_assignments_of_another_group_are_refused(fleet: Fleet) -> None:
    """A wrong target: what is signed for others, under the name of this group."""
    evil = fleet.world.forger("assignments", *ONLINE)
    theirs = fleet.evil_assignments(fleet.two.version, fleet.two.bundle_sha256, group="others")
    evil.target("assignments", layout.assignments_target(GROUP), theirs.model_dump_json().encode())
    evil.publish("assignments")
    fleet.refuses("refused", "others")


def test_extraneous_files_are_not_downloaded(fleet: Fleet) -> None:
    """Extraneous dependencies: a bundle that lists one file more is another bundle."""
    fleet.world.assign(fleet.two)
    target = layout.release_target(GROUP, fleet.two.version)
    path = (fleet.world.storage / layout.TARGETS / target).parent / f"{fleet.two.bundle_sha256}.{fleet.two.id}.json"
    document = json.loads(path.read_bytes())
    extra = {"path": "net/extra.so", "sha256": hashlib.sha256(b"extra").hexdigest(), "size": 5}
    path.write_bytes(json.dumps({**document, "files": [*document["files"], extra]}).encode())
    assert fleet.refuses(state=None)
    assert not list(fleet.robot.spec.state.rglob("extra.so"))


@pytest.mark.parametrize("stolen", [("root_1",), ("root_2",), ("root_1", *ALL)], ids="+".join)
def test_key_compromise_below_the_threshold_of_the_root_is_refused(fleet: Fleet, stolen: tuple[str, ...]) -> None:
    """One of three root keys, of which two have to sign, makes no root and no targets."""
    evil = fleet.world.forger(*stolen)
    evil.edit("root", lambda root: root.roles["root"].keyids.sort())
    fleet.refuses("refused", "root")
    evil.path("root").unlink()
    evil.edit("targets", lambda targets: None)
    evil.publish("targets")
    fleet.refuses("refused")


def test_key_compromise_the_threshold_counts_keys_and_not_signatures(fleet: Fleet) -> None:
    evil = fleet.world.forger("root_1")
    metadata = evil.read("root")
    metadata.signed.version += 1
    evil.write("root", metadata)
    (real,) = [one for keyid, one in metadata.signatures.items() if evil._signer(keyid).public_key.keyid == keyid]
    for keyid in metadata.signatures:
        metadata.signatures[keyid].signature = real.signature
    evil.path("root", metadata.signed.version).write_bytes(metadata.to_bytes())
    fleet.refuses("refused", "root")


def hostile(**changes: Any) -> Callable[[Assignments], bytes]:
    return lambda assignments: json.dumps({**assignments.model_dump(mode="json"), **changes}).encode()


HOSTILE = {
    "no JSON": lambda _: b"{",
    "deep": lambda _: b"[" * 200_000,
    "a list": lambda _: b"[]",
    "format 2": hostile(format=2),
    "unknown key": hostile(run="rm -rf /"),
    "window without sense": hostile(window={"start": "25:99", "end": "x"}),
    "window of no zone": hostile(window={"start": "00:00", "end": "23:59", "timezone": "Mars/Olympus"}),
    "window of a path": hostile(window={"start": "00:00", "end": "23:59", "timezone": "../../etc/passwd"}),
    "prove_s not a number": hostile(prove_s=float("nan")),
    "prove_s negative": hostile(prove_s=-1),
    "silence_s zero": hostile(silence_s=0),
    "bake_s infinite": hostile(bake_s=float("inf")),
    "issued in no time": hostile(issued_at="yesterday"),
    "issued in the year 1": hostile(issued_at="0001-01-01T00:00:00+23:59"),
    "issued in the year 9999": hostile(issued_at="9999-12-31T23:59:59-23:59"),
    "control characters": hostile(release="\x1b[31m" * 6),
    "recalls everything": hostile(recalls=[{"hash": "00000000", "reason": "\x1b[2J" * 1000}]),
    "a long release": hostile(release="a" * 1_000_000),
    "a number as release": hostile(release=12345678901234567890123456789012),
}


@pytest.mark.parametrize("name", list(HOSTILE))
def test_hostile_assignments_do_not_end_the_agent(fleet: Fleet, name: str) -> None:
    """They are signed by the real role: a stolen key, or a mistake of another version."""
    evil = fleet.world.forger("assignments", *ONLINE)
    mine = fleet.evil_assignments(fleet.two.version, fleet.two.bundle_sha256)
    evil.target("assignments", layout.assignments_target(GROUP), HOSTILE[name](mine))
    evil.publish("assignments")
    state = fleet.robot.run(2)
    assert fleet.robot.serving() in (fleet.one.id, fleet.two.id)
    assert "\x1b" not in state.why
    report = fleet.world.reports()["r1"].report
    assert report.running == state.current
    fleet.world.assign(fleet.two)
    fleet.takes(fleet.two)


# ---- all keys of the repository, and not the one that signs engines -------------------------------------------------


def real_robot(fleet: Fleet, trusted: str) -> Robot:
    """A robot with the real verification; its gates after the switch accept everything."""
    clock, log = Clock(), []
    spec = fleet.robot.spec.model_copy(update={"trusted_keys": (trusted,)})
    from robot_assets.agent.device import probe_device
    from robot_assets.agent.verify_process import verify

    return Robot(spec, clock, parts_of(clock, log.append, verify=verify, device=probe_device), log)


def test_all_keys_of_the_repository_are_stolen_and_the_key_of_the_engines_is_not(fleet: Fleet, tmp_path: Path) -> None:
    """What an unknown key has signed is refused by the provenance; what the known one has signed is taken."""
    evil_one = small_release(tmp_path / "evil", group=GROUP, key_seed=bytes(range(2, 34)))
    fleet.robot = real_robot(fleet, str(public_key()))
    fleet.world.repository.publish_release(GROUP, evil_one.version, evil_one.path)
    fleet.world.forger(*ALL).publish("releases")
    fleet.world.forger(*ALL).assign(fleet.evil_assignments(evil_one.version, evil_one.bundle_sha256))
    state = fleet.robot.run(2)
    assert fleet.robot.serving() == fleet.one.id
    assert "has signed" in state.why
    good = small_release(tmp_path / "good", group=GROUP)
    fleet.world.repository.publish_release(GROUP, good.version, good.path)
    fleet.world.assign(Release(good.version, good.bundle_sha256, good.path))
    fleet.robot.run(2)
    assert fleet.robot.serving() == good.version.removesuffix(".dir")


# ---- reports --------------------------------------------------------------------------------------------------------


def test_a_report_of_another_robot_does_not_count(fleet: Fleet) -> None:
    """The file of one robot gets what another one has signed: its own report, or one in the name of the first."""
    world = fleet.world
    other = world.robot("r2")
    other.run()
    folder = world.storage / layout.REPORTS / GROUP
    shutil.copyfile(folder / "r2.json", folder / "r1.json")
    assert "r1" not in world.reports()
    forged = replace(other, spec=other.spec.model_copy(update={"robot": "r1"}))
    forged.spec.state.joinpath("outbox.json").unlink(missing_ok=True)
    forged.run()
    found = read_reports(Files(str(world.storage)), GROUP, ["r1", "r2"], world.public)
    assert "r1" not in found.received
    assert "r1.json" in found.refused
