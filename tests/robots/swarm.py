"""Many real agents as processes, one HTTP server in a process of its own, and the controller of their rollout.

All are forked from one process that has imported everything, so that they share its memory.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from robot_assets.agent import loop, reporting
from robot_assets.agent.spec import RobotSpec
from robot_assets.agent.transport import Limits, transport_of
from robot_assets.agent.update import Agent
from robot_assets.fleet.errors import AgentError
from robot_assets.fleet.reports import Received
from robot_assets.fleet.rollout import Decision, Phase, decide
from robot_assets.fleet.spec import GroupSpec
from tests.robots.http_repository import serving
from tests.robots.world import Release, Robot, World, prove

LONGEST_S = 300
"""A swarm that takes longer is stuck."""


@dataclass
class Tick:
    """One look of the controller: the decision, and the robots that had left their release before it was published."""

    decision: Decision
    begun: frozenset[str]
    took_s: float


@dataclass
class Swarm:
    """Attributes: world: the fleet. robots: by name. group: the policy. ticks: every look at the present release."""

    world: World
    robots: dict[str, Robot]
    group: GroupSpec
    processes: dict[str, int] = field(default_factory=dict)
    ticks: list[Tick] = field(default_factory=list)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.robots)

    def wait_for_reports(self) -> None:
        """Wait until every robot has reported."""
        deadline = time.monotonic() + LONGEST_S
        while self.world.reports().keys() != self.robots.keys():
            if time.monotonic() > deadline:
                raise TimeoutError(f"no report of {self.robots.keys() - self.world.reports().keys()}")
            time.sleep(0.1)

    def roll_out(self, release: Release, ends: Callable[[Decision], bool]) -> Decision:
        """Decide and publish until ``ends``, as the step rollout does with every change of the reports."""
        self.ticks = []
        began = time.monotonic()
        while time.monotonic() - began < LONGEST_S:
            before = time.monotonic()
            reports = self.world.reports()
            published = self.world.assigned
            listed = published.install if published and published.release == release.version else ()
            decision = decide(release.version, self.group, self.names, reports, datetime.now(UTC), listed)
            self.world.assign(
                release,
                decision.install,
                prove_s=self.group.rollout.prove_s,
                bake_s=self.group.rollout.bake_s,
                silence_s=self.group.rollout.silence_s,
            )
            begun = frozenset(name for name, one in reports.items() if has_begun(one, release))
            self.ticks.append(Tick(decision, begun, time.monotonic() - before))
            if ends(decision):
                return decision
            time.sleep(0.2)
        raise TimeoutError(f"{self.ticks[-1].decision.why}; {self.ticks[-1].decision.robots}")

    def running(self) -> dict[str, str | None]:
        """The release that each robot serves, whose files are checked."""
        return {name: robot.serving() for name, robot in self.robots.items()}

    def end(self) -> None:
        """Ask all agents to end, and wait for them."""
        for process in self.processes.values():
            os.kill(process, signal.SIGTERM)
        deadline = time.monotonic() + 20
        for name, process in self.processes.items():
            while os.waitpid(process, os.WNOHANG)[0] == 0:
                if time.monotonic() > deadline:
                    os.kill(process, signal.SIGKILL)
                    os.waitpid(process, 0)
                    raise TimeoutError(f"the agent of {name} did not end when it was asked to")
                time.sleep(0.01)


def has_begun(received: Received, release: Release) -> bool:
    """Whether a robot has ever switched to a release, as it reports."""
    report = received.report
    has_failed = any(one.release == release.version for one in report.failed)
    return release.version == report.running or release.version in report.proven or has_failed


@contextmanager
def swarm(
    folder: Path, count: int, group: GroupSpec, *, fails: Callable[[str, bytes], bool], poll_s: float
) -> Iterator[Swarm]:
    """Start a server and agents; all have ended when the block ends.

    Args:
        folder: For everything.
        count: Robots.
        group: The policy.
        fails: Whether the gates of a robot fail on an engine.
        poll_s: Of each robot.
    """
    names = tuple(f"r{number:03}" for number in range(count))
    world = World(folder, names=names)
    world.assign(None, ())
    with server_process(world.storage) as url:
        world.url = url
        robots = {name: world.robot(name, poll_s=poll_s, report_s=5) for name in names}
        found = Swarm(world, robots, group)
        try:
            for name, robot in robots.items():
                found.processes[name] = _started(robot, fails)
            yield found
        finally:
            found.end()


@contextmanager
def server_process(folder: Path) -> Iterator[str]:
    """An HTTP server of ``folder`` in a process of its own; its URL."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(reading)
        _serve(folder, writing)
    os.close(writing)
    with open(reading) as stream:
        url = stream.readline().strip()
    try:
        yield url
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)


def _serve(folder: Path, writing: int) -> NoReturn:
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with serving(folder) as repository:
            os.write(writing, f"{repository.url}\n".encode())
            os.close(writing)
            signal.pause()
    finally:
        os._exit(1)


def _started(robot: Robot, fails: Callable[[str, bytes], bool]) -> int:
    """Fork a process that runs the agent of a robot until SIGTERM."""
    process = os.fork()
    if process:
        return process
    try:
        random.seed(os.getpid())
        reporting._outbox.cache_clear()
        time.sleep(random.uniform(0, robot.spec.poll_s))
        loop.run(_agent(robot, fails))
    except BaseException as error:
        os.write(2, f"agent of {robot.name}: {error!r}\n".encode())
        os._exit(1)
    os._exit(0)


def _agent(robot: Robot, fails: Callable[[str, bytes], bool]) -> Agent:
    def gates(release: Path, spec: RobotSpec) -> None:
        prove(release, spec)
        if fails(spec.robot, (release / "net" / "engine.bin").read_bytes()):
            raise AgentError("the answers differ", needed="the reference answers", fix="-")

    parts = replace(robot.parts, prove=gates, log=lambda line: None)
    return Agent(robot.spec, parts, transport_of(robot.spec.url, Limits()))


def largest_step(ticks: Sequence[Tick]) -> int:
    """The most robots that had begun beyond those that were ever listed: 0 where none did without being asked."""
    listed: set[str] = set()
    most = 0
    for tick in ticks:
        most = max(most, len(tick.begun - listed))
        listed |= set(tick.decision.install)
    return most


def is_over(decision: Decision) -> bool:
    """Whether a rollout is complete or stopped."""
    return decision.phase in (Phase.DONE, Phase.STOPPED)
