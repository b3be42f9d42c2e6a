"""A robot is killed, or loses power, at every step of an update: it has one complete set, and the next run converges.

The suite takes some of the points; ``CRASH_POINTS=all`` takes every one (about 10 minutes).
"""

from __future__ import annotations

import copy
import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from robot_assets.fleet import layout
from robot_assets.fleet.assignments import Recall
from robot_assets.fleet.reports import Report, State, open_report
from tests.robots.disk import Op, Trace, killed_at
from tests.robots.power import ALL_LOST, BYTES_HALVED, BYTES_LOST, BYTES_ZEROED, NAMES_LOST, Disk, Loss, any_loss
from tests.robots.world import Release, Robot, World, in_memory

ALL = os.environ.get("CRASH_POINTS") == "all"
KILLS = 30
"""Points of one scenario at which it is killed, unless all are taken."""
LOSSES = 14
"""States after a loss of power of one scenario, unless all are taken."""


@dataclass
class Scenario:
    """One change of what is assigned.

    Attributes:
        start: Brings the robot into the state before it.
        act: Publishes what is assigned then.
        ends_with: Names of the releases that may serve in the end, the wanted one first; empty: none.
        may_serve: Names of the releases that may serve in between.
        polls: Polls that it takes.
    """

    start: Callable[[World, Robot, dict[str, Release]], None]
    act: Callable[[World, dict[str, Release]], None]
    ends_with: str
    may_serve: tuple[str, ...]
    failed: tuple[str, ...] = ()
    polls: int = 1


def nothing(world: World, robot: Robot, releases: dict[str, Release]) -> None:
    """A new robot."""


def after(*names: str) -> Callable[[World, Robot, dict[str, Release]], None]:
    """A robot that has taken these releases one after the other."""

    def start(world: World, robot: Robot, releases: dict[str, Release]) -> None:
        for name in names:
            world.assign(releases[name])
            robot.run(2)
            assert robot.serving() == releases[name].id, robot.log

    return start


def assigned(name: str) -> Callable[[World, dict[str, Release]], None]:
    return lambda world, releases: world.assign(releases[name]) and None


def recall_of_two(world: World, releases: dict[str, Release]) -> None:
    hash = hashlib.sha256(b"engine two").hexdigest()
    world.assign(releases["two"], recalls=(Recall(hash=hash, reason="its data set was wrong"),))


SCENARIOS = {
    "first install": Scenario(nothing, assigned("one"), "one", ("one",)),
    "first install fails": Scenario(nothing, assigned("bad"), "", ("bad",), ("bad",)),
    "update": Scenario(after("one"), assigned("two"), "two", ("one", "two")),
    "roll back": Scenario(after("one"), assigned("bad"), "one", ("one", "bad"), ("bad",)),
    "recall": Scenario(after("one", "two"), recall_of_two, "one", ("one", "two")),
    "eviction": Scenario(after("one", "two"), assigned("three"), "three", ("two", "three")),
    "evicted again": Scenario(after("one", "two", "three"), assigned("one"), "one", ("three", "one")),
}


