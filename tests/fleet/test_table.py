"""The table of a rollout: what each robot runs, how long, when it was last seen, and why not the release."""

import pytest

from robot_assets.fleet.reports import Received, State
from robot_assets.fleet.rollout import decide
from robot_assets.fleet.spec import GroupSpec
from robot_assets.fleet.table import duration, left_out, notable, rows
from tests.robot_reports import NEW, NOW, OLD, baked, committed, failed, proving, received, waiting


def made_group(**given) -> GroupSpec:
    return GroupSpec.model_validate({"robots": ["*"], "target": "cpu", "models": ["detector"], **given})


def table(*reports: Received, names: tuple[str, ...] = (), group: GroupSpec | None = None, **given) -> dict:
    group = group or made_group()
    by_robot = {one.report.robot: one for one in reports}
    decision = decide(NEW, group, [*by_robot, *names], by_robot, NOW)
    return rows(decision, group, by_robot, NOW, **given)


def test_a_baked_robot_needs_no_reason():
    assert table(baked("a", healthy_s=7300, age_s=65))["a"] == {
        "status": "baked",
        "release": "1" * 12,
        "healthy": "2 h 1 min",
        "last seen": "1 min ago",
        "why not": "",
    }


def test_a_robot_that_never_reported_has_a_row():
    assert table(names=("a",))["a"] == {
        "status": "never reported",
        "release": "none",
        "healthy": "",
        "last seen": "never",
        "why not": "its agent has not reported yet",
    }


@pytest.mark.parametrize(
    ("report", "reason"),
    [
        (failed("a", "p95 of 61 ms, budget 40 ms"), "p95 of 61 ms, budget 40 ms"),
        (failed("a", "x\x1b[2J\ny" + "z" * 999), "x\\x1b[2J y" + "z" * 190 + "..."),
        (proving("a", age_s=7200), "no report for 2 h while proving"),
        (proving("a"), "proving"),
        (committed("a", healthy_s=120), "healthy for 2 min of 10 min"),
        (committed("a", healthy_s=120, age_s=90_000), "healthy for 2 min of 10 min; no report for 1 day 1 h"),
        (waiting("a", age_s=3 * 86_400), "no report for 3 days"),
        (
            waiting("a", age_s=7200, state=State.PREPARED, working_on=NEW),
            "no report for 2 h, since it was ready to switch",
        ),
        (waiting("a"), "has not switched yet"),
        (waiting("a", why="the robot is moving"), "the robot is moving"),
        (received("a", OLD, state=State.HELD, why="no room: 12 MiB"), "held: no room: 12 MiB"),
    ],
)
def test_the_reason_of_a_robot_that_is_not_baked(report, reason):
    assert table(report)["a"]["why not"] == reason


def test_the_reason_of_a_robot_that_waits_is_that_of_the_rollout():
    reports = (proving("a"), waiting("b"))
    assert table(*reports)["b"]["why not"] == "has no place in batch 1 of 2"
    assert table(*reports, group=made_group(paused=True))["b"]["why not"] == "paused"
    assert table(failed("a"), waiting("b"))["b"]["why not"] == "stopped by failures"
    approval = made_group(rollout={"approval": True})
    assert table(baked("a"), waiting("b"), group=approval)["b"]["why not"] == "waiting for approval"


def test_rows_are_in_the_order_of_the_group():
    assert list(table(waiting("c"), baked("a"), failed("b"))) == ["c", "a", "b"]


def test_a_short_table_has_the_robots_that_need_attention():
    reports = [*(baked(f"b{number}") for number in range(20)), failed("f"), proving("s", age_s=9999), waiting("w")]
    shown = table(*reports, at_most=3)
    assert list(shown) == ["f", "s", "w"]
    by_robot = {one.report.robot: one for one in reports}
    decision = decide(NEW, made_group(), list(by_robot), by_robot, NOW)
    assert left_out(decision, 3) == "20 more robots: 20 baked"
    assert left_out(decision, 22) == "1 more robot: 1 baked"
    assert left_out(decision, 23) == left_out(decision, None) == ""
    assert notable(decision) == set(by_robot)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 s"),
        (0.4, "0 s"),
        (45, "45 s"),
        (60, "1 min"),
        (119, "1 min"),
        (3600, "1 h"),
        (12_000, "3 h 20 min"),
        (86_400, "1 day"),
        (2 * 86_400 + 7200, "2 days 2 h"),
        (40 * 86_400 + 7200, "40 days"),
    ],
)
def test_durations_have_two_units_at_most(seconds, text):
    assert duration(seconds) == text
