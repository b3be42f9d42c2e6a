"""The disk of a robot is full, read-only, over its quota or broken from any step of an update on, or at one step.

The agent is held with a reason, or goes on; nothing is lost, the last good release serves, and the next run converges
when the disk works again.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from robot_assets.fleet import layout
from robot_assets.fleet.reports import State
from tests.robots.disk import Op, Trace, failing_at
from tests.robots.world import Robot, World, in_memory

ERRORS = {name: getattr(errno, name) for name in ("ENOSPC", "EIO", "EROFS", "EDQUOT")}
WORDS = {
    "ENOSPC": ("no space",),
    "EIO": ("input/output", "i/o"),
    "EROFS": ("read-only",),
    "EDQUOT": ("no space", "quota"),
}
POINTS = int(os.environ.get("DISK_POINTS", "16"))
"""Steps of an update at which each error is raised; some 150 are all of them."""


class Update:
    """A robot that serves one release and takes another one, as often as a test wants."""

    def __init__(self, folder: Path) -> None:
        self.world = World(folder)
        shared = {"shared.bin": b"s" * 5000}
        self.one, self.two = self.world.release("one", **shared), self.world.release("two", **shared)
        self.robot = self.world.robot()
        self.world.assign(self.one)
        self.robot.run(2)
        self.world.assign(self.two)
        self.before = folder / "before"
        shutil.copytree(self.state, self.before, symlinks=True)
        self.ops = self.traced(lambda number, op: None)

    @property
    def state(self) -> Path:
        return self.robot.spec.state

    def traced(self, interrupt: object, polls: int = 1) -> list[Op]:
        self.reset()
        trace = Trace(self.state, interrupt)  # type: ignore[arg-type]
        with trace.tracing():
            self.robot.run(polls)
        return trace.ops

    def reset(self) -> None:
        shutil.rmtree(self.state)
        shutil.copytree(self.before, self.state, symlinks=True)
        (self.world.storage / layout.report(self.world.group, "r1")).unlink(missing_ok=True)
        self.robot.log.clear()
        self.robot.clock.offset_s = 0

    def later(self) -> None:
        """The disk works again."""
        self.robot.clock.offset_s += 7200
        with Trace(self.state).tracing():
            self.robot.run(2)


@pytest.fixture(scope="module")
def update() -> Iterator[Update]:
    with in_memory() as folder:
        yield Update(folder)


def points(count: int) -> list[int]:
    wanted = min(POINTS, count)
    return sorted({round(index * (count - 1) / (wanted - 1)) for index in range(wanted)})


@pytest.mark.parametrize("name", list(ERRORS))
@pytest.mark.parametrize("forever", [True, False], ids=["from then on", "once"])
def test_the_last_good_release_serves_and_the_next_run_converges(update: Update, name: str, forever: bool) -> None:
    for number in points(len(update.ops)):
        try:
            ops = update.traced(failing_at(number, ERRORS[name], forever=forever), polls=2)
            assert update.robot.serving() in (update.one.id, update.two.id)
            if forever and update.robot.serving() == update.one.id:
                _says_why(update.world, update.robot, name)
            update.later()
            assert update.robot.serving() == update.two.id, update.robot.log
            assert update.robot.state.state is State.COMMITTED
            assert not update.robot.state.failed, "a release has not failed when the disk has"
        except Exception as error:
            where = ops[number] if number < len(ops) else update.ops[number]
            error.add_note(f"{name} at operation {number}: {where}")
            raise


def _says_why(world: World, robot: Robot, name: str) -> None:
    """Its report has the reason, also where nothing can be written; or the log has it."""
    report = world.reports()["r1"].report
    said = f"{report.why} {' '.join(robot.log)}".lower()
    assert any(words in said for words in WORDS[name]), said
    assert report.running in (robot.state.current, f"{robot.serving()}.dir")


def test_a_disk_that_is_read_only_from_the_start_is_reported(update: Update) -> None:
    """Not even state.json can be written: what serves goes on, and the cluster knows."""
    update.traced(failing_at(0, errno.EROFS), polls=2)
    assert update.robot.serving() == update.one.id
    report = update.world.reports()["r1"].report
    assert report.running == update.one.version
    assert report.state is State.HELD
    assert "read-only" in report.why.lower()


def test_a_release_that_does_not_fit_is_not_begun(update: Update) -> None:
    """Room is checked and reserved before the first byte: what else is on the disk keeps its own."""
    update.reset()
    robot = update.world.robot(reserve_mib=1 << 30)
    state = robot.run(2)
    assert robot.serving() == update.one.id
    assert state.state is State.HELD
    assert "MiB" in state.why
    assert not list((robot.spec.state / "downloads").rglob("engine.bin"))
    assert update.world.reports()["r1"].report.state is State.HELD


def test_a_damaged_file_of_what_serves_is_replaced(update: Update) -> None:
    """Bits that were lost are found at the next start; the robot goes back, or downloads what is damaged again."""
    update.reset()
    update.later()
    engine = update.robot.current.resolve() / "net" / "engine.bin"
    engine.chmod(0o644)
    content = engine.read_bytes()
    engine.unlink()
    engine.write_bytes(bytes(len(content)))
    update.robot.run(1)
    assert update.robot.serving() in (update.one.id, update.two.id)
    update.later()
    assert update.robot.serving() == update.two.id, update.robot.log


def test_files_that_are_lost_are_downloaded_again(update: Update) -> None:
    """Everything below the state folder is lost but what serves, or the other way round."""
    for lost in ("sets", "state.json", "tuf", "assignments.json", "current"):
        update.reset()
        update.later()
        before = update.world.reports()["r1"].report
        path = update.state / lost
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        update.robot.run(1)
        update.later()
        assert update.robot.serving() == update.two.id, (lost, update.robot.log)
        now = update.world.reports()["r1"].report
        assert now.sequence > before.sequence or now == before, f"after the loss of {lost}, reports are older ones"


@pytest.mark.parametrize("content", [b"", b"{", b"\0" * 500, b"[]", b'{"format": 2}', b"\xff\xfe"])
@pytest.mark.parametrize(
    "name", ["state.json", "assignments.json", "outbox.json", "tuf/timestamp.json", "tuf/root.json"]
)
def test_damaged_files_of_the_agent_do_not_stop_it(update: Update, name: str, content: bytes) -> None:
    update.reset()
    update.later()
    path = update.state / name
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    update.later()
    assert update.robot.serving() == update.two.id, update.robot.log
    assert update.robot.state.state is State.COMMITTED, update.robot.state