@dataclass
class Case:
    """A scenario on a disk, before it happens."""

    scenario: Scenario
    world: World
    robot: Robot
    releases: dict[str, Release]
    before: Path
    ops: list[Op] = field(default_factory=list)
    disk: Disk | None = None

    @property
    def state(self) -> Path:
        return self.robot.spec.state

    @property
    def report_file(self) -> Path:
        return self.world.storage / layout.report(self.world.group, self.robot.name)

    def report(self) -> Report | None:
        """The last report that the robot has sent."""
        if not self.report_file.exists():
            return None
        return open_report(self.report_file.read_bytes(), self.world.public[self.robot.name])

    def reset(self, state: Path | None = None) -> None:
        """Restore the disk and the clock of the robot; ``state``: with this disk."""
        shutil.rmtree(self.state, ignore_errors=True)
        shutil.copytree(state or self.before / "state", self.state, symlinks=True)
        kept = self.before / "report.json"
        if kept.exists():
            shutil.copyfile(kept, self.report_file)
        else:
            self.report_file.unlink(missing_ok=True)
        self.robot.clock.boot = "boot-1"
        self.robot.log.clear()

    def poll(self, interrupt: Callable[[int, Op], str | None] | None = None) -> list[Op]:
        """Run the scenario in this process; its operations."""
        trace = Trace(self.state, interrupt)
        with trace.tracing():
            self.robot.run(self.scenario.polls)
        return trace.ops

    def killed(self, number: int, half: bool = False) -> None:
        """Run the scenario in a process that is killed at an operation."""
        child = os.fork()
        if child == 0:
            try:
                self.poll(killed_at(number, half))
            finally:
                os._exit(3)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), f"the process ended by itself: {status}"
        assert os.WTERMSIG(status) == signal.SIGKILL

    def names(self, *names: str) -> set[str | None]:
        return {self.releases[name].id for name in names} or {None}

    def check_serving(self) -> None:
        """What serves is complete, and one of the releases that may; nothing only where nothing was committed."""
        serving = self.robot.serving()
        allowed = self.names(*self.scenario.may_serve)
        has_begun = (self.before / "state" / "current").exists()
        assert serving in (allowed if has_begun else allowed | {None})

    def converge(self, *, restarted: bool = False) -> None:
        """Run the agent again, and compare with what the scenario ends with."""
        before = self.report()
        with Trace(self.state).tracing():
            state = self.robot.run(3)
        serving = self.robot.serving()
        wanted = self.names(self.scenario.ends_with) if self.scenario.ends_with else {None}
        failed = {one.release.removesuffix(".dir") for one in state.failed}
        if restarted and serving not in wanted:
            assert failed & self.names(*self.scenario.may_serve), (state, self.robot.log)
        else:
            assert serving in wanted, (state, self.robot.log)
            assert failed >= (self.names(*self.scenario.failed) - {None}), state
        assert state.state in (State.COMMITTED, State.IDLE, State.HELD), state
        self.check_report(before)

    def check_report(self, before: Report | None) -> None:
        """The last report says what serves, and comes after the ones before."""
        now = self.report()
        assert now is not None
        serving = self.robot.serving()
        assert now.running == (f"{serving}.dir" if serving else None)
        if before is not None and now != before:
            assert now.sequence > before.sequence


@pytest.fixture(scope="module")
def memory() -> Iterator[Path]:
    with in_memory() as folder:
        yield folder


@pytest.fixture(scope="module", params=list(SCENARIOS))
def case(request: pytest.FixtureRequest, memory: Path) -> Case:
    folder = memory / request.param.replace(" ", "_")
    world = World(folder)
    shared = {"shared.bin": b"s" * 5000}
    releases = {
        "one": world.release("one", **shared),
        "two": world.release("two", **shared),
        "three": world.release("three"),
        "bad": world.release("bad", b"bad engine", **shared),
    }
    robot = world.robot("r1")
    robot.spec.state.mkdir(parents=True)
    scenario = SCENARIOS[request.param]
    scenario.start(world, robot, releases)
    scenario.act(world, releases)
    case = Case(scenario, world, robot, releases, folder / "before")
    shutil.copytree(robot.spec.state, case.before / "state", symlinks=True)
    if case.report_file.exists():
        shutil.copyfile(case.report_file, case.before / "report.json")
    case.reset()
    case.disk = Disk(case.state)
    case.ops = case.poll()
    return case


def test_converges_without_a_kill(case: Case) -> None:
    case.reset()
    case.poll()
    case.check_serving()
    case.converge()


def _points(count: int, wanted: int) -> list[int]:
    """Numbers below ``count``: all of them, or so many, evenly spread."""
    if ALL or count <= wanted:
        return list(range(count))
    return sorted({round(index * (count - 1) / (wanted - 1)) for index in range(wanted)})


def test_killed_at_any_step_it_has_a_complete_set_and_converges(case: Case) -> None:
    for number in _points(len(case.ops), KILLS):
        for half in (False, True) if case.ops[number].kind == "write" and ALL else (number % 2 == 1,):
            case.reset()
            case.killed(number, half)
            try:
                case.check_serving()
                case.converge()
            except Exception as error:
                error.add_note(f"killed at operation {number}{' in its middle' if half else ''}: {case.ops[number]}")
                raise


