"""What the agent of a robot does with what it is assigned, on real files and signed metadata."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any

import pytest

from robot_assets.agent.device import Device
from robot_assets.agent.spec import HealthSpec
from robot_assets.agent.update import Agent, is_within
from robot_assets.fleet.assignments import Recall
from robot_assets.fleet.errors import AgentError
from robot_assets.fleet.reports import State
from robot_assets.lineage.spec import QuietSpec
from tests.robots.world import BAD, FINGERPRINT, Release, Robot, World


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Release]:
    """A fleet whose first robot serves the release ``one``."""
    world = World(tmp_path_factory.mktemp("ready") / "fleet", names=("r1", "r2"))
    one = world.release("one")
    world.assign(one)
    assert world.robot().run().state is State.COMMITTED
    return world, one


@pytest.fixture
def world(ready: tuple[World, Release], tmp_path: Path) -> World:
    return ready[0].copied_to(tmp_path / "fleet")


def started(robot: Robot, **parts: Any) -> Agent:
    """The agent of a new process, with some parts replaced."""
    return Agent(robot.spec, replace(robot.parts, **parts))


def with_health(robot: Robot, **options: Any) -> Robot:
    """The robot with a health check; ``why_unhealthy`` decides what it says."""
    health = HealthSpec(**{"file": Path("/nowhere"), "start_s": 30, **options})
    return replace(robot, spec=robot.spec.model_copy(update={"health": health}))


def serving_one(world: World) -> tuple[Robot, Release]:
    """The robot that serves ``one``."""
    robot = world.robot()
    release = str(robot.state.current)
    return robot, Release(
        release, str(world.repository.bundle_sha256(world.group, release)), world.folder / "releases/one"
    )


def test_a_robot_takes_what_it_is_assigned_and_says_so(world: World) -> None:
    robot, one = serving_one(world)
    assert robot.serving() == one.id
    report = world.reports()["r1"].report
    assert (report.state, report.running, report.proven) == (State.COMMITTED, one.version, (one.version,))


def test_a_robot_that_is_not_listed_downloads_ahead_and_waits(world: World) -> None:
    robot, one = serving_one(world)
    two = world.release("two")
    world.assign(two, install=["r2"])
    state = robot.run()
    assert (state.state, state.next, robot.serving()) == (State.PREPARED, two.version, one.id)
    assert "turn" in state.why
    world.assign(two)
    assert robot.run().state is State.COMMITTED
    assert robot.serving() == two.id
    assert robot.state.last_good == one.version


def test_without_download_ahead_nothing_is_downloaded_before_its_turn(world: World) -> None:
    robot, one = serving_one(world)
    world.assign(world.release("two"), install=[], download_ahead=False)
    state = robot.run()
    assert (state.state, state.next) == (State.COMMITTED, None)
    assert [path.name for path in (robot.spec.state / "sets").iterdir()] == [one.id]


def test_a_release_that_is_withdrawn_while_it_waits_is_dropped(world: World) -> None:
    robot, one = serving_one(world)
    two = world.release("two")
    world.assign(two, install=[])
    robot.run()
    world.assign(one)
    assert robot.run().next is None
    assert [path.name for path in (robot.spec.state / "sets").iterdir()] == [one.id]


def test_a_robot_that_was_off_jumps_to_the_release_of_today(world: World) -> None:
    robot, _ = serving_one(world)
    for name in ("two", "three", "four"):
        newest = world.release(name)
        world.assign(newest)
    assert robot.run().current == newest.version


def test_going_back_to_the_release_before_needs_no_download(world: World) -> None:
    robot, one = serving_one(world)
    world.assign(world.release("two"))
    robot.run()
    for path in (world.storage / "blobs").iterdir():
        path.unlink()
    world.assign(one)
    assert robot.run().state is State.COMMITTED
    assert robot.serving() == one.id


def test_a_release_that_fails_its_gates_is_left_and_not_taken_again(world: World) -> None:
    robot, one = serving_one(world)
    bad = world.release("bad", BAD)
    world.assign(bad)
    proofs: list[Path] = []
    agent = started(robot, prove=_counted(robot.parts.prove, proofs))
    agent.once()
    state = agent.once()
    assert robot.serving() == one.id
    assert (state.state, [one.release for one in state.failed]) == (State.COMMITTED, [bad.version])
    assert "other answers" in state.why
    assert len(proofs) == 1
    assert world.reports()["r1"].report.failed[0].release == bad.version


def _counted(prove: Callable[..., None], calls: list[Path]) -> Callable[..., None]:
    def counted(release: Path, robot: Any) -> None:
        calls.append(release)
        prove(release, robot)

    return counted


def test_a_release_that_does_not_verify_is_refused_before_the_switch(world: World) -> None:
    robot, one = serving_one(world)
    two = world.release("two")
    world.assign(two)

    def refuse(release: Path, spec: Any) -> None:
        raise AgentError("signed by a stranger", needed="a trusted key", fix="-")

    state = started(robot, verify=refuse).once()
    assert (robot.serving(), state.has_failed(two.version)) == (one.id, "signed by a stranger")


def test_what_failed_is_tried_again_when_what_it_is_judged_by_has_changed(world: World) -> None:
    robot, _ = serving_one(world)
    two = world.release("two")
    world.assign(two)

    def refuse(release: Path, spec: Any) -> None:
        raise AgentError("signed by a stranger", needed="a trusted key", fix="-")

    started(robot, verify=refuse).once()
    other = replace(robot, spec=robot.spec.model_copy(update={"trusted_keys": ("ed25519:" + "22" * 32,)}))
    assert other.run().current == two.version


def test_the_first_release_of_a_robot_fails_and_nothing_serves(world: World) -> None:
    world.assign(world.release("bad", BAD))
    robot = world.robot("r2")
    state = robot.run(2)
    assert (state.state, state.current, robot.serving()) == (State.IDLE, None, None)


def test_a_command_that_fails_is_a_failed_proof(world: World) -> None:
    robot, one = serving_one(world)
    two = world.release("two")
    world.assign(two)
    calls: list[str] = []

    def fail_first(spec: Any) -> None:
        calls.append(str((spec.state / "current").resolve().name))
        if len(calls) == 1:
            raise AgentError("on_switch: `x` exited with 3", needed="0", fix="-")

    state = started(robot, on_switch=fail_first).once()
    assert calls == [two.id, one.id]
    assert (robot.serving(), state.has_failed(two.version)) == (one.id, "on_switch: `x` exited with 3")


def test_health_has_to_last_before_the_robot_commits(world: World) -> None:
    robot, _ = serving_one(world)
    two = world.release("two")
    world.assign(two, prove_s=20)
    agent = started(with_health(robot))
    assert agent.once().state is State.PROVING
    robot.clock.offset_s += 19
    assert agent.step().state is State.PROVING
    robot.clock.offset_s += 2
    assert agent.step().state is State.COMMITTED
    assert agent.state.committed[-1] == two.version


def test_what_serves_may_take_a_while_to_start(world: World) -> None:
    robot, _ = serving_one(world)
    world.assign(world.release("two"), prove_s=0)
    why: list[str | None] = ["still loading"]
    agent = started(with_health(robot), why_unhealthy=lambda spec, since: why[0])
    assert agent.once().state is State.PROVING
    robot.clock.offset_s += 29
    assert agent.step().state is State.PROVING
    why[0] = None
    assert agent.step().state is State.COMMITTED


def test_what_does_not_get_healthy_in_time_is_rolled_back(world: World) -> None:
    robot, one = serving_one(world)
    world.assign(world.release("two"), prove_s=0)
    agent = started(with_health(robot), why_unhealthy=lambda spec, since: "no heartbeat")
    agent.once()
    robot.clock.offset_s += 31
    assert "no heartbeat" in agent.step().why
    assert robot.serving() == one.id


def test_health_that_ends_during_the_proof_is_rolled_back_at_once(world: World) -> None:
    robot, one = serving_one(world)
    world.assign(world.release("two"), prove_s=60)
    why: list[str | None] = [None]
    agent = started(with_health(robot), why_unhealthy=lambda spec, since: why[0])
    agent.once()
    why[0] = "crashed"
    assert agent.step().state is State.COMMITTED
    assert robot.serving() == one.id


def test_what_gets_sick_after_it_has_baked_is_reported(world: World) -> None:
    robot, _ = serving_one(world)
    two = world.release("two")
    world.assign(two, bake_s=100)
    why: list[str | None] = [None]
    agent = started(with_health(robot), why_unhealthy=lambda spec, since: why[0])
    agent.once()
    agent.step()
    robot.clock.offset_s += 120
    assert agent.once().current == two.version
    assert world.reports()["r1"].report.healthy_s >= 100
    why[0] = "crashed"
    agent.once()
    robot.clock.offset_s += 60
    assert agent.once().current == two.version
    assert "crashed" in agent.state.why


def test_a_release_that_gets_sick_before_it_has_baked_is_rolled_back(world: World) -> None:
    robot, one = serving_one(world)
    two = world.release("two")
    world.assign(two, bake_s=100)
    why: list[str | None] = [None]
    agent = started(with_health(robot), why_unhealthy=lambda spec, since: why[0])
    assert agent.once().current == two.version
    why[0] = "crashed"
    agent.once()
    robot.clock.offset_s += 29
    assert agent.once().current == two.version
    robot.clock.offset_s += 2
    assert agent.once().has_failed(two.version)
    assert robot.serving() == one.id


def test_a_busy_robot_switches_later(world: World) -> None:
    robot, one = serving_one(world)
    two = world.release("two")
    world.assign(two)
    busy: list[str | None] = ["/run/moving exists"]
    agent = started(robot, why_busy=lambda spec: busy[0])
    state = agent.once()
    assert (state.state, robot.serving()) == (State.PREPARED, one.id)
    assert "/run/moving" in state.why
    busy[0] = None
    assert agent.once().current == two.version


def test_a_robot_switches_within_the_window_alone(world: World) -> None:
    robot, one = serving_one(world)
    two = world.release("two")
    hour = datetime.now(UTC).hour
    shut = {"start": f"{(hour + 3) % 24:02}:00", "end": f"{(hour + 5) % 24:02}:00", "timezone": "UTC"}
    world.assign(two, window=shut)
    state = robot.run()
    assert (state.state, robot.serving()) == (State.PREPARED, one.id)
    assert "window" in state.why
    world.assign(two, window={**shut, "start": f"{(hour - 2) % 24:02}:00"})
    assert robot.run().current == two.version


@pytest.mark.parametrize(
    ("start", "end", "zone", "clock", "expected"),
    [
        ("08:00", "10:00", "UTC", "09:00", True),
        ("08:00", "10:00", "UTC", "10:00", False),
        ("22:00", "04:00", "UTC", "23:30", True),
        ("22:00", "04:00", "UTC", "03:59", True),
        ("22:00", "04:00", "UTC", "12:00", False),
        ("10:00", "11:00", "Europe/Berlin", "08:30", True),
    ],
)
def test_windows(start: str, end: str, zone: str, clock: str, expected: bool) -> None:
    now = datetime.combine(datetime(2026, 7, 1, tzinfo=UTC), time.fromisoformat(clock), UTC)
    assert is_within(QuietSpec.model_validate({"start": start, "end": end, "timezone": zone}), now) is expected


def test_a_release_for_another_device_is_held_and_taken_once_the_device_fits(world: World) -> None:
    robot, one = serving_one(world)
    two = world.release("two")
    world.assign(two)
    device = [Device("f" * 64, {"l4t": "36.5.0"})]
    agent = started(robot, device=lambda: device[0])
    state = agent.once()
    assert (state.state, robot.serving(), state.failed) == (State.HELD, one.id, ())
    report = world.reports()["r1"].report
    assert (report.fingerprint, report.working_on) == ("f" * 64, two.version)
    assert "l4t" in report.why
    device[0] = Device(FINGERPRINT)
    robot.clock.offset_s += 601
    assert agent.once().current == two.version


def test_a_device_that_no_longer_fits_what_it_runs_says_so(world: World) -> None:
    robot, one = serving_one(world)
    state = started(robot, device=lambda: Device("f" * 64, {"l4t": "36.5.0"})).once()
    assert (state.state, state.current) == (State.HELD, one.version)
    assert "another device" in state.why
    assert world.reports()["r1"].report.fingerprint == "f" * 64


def test_a_recalled_release_is_left_for_the_last_good_one(world: World) -> None:
    robot, one = serving_one(world)
    two = world.release("two")
    world.assign(two)
    robot.run(2)
    recall = Recall(hash=_engine(two), reason="bad recording")
    world.assign(two, recalls=(recall,))
    state = robot.run(2)
    assert (robot.serving(), state.state) == (one.id, State.HELD)
    assert "bad recording" in state.why
    assert two.version not in state.committed
    world.assign(two)
    assert robot.run().current == two.version


def test_a_recall_is_obeyed_without_a_network(world: World) -> None:
    robot, one = serving_one(world)
    two = world.release("two")
    world.assign(two, recalls=(Recall(hash=_engine(two), reason="bad recording"),), install=[])
    robot.run()
    world.storage.rename(world.folder / "gone")
    state = robot.run(2)
    assert (robot.serving(), state.state is State.HELD) == (one.id, False)
    kept = robot.spec.state / "assignments.json"
    document = json.loads(kept.read_bytes())
    kept.write_text(json.dumps({**document, "recalls": [{"hash": _engine(one), "reason": "r"}], "on_recall": "stop"}))
    assert robot.run().current is None
    assert robot.serving() is None


@pytest.mark.parametrize("policy", ["last_good", "stop"])
def test_a_robot_whose_every_release_is_recalled_follows_the_policy(world: World, policy: str) -> None:
    robot, one = serving_one(world)
    world.assign(one, recalls=(Recall(hash=_engine(one), reason="bad recording"),), on_recall=policy)
    state = robot.run(2)
    assert state.state is State.HELD
    assert "bad recording" in state.why
    assert robot.serving() == (one.id if policy == "last_good" else None)


def _engine(release: Release) -> str:
    files = json.loads((release.path / "bundle.json").read_bytes())["files"]
    return next(str(file["sha256"]) for file in files if file["path"] == "net/engine.bin")


def interrupted_while_proving(world: World, **parts: Any) -> tuple[Robot, Release, Release]:
    """A robot whose agent is killed while it proves ``two``."""
    robot, one = serving_one(world)
    two = world.release("two")
    world.assign(two)

    class Killed(BaseException):
        pass

    def kill(release: Path, spec: Any) -> None:
        raise Killed

    with pytest.raises(Killed):
        started(robot, prove=kill).once()
    assert robot.state.state is State.PROVING
    return robot, one, two


def test_an_agent_that_is_killed_while_it_proves_goes_on_proving(world: World) -> None:
    robot, _, two = interrupted_while_proving(world)
    assert robot.run().state is State.COMMITTED
    assert robot.serving() == two.id


def test_a_release_that_makes_the_device_restart_is_rolled_back_before_anything_else(world: World) -> None:
    robot, one, two = interrupted_while_proving(world)
    robot.clock.boot = "boot-2"
    agent = robot.agent()
    world.storage.rename(world.folder / "gone")
    assert agent.recover()
    assert robot.serving() == one.id
    assert "restarted" in str(agent.state.has_failed(two.version))


def test_a_release_that_takes_the_agent_along_each_time_is_rolled_back(world: World) -> None:
    robot, one, two = interrupted_while_proving(world)

    class Killed(BaseException):
        pass

    def kill(release: Path, spec: Any) -> None:
        raise Killed

    for _ in range(2):
        with pytest.raises(Killed):
            started(robot, prove=kill).once()
    state = started(robot, prove=kill).once()
    assert robot.serving() == one.id
    assert "3 times" in str(state.has_failed(two.version))


@pytest.mark.parametrize("what", ["withdrawn", "recalled", "superseded"])
def test_a_release_that_is_given_up_while_it_is_proven_has_not_failed(world: World, what: str) -> None:
    robot, one = serving_one(world)
    two = world.release("two")
    world.assign(two, prove_s=1000)
    agent = started(with_health(robot))
    assert agent.once().state is State.PROVING
    if what == "recalled":
        world.assign(two, prove_s=1000, recalls=(Recall(hash=_engine(two), reason="bad recording"),))
    else:
        world.assign(one if what == "withdrawn" else world.release("three"), prove_s=1000)
    state = agent.once()
    assert (state.failed, two.version in state.committed) == ((), False)
    assert state.current != two.version
    assert robot.serving() == (one.id if what != "superseded" else str(state.next).removesuffix(".dir"))


def test_a_robot_without_another_release_goes_on_proving_a_withdrawn_one(world: World) -> None:
    two = world.release("two")
    world.assign(two, prove_s=10)
    robot = world.robot("r2")
    agent = started(with_health(robot))
    agent.once()
    world.assign(None)
    robot.clock.offset_s += 11
    assert agent.once().committed == (two.version,)


def test_a_full_disk_makes_room_for_the_next_look(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    robot, one = serving_one(world)
    two = world.release("two")
    world.assign(two, install=[])
    agent = robot.agent()
    assert agent.once().state is State.PREPARED

    def full(*given: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(agent.repository, "look", full)
    state = agent.once()
    assert (state.state, robot.serving()) == (State.HELD, one.id)
    assert "no space left" in state.why
    assert [path.name for path in (robot.spec.state / "sets").iterdir()] == [one.id]
    monkeypatch.undo()
    world.assign(two)
    assert agent.once().current == two.version


def test_a_damaged_set_is_left_for_the_last_good_one_and_repaired(world: World) -> None:
    robot, one = serving_one(world)
    two = world.release("two")
    world.assign(two)
    robot.run(2)
    damaged = robot.spec.state / "sets" / two.id / "net" / "engine.bin"
    damaged.write_bytes(b"x" * damaged.stat().st_size)
    agent = robot.agent()
    agent.recover()
    assert robot.serving() == one.id
    assert agent.once().current == two.version
    assert robot.serving() == two.id
    assert not agent.state.failed


def test_the_link_follows_the_state_where_both_differ(world: World) -> None:
    robot, one = serving_one(world)
    robot.current.unlink()
    robot.run()
    assert robot.serving() == one.id


@pytest.mark.parametrize("content", [None, b"", b'{"format": 1, "state":', b"\0" * 200])
def test_a_lost_state_is_restored_from_the_disk(world: World, content: bytes | None) -> None:
    robot, one = serving_one(world)
    path = robot.spec.state / "state.json"
    path.unlink() if content is None else path.write_bytes(content)
    world.storage.rename(world.folder / "gone")
    state = robot.run()
    assert (state.current, robot.serving()) == (one.version, one.id)


def test_an_unreachable_repository_changes_nothing_and_is_said_once(world: World) -> None:
    robot, one = serving_one(world)
    robot.log.clear()
    world.storage.rename(world.folder / "gone")
    agent = robot.agent()
    for _ in range(3):
        state = agent.once()
    assert (state.state, robot.serving()) == (State.COMMITTED, one.id)
    assert len([line for line in robot.log if "timestamp" in line]) == 1


def test_a_release_without_room_is_held_with_the_numbers(world: World) -> None:
    robot, one = serving_one(world)
    two = world.release("two")
    world.assign(two)
    full = replace(robot, spec=robot.spec.model_copy(update={"reserve_mib": 1e9}))
    state = full.run()
    assert (state.state, state.next, robot.serving()) == (State.HELD, two.version, one.id)
    assert "MiB" in state.why
    assert not state.failed
    assert robot.run().current == two.version


def test_nothing_new_costs_two_small_requests_and_no_write(world: World) -> None:
    from robot_assets.agent.transport import HttpTransport, Limits
    from tests.robots import http_repository as http

    robot, _ = serving_one(world)
    with http.serving(world.storage) as server:
        agent = Agent(robot.spec, robot.parts, HttpTransport(server.url, Limits()))
        agent.once()
        server.asked.clear()
        before = (robot.spec.state / "state.json").stat().st_mtime_ns
        agent.once()
        assert len(server.asked) <= 3
        assert sum(one.sent for one in server.asked) < 20_000
    assert (robot.spec.state / "state.json").stat().st_mtime_ns == before


def test_two_agents_do_not_work_in_one_folder(world: World) -> None:
    from robot_assets.agent.state import locked, running_agent

    folder = world.folder / "state"
    with locked(folder), pytest.raises(AgentError, match="another agent"), locked(folder):
        pass
    with locked(folder):
        assert running_agent(folder)
    assert running_agent(folder) is None
