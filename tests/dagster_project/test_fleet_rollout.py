"""From a release to the robots: built, rolled out in batches, followed by reports, and paused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from robot_assets.fleet.reports import State
from tests.dagster_project.fleet_project import GROUP, FleetProject, fleet_project

RELEASE, ROLLOUT, FLEET = f"release/{GROUP}", f"rollout/{GROUP}", f"fleet/{GROUP}"


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[FleetProject]:
    with fleet_project(tmp_path / "project") as built:
        yield built


def test_a_release_reaches_the_robots_in_batches(fleet):
    robots = fleet.robots()
    for robot in robots:
        robot.says(None, State.IDLE)
    assert fleet.observe().startswith(f"recorded {FLEET}: first version")
    assert list(fleet.rebuild()) == [ROLLOUT]
    assert fleet.assigned.install == ("mower_1",)
    assert fleet.assigned.release == fleet.release
    assert fleet.assigned.bundle_sha256 == fleet.repository.bundle_sha256(GROUP, fleet.release)
    assert fleet.rebuild() == {}

    robots[0].says(fleet.release, healthy_s=1, proven=(fleet.release,))
    fleet.observe()
    assert set(fleet.rebuild()) == {ROLLOUT}
    assert fleet.assigned.install == ("mower_1",)  # it has to bake

    robots[0].bakes(fleet.release)
    assert f"{FLEET}: " in fleet.observe()
    [(asset, cause)] = fleet.rebuild().items()
    assert asset == ROLLOUT
    assert cause.startswith(f"{FLEET} changed (")
    assert fleet.assigned.install == ("mower_1", "mower_2", "mower_3")

    for robot in robots[1:]:
        robot.bakes(fleet.release)
    fleet.observe()
    fleet.rebuild()
    assert fleet.decision()["phase"] == "complete"
    assert fleet.headline(ROLLOUT).startswith("3 of 3 robots baked")
    assert fleet.observe().startswith("1 fleet unchanged")


def test_reports_that_decide_nothing_make_nothing_stale(fleet):
    robot = fleet.robots()[0]
    robot.says(fleet.release, healthy_s=1)
    fleet.build(ROLLOUT)
    robot.says(fleet.release, healthy_s=31, why="the robot moves")
    assert fleet.observe().startswith("1 fleet unchanged")
    assert fleet.rebuild() == {}


def test_the_plan_names_the_order_and_the_reports(fleet):
    robot = fleet.robots()[0]
    robot.says(None, State.IDLE)
    fleet.build(ROLLOUT)
    assert fleet.plan(ROLLOUT) == {}
    fleet.change_group(paused=True)
    robot.bakes(fleet.release)
    causes = fleet.plan(ROLLOUT)[ROLLOUT]
    assert causes[0].startswith(f"{FLEET} changed (")
    assert causes[1] == f"fleet.groups.{GROUP}.paused: false -> true"


def test_a_pause_gives_nobody_new_the_release_and_is_undone_by_its_line(fleet):
    robots = fleet.robots()
    for robot in robots:
        robot.says(None, State.IDLE)
    fleet.build(ROLLOUT)
    before = fleet.assigned
    fleet.change_group(paused=True)
    robots[0].bakes(fleet.release)
    assert list(fleet.build(ROLLOUT)) == [ROLLOUT]
    assert fleet.assigned.install == ("mower_1",)
    assert fleet.decision()["phase"] == "paused"
    fleet.change_group(paused=False)
    fleet.build(ROLLOUT)
    assert fleet.assigned.install == ("mower_1", "mower_2", "mower_3")
    assert fleet.assigned.release == before.release


def test_a_pause_goes_out_while_what_the_release_is_made_of_is_stale(fleet):
    fleet.robots()[0].says(None, State.IDLE)
    fleet.build(ROLLOUT)
    fleet.put_network(1)  # a new network: everything down to the release is stale
    fleet.change_group(paused=True)
    fleet.observe("source")
    assert ROLLOUT in fleet.rebuild()
    assert fleet.decision()["phase"] == "paused"
    assert fleet.assigned.release == fleet.release  # that of before
    assert fleet.rebuild().keys() - {ROLLOUT}  # the chain goes on by itself


def test_build_carries_out_an_order_before_anything_else_and_again_at_the_end(fleet):
    fleet.robots()[0].says(None, State.IDLE)
    fleet.build(ROLLOUT)
    first = fleet.release
    fleet.put_network(1)
    fleet.change_group(paused=True)
    fleet.commit()
    built = fleet.build(ROLLOUT)
    assert next(iter(built)) == ROLLOUT
    assert f"fleet.groups.{GROUP}.paused: false -> true" in built[ROLLOUT]
    assert f"{RELEASE} changed" in built[ROLLOUT]
    assert {"floor/engine/cpu", RELEASE} <= built.keys()
    assert fleet.release != first
    assert fleet.assigned.release == fleet.release
    assert fleet.assigned.install == ()


def test_without_a_repository_the_sensor_says_nothing_and_build_names_the_command(fleet):
    fleet.change(lambda params: params["fleet"].update(url=".robot_assets/elsewhere"))
    assert fleet.observe().startswith("1 fleet unchanged")
    with pytest.raises(Exception, match="robot-assets fleet init"):
        fleet.build(ROLLOUT)
