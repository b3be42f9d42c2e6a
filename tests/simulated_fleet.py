"""A group of simulated robots: they poll, switch, prove, fail, report late, go off and come back with old orders."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from robot_assets.fleet.reports import Failure, Received, Report, State
from robot_assets.fleet.rollout import Decision, Status, decide
from robot_assets.fleet.spec import GroupSpec
from tests.robot_reports import NOW


@dataclass
class SimulatedRobot:
    """A robot that obeys the last assignments that it has read."""

    name: str
    is_on: bool = True
    running: str | None = None
    healthy_s: float = 0
    working_on: str | None = None
    failed: tuple[str, ...] = ()
    proven: tuple[str, ...] = ()
    sequence: int = 0
    release: str | None = None
    """The release that it may have by the assignments that it has read; None: it keeps what it has."""

    def poll(self, decision: Decision) -> None:
        self.release = decision.release if self.name in decision.install else None

    def work(self, fails: Callable[[str, str], bool]) -> None:
        """The next step of an update: the switch, or the end of the proof."""
        if self.working_on is not None:
            self._end_proof(self.working_on, fails(self.name, self.working_on))
        elif self.release is not None and self.release != self.running and self.release not in self.failed:
            self.working_on = self.release

    def _end_proof(self, release: str, is_bad: bool) -> None:
        self.working_on = None
        if is_bad:
            self.failed = (*self.failed, release)
        else:
            self.running, self.healthy_s = release, 0
            self.proven = (*[one for one in self.proven if one != release][-1:], release)

    def report(self, at: datetime) -> Received:
        self.sequence += 1
        state = State.PROVING if self.working_on else State.COMMITTED if self.running else State.IDLE
        return Received(
            Report(
                robot=self.name,
                group="delivery",
                sequence=self.sequence,
                at=at.isoformat(),
                state=state,
                running=self.working_on or self.running,
                healthy_s=0 if self.working_on else self.healthy_s,
                working_on=self.working_on,
                failed=tuple(Failure(release=release, reason="planted") for release in self.failed),
                proven=self.proven,
                fingerprint="f" * 64,
            ),
            at,
        )


@dataclass
class SimulatedGroup:
    """Robots, the reports that arrived, and the decision that is published."""

    group: GroupSpec
    robots: list[SimulatedRobot]
    release: str | None
    fails: Callable[[str, str], bool]
    now: datetime = NOW
    reports: dict[str, Received] = field(default_factory=dict)
    decision: Decision = field(init=False)

    def __post_init__(self) -> None:
        self.look()

    @property
    def names(self) -> list[str]:
        return [robot.name for robot in self.robots]

    def look(self) -> Decision:
        self.decision = decide(self.release, self.group, self.names, self.reports, self.now)
        return self.decision

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        for robot in self.robots:
            if robot.is_on and robot.working_on is None:
                robot.healthy_s += seconds

    def deliver(self, robot: SimulatedRobot) -> None:
        self.reports[robot.name] = robot.report(self.now)

    def round(self, seconds: float) -> Decision:
        """Time passes, and every robot that is on polls, works and reports twice before the next look."""
        self.wait(seconds)
        for robot in self.robots:
            if robot.is_on:
                robot.poll(self.decision)
                for _ in range(2):
                    robot.work(self.fails)
                    self.deliver(robot)
        return self.look()

    def having(self, *statuses: Status) -> list[str]:
        return [name for name, status in self.decision.robots.items() if status in statuses]
