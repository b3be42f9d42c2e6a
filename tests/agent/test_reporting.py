"""Reports are sent on every change and often enough; the last one survives restarts, offline times and bad disks."""

import errno
from datetime import UTC, datetime, timedelta

import pytest

from robot_assets.agent import reporting
from robot_assets.agent.device import Device
from robot_assets.agent.reporting import Outbox, compose, next_sequence, send, should_send
from robot_assets.agent.spec import RobotSpec
from robot_assets.agent.state import OUTBOX, AgentState
from robot_assets.core.errors import RobotAssetsError
from robot_assets.fleet.errors import AgentError, FleetError
from robot_assets.fleet.reports import LARGEST_BYTES, Failure, State, open_report
from robot_assets.provenance.keys import create_key

NOW = datetime(2026, 11, 27, 10, 0, tzinfo=UTC)
A, B = "a" * 32 + ".dir", "b" * 32 + ".dir"
DEVICE = Device("f" * 32, {"architecture": "aarch64", "l4t": "36.4.3"})


@pytest.fixture
def key(tmp_path):
    return create_key(tmp_path / "key.pem")


@pytest.fixture
def robot(tmp_path, key):
    (tmp_path / "repository").mkdir()
    (tmp_path / "state").mkdir()
    return RobotSpec(
        robot="r1",
        group="delivery",
        url=str(tmp_path / "repository"),
        root=tmp_path / "root.json",
        key=tmp_path / "key.pem",
        trusted_keys=("ed25519:x",),
        state=tmp_path / "state",
    )


def report(robot, sequence=1, **state):
    return compose(robot, AgentState(**state), DEVICE, NOW, sequence)


def delivered(tmp_path, key):
    return open_report((tmp_path / "repository" / "reports" / "delivery" / "r1.json").read_bytes(), key)


def test_a_report_has_what_the_robot_runs_and_why(robot):
    found = report(
        robot,
        sequence=7,
        state=State.PROVING,
        current=B,
        last_good=A,
        next=B,
        failed=(Failure(release=A, reason="too slow"),),
        committed=(A,),
        healthy_s=12,
        why="proving",
    )
    assert (found.robot, found.group, found.sequence, found.at) == ("r1", "delivery", 7, "2026-11-27T10:00:00+00:00")
    assert (found.state, found.running, found.working_on, found.healthy_s) == (State.PROVING, B, B, 12)
    assert found.failed == (Failure(release=A, reason="too slow"),)
    assert found.proven == (A,)
    assert (found.fingerprint, found.platform) == (DEVICE.fingerprint, DEVICE.platform)
    assert found.agent


def test_a_report_stays_small(robot, tmp_path, key):
    failed = tuple(Failure(release=f"{number:032x}.dir", reason="\N{SNOWMAN}" * 10_000) for number in range(500))
    assert send(robot, report(robot, failed=failed, why="\N{SNOWMAN}" * 100_000))
    found = delivered(tmp_path, key)
    assert found.failed[-1].release == f"{499:032x}.dir"
    assert found.why.endswith("...")


def test_the_sequence_increases_over_restarts_and_lost_disks():
    first = next_sequence(0, NOW)
    assert next_sequence(first, NOW) == first + 1
    assert next_sequence(first, NOW - timedelta(days=20_000)) == first + 1
    assert next_sequence(0, NOW + timedelta(minutes=1)) > first
    assert next_sequence(5, datetime(1970, 1, 1, tzinfo=UTC)) == 6


@pytest.mark.parametrize(
    "change",
    [
        {"state": State.DOWNLOADING},
        {"current": A},
        {"next": B},
        {"why": "no room"},
        {"committed": (A,)},
        {"failed": (Failure(release=A, reason="x"),)},
    ],
)
def test_every_change_is_sent_at_once(robot, change):
    assert should_send(report(robot), report(robot, **change), 0, report_s=300, silence_s=3600)


