"""Rules of a rollout on random fleets and histories."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from robot_assets.fleet.level import fleet_version
from robot_assets.fleet.reports import Failure, Received, State
from robot_assets.fleet.rollout import FAILURES, STARTED, Decision, Phase, Status, baked_needed, batch_sizes, decide
from robot_assets.fleet.spec import GroupSpec
from tests.robot_reports import NOW, received
from tests.simulated_fleet import SimulatedGroup, SimulatedRobot

RELEASES = [f"{digit * 32}.dir" for digit in "0123"]
DESIRED = RELEASES[1]
ROBOTS = [f"r{number:02}" for number in range(24)]

shares = st.integers(1, 99).map(lambda percent: f"{percent}%")
batches = st.tuples(
    st.lists(st.integers(1, 30), unique=True, max_size=3).map(sorted),
    st.lists(shares, unique=True, max_size=3).map(lambda found: sorted(found, key=lambda share: int(share[:-1]))),
).map(lambda both: [*both[0], *both[1], "100%"])
policies = st.fixed_dictionaries(
    {
        "batches": batches,
        "bake_s": st.sampled_from([0, 600]),
        "success_share_min": st.sampled_from([0.3, 0.7, 0.9, 1]),
        "failures_share_max": st.sampled_from([0, 0.1, 0.34]),
        "failures_max": st.none() | st.integers(0, 5),
        "approval": st.booleans(),
    }
)


def made_group(policy: dict[str, Any], paused: bool = False, approved: int = 0) -> GroupSpec:
    return GroupSpec.model_validate(
        {
            "robots": ["*"],
            "target": "cpu",
            "models": ["detector"],
            "paused": paused,
            "approved": {"release": DESIRED[:8], "batch": approved} if approved else None,
            "rollout": policy,
        }
    )


groups = st.builds(made_group, policies, st.booleans(), st.integers(0, 5))
some_releases = st.lists(st.sampled_from(RELEASES), unique=True, max_size=2).map(tuple)
ages_s = st.sampled_from([-100, 1, 300, 3600, 3601, 1e6])


@st.composite
def any_reports(draw: st.DrawFn) -> dict[str, Received]:
    """Reports of up to 24 robots, also of states that no agent has."""
    names = ROBOTS[: draw(st.integers(0, len(ROBOTS)))]
    return (
        {
            name: received(
                name,
                draw(st.sampled_from([None, *RELEASES[:3]])),
                age_s=draw(ages_s),
                state=draw(st.sampled_from(State)),
                working_on=draw(st.sampled_from([None, *RELEASES[:3]])),
                healthy_s=draw(st.sampled_from([0, 599, 600])),
                failed=tuple(Failure(release=one, reason="x") for one in draw(some_releases)),
                proven=draw(some_releases),
            )
            for name in draw(st.lists(st.sampled_from(names), unique=True))
        }
        if names
        else {}
    )


def look(group: GroupSpec, reports: dict[str, Received], names: list[str] = ROBOTS) -> Decision:
    return decide(DESIRED, group, names, reports, NOW)


def newly_listed(decision: Decision, reports: dict[str, Received]) -> set[str]:
    """Robots that have not started and may have the release for the first time."""
    listed = {name for name in decision.install if decision.robots[name] not in STARTED}
    return {name for name in listed if decision.release not in reports[name].report.proven}


@given(groups, any_reports())
def test_never_beyond_the_batch(group, reports):
    found = look(group, reports)
    started = sum(status in STARTED for status in found.robots.values())
    assert len(newly_listed(found, reports)) <= max(0, found.sizes[found.batch - 1] - started)


@given(groups, any_reports())
def test_a_batch_opens_after_the_success_of_all_before_it(group, reports):
    found = look(group, reports)
    baked = sum(status is Status.BAKED for status in found.robots.values())
    for size in found.sizes[: found.batch - 1]:
        assert baked >= baked_needed(group.rollout.success_share_min, size)
    if group.rollout.approval and found.batch > 1:
        assert group.approved is not None
        assert group.approved.batch >= found.batch


@given(groups, any_reports())
def test_started_robots_stay_listed_and_failed_ones_never_are(group, reports):
    found = look(group, reports)
    for name, status in found.robots.items():
        if status is Status.FAILED or status in STARTED:
            assert (name in found.install) == (status is not Status.FAILED)
    for name in found.install:
        assert DESIRED not in {failure.release for failure in reports[name].report.failed}


@given(groups, any_reports())
def test_it_stops_at_its_thresholds(group, reports):
    found = look(group, reports)
    failures = sum(status in FAILURES for status in found.robots.values())
    started = sum(status in STARTED for status in found.robots.values())
    most = group.rollout.failures_max
    places = max(started, found.sizes[found.batch - 1])
    if (most is not None and failures > most) or failures / places > group.rollout.failures_share_max + 1e-9:
        assert found.phase is Phase.STOPPED
    if found.phase is Phase.STOPPED:
        assert not newly_listed(found, reports)
        assert failures > 0
        assert "failed" in found.why


@given(groups, any_reports())
def test_a_pause_lists_nobody_new(group, reports):
    found = look(group.model_copy(update={"paused": True}), reports)
    assert all(found.robots[name] in STARTED for name in found.install)


@given(groups, any_reports())
def test_a_rollout_that_is_not_complete_says_why(group, reports):
    found = look(group, reports)
    assert found.why
    if found.phase in (Phase.ROLLING, Phase.BAKING):
        assert any(name in found.why for name in found.robots)


@given(groups, any_reports(), st.randoms())
def test_the_order_of_reports_does_not_matter(group, reports, random):
    shuffled = list(reports.items())
    random.shuffle(shuffled)
    assert look(group, dict(shuffled)) == look(group, reports)


@given(groups, any_reports(), st.sampled_from(ROBOTS))
def test_robots_outside_the_group_do_not_matter(group, reports, outside):
    names = [name for name in ROBOTS if name != outside]
    without = {name: report for name, report in reports.items() if name != outside}
    assert look(group, reports, names) == look(group, without, names)


@given(groups, any_reports(), st.sampled_from(ROBOTS))
def test_a_further_failure_lists_nobody(group, reports, name):
    before = look(group, reports)
    more = {**reports, name: received(name, None, failed=(Failure(release=DESIRED, reason="x"),))}
    assert newly_listed(look(group, more), more) <= newly_listed(before, reports)


@given(groups, any_reports(), policies)
def test_a_restored_line_restores_the_decision(group, reports, policy):
    before = look(group, reports)
    look(made_group(policy, paused=True), reports)
    assert look(GroupSpec.model_validate(group.model_dump()), reports) == before


@given(groups, any_reports(), st.sampled_from([1, 599, 3600, 1e6]))
def test_the_version_of_a_fleet_changes_when_time_changes_its_decision(group, reports, seconds):
    later = NOW + timedelta(seconds=seconds)
    before, after = (fleet_version(group, ROBOTS, reports, 1e6, at) for at in (NOW, later))
    if decide(DESIRED, group, ROBOTS, reports, NOW) != decide(DESIRED, group, ROBOTS, reports, later):
        assert before != after


@given(groups, any_reports(), any_reports())
@settings(max_examples=30)
def test_the_version_of_a_fleet_changes_when_reports_change_its_decision(group, reports, others):
    """One robot at a time, so that few decisions differ by chance alone."""
    for name, other in others.items():
        changed = {**reports, name: other}
        if look(group, changed) != look(group, reports):
            assert _version(group, changed) != _version(group, reports)


def _version(group: GroupSpec, reports: dict[str, Received]) -> str:
    return fleet_version(group, ROBOTS, reports, 7, NOW)


@given(batches, st.integers(1, 3000))
def test_sizes_increase_to_the_whole_group(found, robots):
    sizes = batch_sizes(found, robots)
    assert sizes[0] >= 1
    assert sizes[-1] == robots
    assert list(sizes) == sorted(set(sizes))


# Histories: what simulated robots do, in any order, and the rules that hold at every look.

Action = Callable[[SimulatedGroup], object]


def _of_robot(action: Callable[[SimulatedGroup, SimulatedRobot], object]) -> st.SearchStrategy[Action]:
    def bound(index: int) -> Action:
        return lambda world: action(world, world.robots[index % len(world.robots)])

    return st.integers(0, 11).map(bound)


def _poll(world: SimulatedGroup, robot: SimulatedRobot) -> None:
    if robot.is_on:
        robot.poll(world.decision)


def _report(world: SimulatedGroup, robot: SimulatedRobot) -> None:
    if robot.is_on:
        world.deliver(robot)


def _work(world: SimulatedGroup, robot: SimulatedRobot) -> None:
    """A robot that is out of reach goes on with the assignments that it has read."""
    robot.work(world.fails)


def _toggle(world: SimulatedGroup, robot: SimulatedRobot) -> None:
    robot.is_on = not robot.is_on


def _desire(release: str) -> Action:
    return lambda world: setattr(world, "release", release)


def _pause(world: SimulatedGroup) -> None:
    world.group = world.group.model_copy(update={"paused": not world.group.paused})


def _enrol(world: SimulatedGroup) -> None:
    world.robots.append(SimulatedRobot(f"n{len(world.robots)}"))


def _retire(world: SimulatedGroup) -> None:
    if len(world.robots) > 1:
        world.robots.pop(0)


actions = st.one_of(
    _of_robot(_poll),
    _of_robot(_work),
    _of_robot(_report),
    _of_robot(_toggle),
    st.sampled_from([60, 700, 4000, 3e6]).map(lambda seconds: lambda world: world.wait(seconds)),
    st.sampled_from([60, 700]).map(lambda seconds: lambda world: world.round(seconds)),
    st.sampled_from(RELEASES[:3]).map(_desire),
    st.sampled_from([_pause, _enrol, _retire]),
)


@st.composite
def worlds(draw: st.DrawFn) -> SimulatedGroup:
    """A group in which each of some robots fails each of some releases."""
    bad = draw(st.frozensets(st.tuples(st.sampled_from(ROBOTS[:12]), st.sampled_from(RELEASES[:3])), max_size=6))
    count = draw(st.integers(1, 12))
    names = ROBOTS[:count]
    return SimulatedGroup(
        made_group({**draw(policies), "approval": False}),
        [SimulatedRobot(name, running=RELEASES[0], proven=(RELEASES[0],)) for name in names],
        DESIRED,
        lambda robot, release: (robot, release) in bad,
    )


@given(worlds(), st.lists(actions, max_size=40))
@settings(max_examples=60)
def test_the_rules_hold_at_every_look_of_a_history(world, history):
    for action in history:
        action(world)
        found = world.look()
        assert found == world.look()
        assert set(found.install) <= set(world.names)
        assert newly_listed(found, world.reports) <= set(world.reports)
        started = len(world.having(*STARTED))
        assert len(newly_listed(found, world.reports)) <= max(0, found.sizes[found.batch - 1] - started)
        for robot in world.robots:
            if found.release in {failure.release for failure in _last_failures(world, robot)}:
                assert robot.name not in found.install


def _last_failures(world: SimulatedGroup, robot: SimulatedRobot) -> tuple[Failure, ...]:
    last = world.reports.get(robot.name)
    return last.report.failed if last else ()


@given(worlds(), st.lists(actions, max_size=40))
@settings(max_examples=60)
def test_it_converges_when_all_come_back_and_nothing_fails(world, history):
    """Whatever happened before, also robots that were off for weeks: a good release reaches all of them."""
    for action in history:
        action(world)
    world.release, world.fails = RELEASES[3], lambda robot, release: False
    world.group = world.group.model_copy(update={"paused": False})
    for robot in world.robots:
        robot.is_on = True
    for _ in range(4 * len(world.decision.sizes) + 6):
        found = world.round(601)
    assert found.phase is Phase.DONE
    assert set(found.robots.values()) == {Status.BAKED}
    assert all(robot.running == RELEASES[3] for robot in world.robots)


@given(worlds(), st.lists(st.one_of(_of_robot(_poll), _of_robot(_work), _of_robot(_report)), max_size=60))
@settings(max_examples=60)
def test_robots_that_are_never_off_do_not_exceed_the_batch_in_truth(world, history):
    """Reports and assignments lag; the robots that have really switched are still no more than the largest batch."""
    for robot in world.robots:
        world.deliver(robot)
    largest = 0
    for action in history:
        found = world.look()
        largest = max(largest, found.sizes[found.batch - 1])
        action(world)
        switched = [one for one in world.robots if DESIRED in (one.running, one.working_on, *one.failed)]
        assert len(switched) <= largest


@given(worlds())
@settings(max_examples=30)
def test_a_release_that_fails_everywhere_reaches_the_first_batch_alone(world):
    world.fails = lambda robot, release: True
    for _ in range(6):
        found = world.round(601)
    assert sum(bool(robot.failed) for robot in world.robots) == found.sizes[0]
    assert found.phase is Phase.STOPPED


def test_a_robot_back_after_weeks_jumps_to_the_release_of_today():
    world = SimulatedGroup(
        made_group({"batches": [1, "100%"], "bake_s": 600, "success_share_min": 0.6}),
        [SimulatedRobot(name, running=RELEASES[0]) for name in "abc"],
        RELEASES[1],
        lambda robot, release: False,
    )
    world.robots[2].is_on = False
    for release in RELEASES[1:3]:
        world.release = release
        for _ in range(8):
            world.round(601)
    world.now += timedelta(days=40)
    world.robots[2].is_on = True
    for _ in range(4):
        world.round(601)
    assert world.decision.phase is Phase.DONE
    assert world.robots[2].proven == (RELEASES[2],)
