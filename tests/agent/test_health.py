"""Health is a recent touch of a file or a command that succeeds, whatever happens to the clock."""

import os
import sys
import time

import pytest

from robot_assets.agent.health import HealthWatch, check
from robot_assets.agent.spec import HealthSpec, RobotSpec

START = 1_000.0


class World:
    """A health file, a monotonic clock, and a wall clock that can be set."""

    def __init__(self, file, since=0.0, wall=1_800_000_000.0):
        self.monotonic, self.wall = START, wall
        self.file = file
        self.watch = HealthWatch(HealthSpec(file=file, max_age_s=10), since, lambda: self.monotonic, lambda: self.wall)

    def pass_time(self, seconds):
        self.monotonic += seconds
        self.wall += seconds

    def touch(self):
        self.file.touch()
        os.utime(self.file, (self.wall, self.wall))

    @property
    def problem(self):
        return self.watch.check()


@pytest.fixture
def world(tmp_path):
    return World(tmp_path / "alive")


def robot(tmp_path, **health):
    return RobotSpec(
        robot="r1",
        group="g",
        url="/repository",
        root=tmp_path / "root.json",
        key=tmp_path / "key.pem",
        trusted_keys=("ed25519:x",),
        health=HealthSpec(**health) if health else None,
    )


def test_a_robot_without_health_is_healthy(tmp_path):
    assert check(robot(tmp_path)) is None


def test_a_missing_file_is_named(world):
    assert world.problem == f"health file {world.file}: No such file or directory"


def test_a_file_that_is_touched_is_healthy_and_one_that_is_not_becomes_unhealthy(world):
    world.touch()
    assert world.problem is None
    world.pass_time(10)
    assert world.problem is None
    world.pass_time(1)
    assert world.problem == f"health file {world.file} was touched 11.0 s ago, needed at most 10 s"
    world.touch()
    assert world.problem is None


def test_an_old_file_is_unhealthy_at_the_first_look(world):
    world.touch()
    world.pass_time(60)
    assert "was touched 60.0 s ago" in world.problem


def test_a_touch_between_two_looks_has_its_age(world):
    world.touch()
    assert world.problem is None
    world.pass_time(5)
    world.touch()
    world.pass_time(55)
    assert "was touched 55.0 s ago" in world.problem


def test_a_clock_that_is_adjusted_slowly_has_not_jumped(world):
    world.touch()
    assert world.problem is None
    world.touch()
    world.pass_time(3600)
    world.wall += 1.8
    os.utime(world.file, (world.wall - 3000, world.wall - 3000))
    assert "was touched 3000.0 s ago" in world.problem


@pytest.mark.parametrize("jump", [3600.0, 56 * 365 * 86400.0])
def test_a_clock_that_jumps_forward_makes_nothing_unhealthy(world, jump):
    world.touch()
    assert world.problem is None
    world.wall += jump
    assert world.problem is None
    world.pass_time(5)
    world.touch()
    world.wall += jump
    assert world.problem is None


@pytest.mark.parametrize("jump", [3600.0, 80 * 365 * 86400.0])
def test_a_clock_that_jumps_back_makes_nothing_healthy_for_ever(world, jump):
    world.touch()
    assert world.problem is None
    world.wall -= jump
    world.pass_time(11)
    assert "was touched 11.0 s ago" in world.problem
    world.touch()
    assert world.problem is None
    world.pass_time(11)
    assert "was touched 11.0 s ago" in world.problem


def test_a_file_from_the_future_is_unhealthy_until_it_is_touched(world):
    world.wall += 80 * 365 * 86400.0
    world.touch()
    world.wall -= 80 * 365 * 86400.0
    assert "in the future" in world.problem
    world.pass_time(60)
    assert "in the future" in world.problem
    world.touch()
    assert world.problem is None
    world.pass_time(11)
    assert "was touched 11.0 s ago" in world.problem


def test_touches_before_the_switch_do_not_count(tmp_path):
    world = World(tmp_path / "alive", since=1_800_000_000.0 + 1)
    world.touch()
    world.pass_time(2)
    assert world.problem == f"health file {world.file} was not touched since the switch"
    world.pass_time(1)
    world.touch()
    assert world.problem is None


def test_a_touch_counts_when_the_clock_was_set_back_since_the_switch(tmp_path):
    world = World(tmp_path / "alive", since=1_800_000_000.0 + 86400)
    world.touch()
    assert world.problem is not None
    world.pass_time(1)
    world.touch()
    assert world.problem is None


def test_looks_are_remembered_from_one_call_to_the_next(tmp_path):
    file = tmp_path / "alive"
    spec = robot(tmp_path, file=file, max_age_s=1000)
    file.touch()
    future = time.time() + 5000
    os.utime(file, (future, future))
    assert check(spec) is not None
    file.touch()
    assert check(spec) is None
    assert check(spec, since=time.time() + 1000) is not None


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("", None),
        ("import sys; print('bus is off'); sys.exit(3)", "exited with 3: bus is off"),
        ("import os; os.abort()", "was ended by SIGABRT"),
    ],
)
def test_a_command_is_healthy_when_it_exits_with_zero(tmp_path, code, problem):
    found = check(robot(tmp_path, command=(sys.executable, "-c", code)))
    assert found is None if problem is None else found.endswith(problem)


def test_a_command_that_hangs_or_is_missing_is_unhealthy(tmp_path):
    assert check(robot(tmp_path, command=("sleep", "60"), max_age_s=0.2)) == "`sleep 60` did not end within 0.2 s"
    missing = check(robot(tmp_path, command=(str(tmp_path / "none"),)))
    assert missing == f"`{tmp_path / 'none'}` does not start: No such file or directory"


def test_both_the_file_and_the_command_have_to_be_healthy(tmp_path):
    file = tmp_path / "alive"
    file.touch()
    assert check(robot(tmp_path, file=file, command=("true",))) is None
    assert "exited with 1" in check(robot(tmp_path, file=file, command=("false",)))
    assert "No such file" in check(robot(tmp_path, file=tmp_path / "none", command=("true",)))