def test_nothing_new_is_sent_after_the_interval_and_within_the_silence(robot):
    last, same = report(robot), report(robot, sequence=2, healthy_s=50)
    assert should_send(None, same, 0, report_s=300, silence_s=3600)
    assert not should_send(last, same, 299, report_s=300, silence_s=3600)
    assert should_send(last, same, 300, report_s=300, silence_s=3600)
    assert not should_send(last, same, 19, report_s=300, silence_s=60)
    assert should_send(last, same, 20, report_s=300, silence_s=60)


def test_a_robot_that_has_baked_or_became_unhealthy_says_so_at_once(robot):
    baking, baked = report(robot, healthy_s=599), report(robot, healthy_s=601)
    assert should_send(baking, baked, 1, report_s=300, silence_s=3600, bake_s=600)
    assert not should_send(baked, report(robot, healthy_s=602), 1, report_s=300, silence_s=3600, bake_s=600)
    assert should_send(baked, report(robot, healthy_s=0), 1, report_s=300, silence_s=3600, bake_s=600)


def test_a_report_is_delivered_signed(robot, tmp_path, key):
    sent = report(robot)
    assert send(robot, sent)
    assert delivered(tmp_path, key) == sent
    assert not (robot.state / OUTBOX).exists()


def test_reports_go_to_their_own_url(robot, tmp_path, key):
    (tmp_path / "elsewhere").mkdir()
    spec = robot.model_copy(update={"reports_url": str(tmp_path / "elsewhere")})
    assert send(spec, report(robot))
    assert open_report((tmp_path / "elsewhere" / "delivery" / "r1.json").read_bytes(), key) == report(robot)


def test_the_last_report_waits_for_the_network_and_survives_a_restart(robot, tmp_path, key):
    (tmp_path / "repository").rmdir()
    (tmp_path / "repository").write_text("in the way")
    assert not send(robot, report(robot, sequence=1))
    assert not send(robot, report(robot, sequence=2))
    reporting._outbox.cache_clear()
    assert not send(robot, None)
    (tmp_path / "repository").unlink()
    (tmp_path / "repository").mkdir()
    assert send(robot, None)
    assert delivered(tmp_path, key).sequence == 2
    assert send(robot, None)


def refuse(path, content):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_report_is_delivered_from_a_disk_that_is_full(robot, tmp_path, key, monkeypatch):
    monkeypatch.setattr(reporting, "replace_file", refuse)
    assert send(robot, report(robot, why="the disk is full"))
    assert delivered(tmp_path, key).why == "the disk is full"


def test_an_older_report_never_follows_a_newer_one(robot, tmp_path, key, monkeypatch):
    offline = []

    def deliver(content):
        if offline:
            raise AgentError("offline", needed="a network", fix="wait")
        (tmp_path / "sent").write_bytes(content)

    outbox = Outbox(robot.state)
    offline.append(True)
    outbox.put(b'"old"')
    assert not outbox.flush(deliver)
    monkeypatch.setattr(
        reporting, "replace_file", lambda path, content: (_ for _ in ()).throw(OSError(errno.EROFS, ""))
    )
    outbox.put(b'"new"')
    offline.clear()
    assert outbox.flush(deliver)
    assert outbox.flush(deliver)
    assert (tmp_path / "sent").read_bytes() == b'"new"'


@pytest.mark.parametrize("content", [b"", b'{"payload": ', b"\xff", b" " * (LARGEST_BYTES + 1), b"[" * 60_000])
def test_a_damaged_outbox_is_ignored(robot, content):
    (robot.state / OUTBOX).write_bytes(content)
    assert Outbox(robot.state).pending is None


def test_an_unusable_key_is_named(robot):
    robot.key.chmod(0o644)
    with pytest.raises(FleetError, match=r"reports cannot be signed: .* has mode 0644") as refused:
        send(robot, report(robot))
    assert refused.value.fix.startswith("chmod 600 ")
    robot.key.unlink()
    with pytest.raises(RobotAssetsError) as refused:
        send(robot, report(robot))
    assert refused.value.fix == f"robot-assets key create --out {robot.key}"
