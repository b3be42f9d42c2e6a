"""The agent as a service: its unit, its loop, and its notifications of systemd."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from robot_assets.agent import loop, service
from robot_assets.agent.robot_yaml import load_robot
from robot_assets.agent.spec import HealthSpec, RobotSpec
from robot_assets.agent.update import Agent
from robot_assets.fleet.reports import State
from robot_assets.provenance.public_key import PublicKey
from tests.robots.world import World

KEY = PublicKey(bytes(range(32)))


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path / "fleet")
    world.assign(world.release("one"))
    return world


def parsed(text: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=["="])
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(text)
    return parser


def robot(folder: Path, **options: object) -> RobotSpec:
    values = {"robot": "r1", "group": "robots", "url": "https://h/fleet", "root": folder, "key": folder}
    return RobotSpec.model_validate({**values, "trusted_keys": ("x",), **options})


def test_the_unit_is_hardened_and_restarts_what_does_not_answer() -> None:
    unit = parsed(service.unit())["Service"]
    assert unit["Type"] == "notify"
    assert unit["Restart"] == "always"
    assert unit["ProtectSystem"] == "strict"
    assert unit["NoNewPrivileges"] == "yes"
    assert unit["PrivateTmp"] == "yes"
    assert unit["StateDirectory"] == "robot-assets"
    assert unit["OOMPolicy"] == "continue"
    assert {"WatchdogSec", "MemoryMax", "RestrictAddressFamilies", "CapabilityBoundingSet"} <= set(unit)
    assert unit["ExecStart"] == f"{sys.executable} -m robot_assets.agent /etc/robot-assets/robot.yaml"
    assert unit["User"] == "robot-assets"


def test_the_unit_may_write_where_the_robot_writes(tmp_path: Path) -> None:
    spec = robot(tmp_path, state=Path("/data/my state"), url="/mnt/fleet", health=HealthSpec(file=Path("/tmp/alive")))
    unit = parsed(service.unit(Path("/data/100%/robot.yaml"), spec, "me"))["Service"]
    assert unit["ReadWritePaths"] == '"/data/my state" -/mnt/fleet'
    assert "StateDirectory" not in unit
    assert unit["PrivateTmp"] == "no"
    assert unit["ProtectHome"] == "read-only"
    assert unit["ExecStart"].endswith(" /data/100%%/robot.yaml")
    at_home = robot(tmp_path, state=Path("/home/robot/state"))
    assert parsed(service.unit(robot=at_home))["Service"]["ProtectHome"] == "no"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    path = tmp_path / service.UNIT_NAME
    spec = robot(tmp_path, state=tmp_path / "my state", url=str(tmp_path))
    path.write_text(service.unit(tmp_path / "robot.yaml", spec, "root"))
    done = subprocess.run(["systemd-analyze", "verify", str(path)], capture_output=True, text=True, check=False)
    ours = [line for line in done.stderr.splitlines() if service.UNIT_NAME in line]
    assert not ours
    assert done.returncode == 0


def filled_in() -> str:
    return service.template("r1", "robots", "https://host/fleet").replace("[]", f"[{KEY}]")


def test_the_template_needs_trusted_keys_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "robot.yaml"
    path.write_text(filled_in())
    spec = load_robot(path)
    assert (spec.robot, spec.group, spec.url) == ("r1", "robots", "https://host/fleet")
    assert spec.key == tmp_path / "robot.pem"


def test_every_commented_key_of_the_template_is_a_key(tmp_path: Path) -> None:
    path = tmp_path / "robot.yaml"
    path.write_text(re.sub(r"(?m)^# ( *[a-z0-9_]+:)", r"\1", filled_in()))
    spec = load_robot(path)
    assert spec.health
    assert spec.busy
    assert spec.bandwidth_mib_s
    assert spec.on_switch
    assert spec.reports_url
    assert spec.budgets.latency_ms_p95_max


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(path))
        receiver.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        yield receiver


def messages(receiver: socket.socket) -> list[str]:
    found = []
    while True:
        try:
            found.append(receiver.recv(4096).decode())
        except BlockingIOError:
            return found


def test_systemd_is_notified_when_the_robot_is_ready_and_alive(world: World, systemd: socket.socket) -> None:
    agent = world.robot(poll_s=0.01).agent()
    polls = [0]

    def wait(seconds: float) -> bool:
        polls[0] += 1
        time.sleep(min(seconds, 0.02))
        return polls[0] > 3

    loop.serve(agent, wait)
    said = messages(systemd)
    assert said[0] == "READY=1"
    assert said[1].startswith("WATCHDOG=1\nSTATUS=committed: ")
    assert len(said) >= 3


def test_a_missing_systemd_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    loop.notify("READY=1")
    monkeypatch.delenv("NOTIFY_SOCKET")
    loop.notify("READY=1")


def test_a_fault_of_the_agent_does_not_end_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet_robot = world.robot(poll_s=0.01)
    agent = fleet_robot.agent()
    outcomes: list[Callable[[], object]] = [agent.once, lambda: 1 // 0, agent.once]
    monkeypatch.setattr(agent, "once", lambda: outcomes.pop(0)())
    loop.serve(agent, lambda seconds: not outcomes)
    assert any("ZeroDivisionError" in line for line in fleet_robot.log)
    assert agent.state.state is State.COMMITTED


def test_polls_are_jittered(world: World) -> None:
    agent = world.robot(poll_s=100).agent()
    waits: list[float] = []

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        return True

    for _ in range(20):
        loop.serve(agent, wait)
    assert min(waits) >= 100 * (1 - loop.JITTER) - 1
    assert max(waits) <= 100 * (1 + loop.JITTER)
    assert max(waits) - min(waits) > 1


def test_a_release_that_is_being_proven_is_looked_at_between_polls(world: World) -> None:
    world.assign(world.release("two"), prove_s=0.05)
    fleet_robot = world.robot(poll_s=1000)
    agent = fleet_robot.agent()
    waits: list[float] = []

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        time.sleep(0.1)
        return agent.state.state is State.COMMITTED

    loop.serve(agent, wait)
    assert max(waits[:-1]) <= loop.PROVING_S
    assert agent.state.state is State.COMMITTED


def test_once_goes_on_until_the_release_is_proven(world: World) -> None:
    world.assign(world.release("two"), prove_s=0.05)

    def wait(seconds: float) -> bool:
        time.sleep(0.1)
        return False

    assert loop.settle(world.robot().agent(), wait).state is State.COMMITTED


def test_a_real_process_polls_and_ends_when_it_is_asked_to(world: World, tmp_path: Path) -> None:
    spec = world.robot().spec
    path = tmp_path / "robot.yaml"
    path.write_text(
        f"robot: r1\ngroup: robots\nurl: {spec.url}\nroot: {spec.root}\nkey: {spec.key}\nstate: state\npoll_s: 0.2\n"
        f"trusted_keys: ['{KEY}']\n"
    )
    command = [sys.executable, "-m", "robot_assets.agent", str(path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        report = world.storage / "reports" / "robots" / "r1.json"
        until = time.monotonic() + 60
        while not report.exists() and time.monotonic() < until and process.poll() is None:
            time.sleep(0.05)
        loaded = Path(f"/proc/{process.pid}/maps").read_text()
        second = subprocess.run(command, capture_output=True, text=True, check=False)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert report.exists()
    assert second.returncode == 1
    assert f"another agent works in {tmp_path / 'state'}, process {process.pid}" in second.stderr
    assert not {name for name in ("numpy", "onnxruntime", "torch") if f"/{name}/" in loaded}


def test_a_process_without_a_valid_robot_yaml_says_what_is_wrong(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "robot_assets.agent", str(tmp_path / "none.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ})
    assert done.returncode == 1
    assert done.stderr.startswith("error: no ")
    assert "Traceback" not in done.stderr


def test_an_agent_needs_no_state_folder_to_say_why(world: World) -> None:
    fleet_robot = world.robot()
    fleet_robot.spec.state.parent.mkdir(parents=True, exist_ok=True)
    fleet_robot.spec.state.write_text("a file")
    state = Agent(fleet_robot.spec, fleet_robot.parts).once()
    assert state.state is State.HELD
    assert "a folder" in state.why or "is a file" in state.why