LOST = {
    "bytes": BYTES_LOST,
    "half of the bytes": BYTES_HALVED,
    "bytes are zeros": BYTES_ZEROED,
    "names": NAMES_LOST,
    "all": ALL_LOST,
}


def _losses(count: int) -> Iterator[tuple[int, str, Loss]]:
    """Operations before which power is lost, and what is lost."""
    kinds = [*LOST.items()]
    for turn, number in enumerate(_points(count + 1, LOSSES)):
        random = [(f"seed {seed}", any_loss(seed)) for seed in (range(3) if ALL else (turn,))]
        chosen = kinds if ALL else [kinds[turn % len(kinds)]]
        yield from ((number, name, loss) for name, loss in [*chosen, *random])


@pytest.mark.parametrize("restarted", [False, True], ids=["of the disk", "of the device"])
def test_after_a_loss_of_power_it_has_a_complete_set_and_converges(case: Case, restarted: bool) -> None:
    """A device that restarts gives up the release that it was proving; a disk that is lost alone does not."""
    lost = case.world.folder / "lost"
    for number, name, loss in _losses(len(case.ops)):
        case.reset()
        disk = copy.deepcopy(case.disk)
        disk.replay(case.ops[:number])
        disk.write_lost(lost, loss)
        case.reset(lost)
        case.robot.clock.boot = "boot-2" if restarted else "boot-1"
        try:
            case.check_serving()
            case.converge(restarted=restarted)
        except Exception as error:
            error.add_note(f"power lost before operation {number} of {len(case.ops)}: {name}")
            raise


_CHILD = """
import sys
from pathlib import Path
from robot_assets.agent.spec import RobotSpec
from tests.robots.disk import Trace
from tests.robots.world import Clock, Robot, parts_of

spec = RobotSpec.model_validate_json(Path(sys.argv[1]).read_text())
clock = Clock()
trace = Trace(spec.state)
with trace.tracing():
    Robot(spec, clock, parts_of(clock, lambda line: None)).run()
Path(sys.argv[2]).write_text("\\n".join(op.kind for op in trace.ops))
"""
_CALLS = (
    "rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,mkdir,mkdirat,rmdir,write,pwrite64,writev"
)


def test_nothing_passes_beside_the_trace(tmp_path: Path) -> None:
    """The system calls of an update, as strace sees them, are those that the matrix interrupts."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("no strace to compare the trace with")
    world = World(tmp_path / "fleet")
    world.assign(world.release("one"))
    robot = world.robot()
    (tmp_path / "robot.json").write_text(robot.spec.model_dump_json())
    out, ops = tmp_path / "strace.txt", tmp_path / "ops.txt"
    child = [sys.executable, "-c", _CHILD, str(tmp_path / "robot.json"), str(ops)]
    command = [strace, "-f", "--seccomp-bpf", "-y", "-s", "0", "-e", f"trace={_CALLS}", "-o", str(out), *child]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    if "ptrace" in done.stderr:
        pytest.skip(f"strace may not trace here: {done.stderr.strip()[:200]}")
    assert done.returncode == 0, done.stderr
    assert robot.serving() is not None
    seen = Counter(kind for line in out.read_text().splitlines() if (kind := _kind(line, str(robot.spec.state))))
    counted = Counter(kind for kind in ops.read_text().split() if kind in seen or kind in ("write", "rename", "unlink"))
    assert seen == counted
    assert seen["write"] > 20
    assert seen["rename"] > 20


def _kind(line: str, root: str) -> str | None:
    """The kind of operation of a line of strace; None: it failed, or is about something else."""
    call, _, rest = line.split(maxsplit=1)[1].partition("(")
    if root not in rest or " = -1 " in rest:
        return None
    if call in ("write", "pwrite64", "writev"):
        return "write"
    if call == "unlinkat" and "AT_REMOVEDIR" in rest:
        return "rmdir"
    return call.removesuffix("2").removesuffix("at")
