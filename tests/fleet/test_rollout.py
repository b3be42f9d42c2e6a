"""Who may have a release now: batches, failures, silence, orders of people, and why a rollout waits."""

from datetime import timedelta

import pytest

from robot_assets.fleet.reports import Failure, Received, State
from robot_assets.fleet.rollout import Decision, Phase, Status, baked_needed, batch_sizes, decide
from robot_assets.fleet.spec import GroupSpec
from tests.robot_reports import NEW, NOW, OLD, baked, committed, failed, proving, received, waiting

DEFAULT = (1, "10%", "50%", "100%")


def group(paused: bool = False, approved: dict | None = None, **rollout) -> GroupSpec:
    given = {"robots": ["*"], "target": "cpu", "models": ["detector"], "paused": paused, "approved": approved}
    return GroupSpec.model_validate({**given, "rollout": rollout})


def robots(count: int) -> list[str]:
    return [f"r{number:03}" for number in range(count)]


def decided(
    *reports: Received, release: str | None = NEW, names: list[str] | None = None, listed: tuple = (), **given
) -> Decision:
    names = [one.report.robot for one in reports] if names is None else names
    return decide(release, group(**given), names, {one.report.robot: one for one in reports}, NOW, listed)


def fleet(*counts: tuple) -> list[Received]:
    """Reports of a group, such as 10 baked robots before 90 that wait."""
    kinds = [kind for kind, count in counts for _ in range(count)]
    return [kind(robot) for kind, robot in zip(kinds, robots(len(kinds)), strict=True)]


@pytest.mark.parametrize(
    ("batches", "count", "sizes"),
    [
        (DEFAULT, 0, ()),
        (DEFAULT, 1, (1,)),
        (DEFAULT, 2, (1, 2)),
        (DEFAULT, 3, (1, 2, 3)),
        (DEFAULT, 10, (1, 5, 10)),
        (DEFAULT, 11, (1, 2, 6, 11)),
        (DEFAULT, 100, (1, 10, 50, 100)),
        (("10%", "100%"), 30, (3, 30)),
        (("0.1%", "100%"), 5, (1, 5)),
        (("33.3%", "100%"), 3, (1, 3)),
        ((5, "100%"), 3, (3,)),
        ((20, "10%", "100%"), 100, (20, 100)),
        ((20, "10%", "100%"), 1000, (20, 100, 1000)),
    ],
)
def test_batches_are_rounded_up_and_none_adds_nobody(batches, count, sizes):
    assert batch_sizes(batches, count) == sizes


@pytest.mark.parametrize(
    ("share", "size", "needed"), [(0.9, 1, 1), (0.9, 2, 2), (0.9, 10, 9), (0.7, 10, 7), (0.1, 30, 3), (1.0, 7, 7)]
)
def test_a_share_of_successes_is_rounded_up_exactly(share, size, needed):
    assert baked_needed(share, size) == needed


def test_the_first_robot_goes_first():
    found = decided(*fleet((waiting, 3)))
    assert found.phase is Phase.ROLLING
    assert found.install == ("r000",)
    assert list(found.robots.values()) == [Status.ASSIGNED, Status.WAITING, Status.WAITING]
    assert (found.batch, found.batches, found.sizes) == (1, 3, (1, 2, 3))
    assert found.why == "batch 1 of 3: 0 of 1 robot baked, needed 1; assigned: r000"


def test_a_robot_that_is_off_leaves_its_place_to_one_that_is_there():
    found = decided(waiting("a", age_s=4000), waiting("b"), waiting("c"))
    assert found.install == ("b",)
    assert found.robots["a"] is Status.OFFLINE


def test_a_robot_that_is_listed_keeps_its_place_when_one_before_it_comes_online():
    """It may have switched since its last report."""
    assert decided(*fleet((waiting, 3)), listed=("r002",)).install == ("r002",)
    assert decided(waiting("a"), waiting("b"), waiting("c", age_s=4000), listed=("c",)).install == ("a",)
    assert decided(waiting("a"), failed("b"), waiting("c"), listed=("b",), batches=(2, "100%")).install == ()
    assert decided(*fleet((baked, 1), (waiting, 4)), listed=("r004",), batches=(1, 3, "100%")).install == (
        "r000",
        "r001",
        "r004",
    )
    assert decided(*fleet((waiting, 3)), listed=("r002", "stranger"), paused=True).install == ()


def test_nobody_is_listed_who_never_reported():
    found = decided(names=robots(7))
    assert found.install == ()
    assert found.phase is Phase.ROLLING
    assert found.why == (
        "batch 1 of 3: 0 of 1 robot baked, needed 1; never reported: r000, r001, r002, r003, r004 and 2 more"
    )


def test_a_batch_bakes_before_the_next_one_opens():
    found = decided(committed("a", healthy_s=599), waiting("b"), waiting("c"))
    assert found.phase is Phase.BAKING
    assert found.install == ("a",)
    assert found.why == ("batch 1 of 3: 0 of 1 robot baked, needed 1; committed: a (baked after 600 s of health)")
    assert decided(committed("a", healthy_s=600), waiting("b"), waiting("c")).install == ("a", "b")


def test_without_a_bake_time_a_commit_is_enough():
    assert decided(committed("a"), waiting("b"), bake_s=0).install == ("a", "b")


def test_the_next_batch_opens_at_the_success_share_and_the_rest_goes_on():
    found = decided(*fleet((baked, 9), (committed, 1), (waiting, 90)))
    assert found.batch == 3
    assert len(found.install) == 50


def test_started_robots_anywhere_in_the_order_take_places():
    found = decided(waiting("a"), waiting("b"), proving("c"), batches=[2, "100%"])
    assert found.install == ("a", "c")


def test_more_started_robots_than_places_stay_listed_and_nobody_follows():
    found = decided(waiting("a"), proving("b"), proving("c"))
    assert found.install == ("b", "c")
    assert found.phase is Phase.ROLLING


def test_a_batch_that_is_larger_than_what_is_online_says_whom_it_waits_for():
    found = decided(*fleet((baked, 40)), *[waiting(f"x{n:02}", age_s=9999) for n in range(60)])
    assert found.batch == 3
    assert found.phase is Phase.ROLLING
    assert found.why == ("batch 3 of 4: 40 of 50 robots baked, needed 45; offline: x00, x01, x02, x03, x04 and 55 more")


def test_the_rollout_is_complete_with_robots_that_are_off():
    reports = [*fleet((baked, 97)), *[waiting(f"x{n}", age_s=9999) for n in range(3)]]
    found = decided(*reports)
    assert found.phase is Phase.DONE
    assert found.why == "97 of 100 robots baked; offline: x0, x1, x2"
    back = decided(*reports[:-1], waiting("x2"))
    assert back.phase is Phase.ROLLING
    assert back.robots["x2"] is Status.ASSIGNED


def test_the_last_batch_is_complete_when_all_have_baked():
    found = decided(*fleet((baked, 3)))
    assert found.phase is Phase.DONE
    assert found.why == "3 of 3 robots baked"
    assert (found.batch, found.batches) == (3, 3)
    assert decided(*fleet((baked, 99), (committed, 1))).phase is Phase.BAKING


def test_robots_that_left_the_group_count_nothing():
    found = decided(baked("gone"), failed("gone_too"), waiting("a"), waiting("b"), names=["a", "b"])
    assert list(found.robots) == ["a", "b"]
    assert found.install == ("a",)


def test_a_robot_named_twice_has_one_place():
    assert decided(waiting("a"), waiting("b"), names=["a", "a", "b"], batches=[2, "100%"]).install == ("a", "b")


def test_new_robots_take_their_turn_in_a_larger_group():
    found = decided(*fleet((baked, 3), (waiting, 27)))
    assert (found.sizes, found.batch) == ((1, 3, 15, 30), 3)
    assert len(found.install) == 15


class TestFailures:
    def test_a_canary_that_fails_stops_the_rollout(self):
        found = decided(failed("a", "3 of 64 reference answers differ"), waiting("b"), waiting("c"))
        assert found.phase is Phase.STOPPED
        assert found.install == ()
        assert found.robots["a"] is Status.FAILED
        assert found.why == (
            "1 of 1 robot failed, 100 %, and failures_share_max is 0.1; failed: a; the first reports: 3 of 64 "
            "reference answers differ; nobody new may have it"
        )

    def test_an_early_failure_in_a_large_batch_is_no_large_share(self):
        found = decided(*fleet((baked, 1), (failed, 1), (waiting, 98)))
        assert found.phase is Phase.ROLLING
        assert found.batch == 2
        assert len(found.install) == 9  # the failed one has a place, and is never listed

    def test_started_robots_stay_listed_when_failures_stop_it(self):
        found = decided(*fleet((baked, 5), (proving, 1), (failed, 3), (waiting, 11)))
        assert found.phase is Phase.STOPPED
        assert found.install == tuple(robots(6))  # and the tenth place of the batch stays free

    def test_a_count_stops_it_too(self):
        reports = fleet((baked, 50), (failed, 3), (waiting, 47))
        assert decided(*reports, failures_max=3).phase is Phase.ROLLING
        found = decided(*reports, failures_max=2)
        assert found.phase is Phase.STOPPED
        assert found.why.startswith("3 robots failed, and failures_max is 2; failed: r050, r051, r052;")

    def test_a_raised_threshold_resumes_it(self):
        reports = fleet((baked, 7), (failed, 3), (waiting, 90))
        assert decided(*reports).phase is Phase.STOPPED
        found = decided(*reports, failures_share_max=0.3, success_share_min=0.7)
        assert found.phase is Phase.ROLLING
        assert found.batch == 3

    def test_a_batch_that_cannot_succeed_any_more_stops(self):
        found = decided(*fleet((baked, 9), (failed, 1), (waiting, 90)), success_share_min=0.95)
        assert found.phase is Phase.STOPPED
        assert found.why.startswith(
            "batch 2 needs 10 of 10 robots baked (success_share_min: 0.95), and 1 failed; failed: r009;"
        )

    def test_failures_of_another_release_count_nothing(self):
        found = decided(*[received(robot, OLD, failed=(Failure(release="2" * 32, reason="x"),)) for robot in "abc"])
        assert found.install == ("a",)

    def test_a_robot_that_is_back_from_a_failed_release_is_never_listed_for_it(self):
        found = decided(failed("a", proven=(OLD, NEW)), waiting("b"), failures_share_max=0.9, success_share_min=0.1)
        assert "a" not in found.install

    def test_the_words_of_a_robot_are_one_line_without_control_characters(self):
        found = decided(failed("a", "bad\x1b[31m\nreason " + "x" * 500), waiting("b"))
        assert "bad\\x1b[31m reason xxx" in found.why
        assert len(found.why) < 400


class TestSilence:
    def test_silence_after_a_switch_is_a_failure_after_its_time_out(self):
        assert decided(proving("a", age_s=3600), waiting("b")).robots["a"] is Status.IN_PROGRESS
        found = decided(proving("a", age_s=3601), waiting("b"))
        assert found.phase is Phase.STOPPED
        assert found.robots["a"] is Status.SILENT
        assert found.install == ("a",)
        assert found.why.endswith("silent: a; nobody new may have it")

    def test_a_silent_robot_that_reports_again_is_no_failure(self):
        assert decided(committed("a"), waiting("b")).phase is Phase.BAKING

    def test_a_robot_that_is_off_before_or_after_its_switch_is_no_failure(self):
        found = decided(baked("a", age_s=1e7), waiting("b", age_s=1e7), waiting("c"))
        assert list(found.robots.values()) == [Status.BAKED, Status.OFFLINE, Status.ASSIGNED]

    def test_a_robot_that_is_off_before_it_has_baked_is_named(self):
        found = decided(committed("a", age_s=1e7), waiting("b"))
        assert found.phase is Phase.BAKING
        assert found.why.endswith("committed, and off now: a")

    def test_downloading_ahead_starts_nothing(self):
        for state in (State.DOWNLOADING, State.VERIFYING, State.PREPARED):
            ahead = received("b", OLD, state=state, working_on=NEW)
            assert decided(proving("a"), ahead).robots["b"] is Status.WAITING

    def test_a_clock_of_the_storage_that_is_ahead_changes_nothing(self):
        assert decided(waiting("a", age_s=-9999), waiting("b")).install == ("a",)


class TestOrders:
    def test_a_pause_keeps_those_that_started(self):
        found = decided(*fleet((baked, 1), (proving, 1), (waiting, 1)), paused=True)
        assert found.phase is Phase.PAUSED
        assert found.install == ("r000", "r001")
        assert found.robots["r002"] is Status.WAITING
        assert found.why == (
            "batch 2 of 3: 1 of 2 robots baked, needed 2; paused: nobody new may have it; 1 robot would be next; "
            "in progress: r001"
        )

    def test_a_pause_leaves_places_free(self):
        assert decided(*fleet((baked, 1), (waiting, 2))).install == ("r000", "r001")
        assert decided(*fleet((baked, 1), (waiting, 2)), paused=True).install == ("r000",)

    def test_a_complete_rollout_is_complete_though_paused(self):
        assert decided(*fleet((baked, 3)), paused=True).phase is Phase.DONE

    def test_a_stop_is_shown_though_paused(self):
        assert decided(failed("a"), waiting("b"), paused=True).phase is Phase.STOPPED

    def test_each_batch_after_the_first_waits_for_approval(self):
        reports = fleet((baked, 1), (waiting, 2))
        found = decided(*reports, approval=True)
        assert found.phase is Phase.APPROVAL
        assert found.install == ("r000",)
        assert found.why == ("batch 1 of 3: 1 of 1 robot baked, needed 1; batch 2, 2 robots in all, waits for approval")
        approved = decided(*reports, approval=True, approved={"release": NEW[:8], "batch": 2})
        assert approved.phase is Phase.ROLLING
        assert approved.install == ("r000", "r001")

    def test_an_approval_of_another_release_or_an_earlier_batch_opens_nothing(self):
        reports = fleet((baked, 2), (waiting, 1))
        for approved in ({"release": OLD[:8], "batch": 3}, {"release": NEW[:8], "batch": 2}):
            assert decided(*reports, approval=True, approved=approved).phase is Phase.APPROVAL

    def test_an_approved_batch_still_waits_for_the_one_before(self):
        found = decided(*fleet((proving, 1), (waiting, 2)), approval=True, approved={"release": NEW[:8], "batch": 3})
        assert found.install == ("r000",)

    def test_an_approval_is_not_read_where_none_is_needed(self):
        assert decided(*fleet((baked, 1), (waiting, 2)), approved={"release": OLD[:8], "batch": 1}).batch == 2

    def test_the_first_batch_needs_no_approval(self):
        assert decided(*fleet((waiting, 3)), approval=True).install == ("r000",)


class TestAnotherRelease:
    def test_without_a_release_nobody_is_listed(self):
        found = decided(*fleet((baked, 2)), waiting("x", age_s=1e6), release=None, names=["r000", "x", "y"])
        assert found.phase is Phase.NOTHING
        assert (found.install, found.batch, found.batches) == ((), 0, 0)
        assert list(found.robots.values()) == [Status.WAITING, Status.OFFLINE, Status.UNKNOWN]
        assert found.why == "no release of the group has passed its gate"

    def test_without_robots_there_is_nothing_to_roll_out(self):
        found = decided(names=[])
        assert (found.phase, found.release) == (Phase.NOTHING, NEW)
        assert found.why == "no robot of the group is enrolled"

    def test_what_is_in_progress_on_a_superseded_release_counts_nothing(self):
        superseded = "2" * 32
        found = decided(
            received("a", OLD, state=State.PROVING, working_on=superseded),
            received("b", superseded, state=State.PROVING, working_on=superseded, age_s=9999),
            received("c", superseded, healthy_s=1e6),
        )
        assert list(found.robots.values()) == [Status.ASSIGNED, Status.OFFLINE, Status.WAITING]

    def test_after_an_abort_all_go_back_at_once(self):
        on_bad = [received(robot, "2" * 32, proven=(NEW, "2" * 32)) for robot in robots(20)]
        found = decided(*on_bad, waiting("x"), waiting("y"))
        assert found.install == (*robots(20), "x")

    def test_a_robot_that_is_off_may_go_back_as_soon_as_it_is_on(self):
        found = decided(received("a", "2" * 32, proven=(NEW,), age_s=1e6), waiting("b"))
        assert found.install == ("a", "b")
        assert found.robots["a"] is Status.OFFLINE

    def test_failures_of_others_do_not_keep_a_robot_from_going_back(self):
        found = decided(failed("a"), received("b", "2" * 32, proven=(NEW,)), waiting("c"))
        assert found.phase is Phase.STOPPED
        assert found.install == ("b",)
        assert found.why.endswith("nobody new may have it; but back to it go: b")

    def test_a_robot_that_leaves_the_desired_release_for_another_has_left_it(self):
        leaving = received("a", NEW, state=State.SWITCHED, working_on="2" * 32, proven=(NEW,))
        found = decided(leaving, waiting("b"))
        assert found.robots["a"] is Status.ASSIGNED

    def test_a_robot_on_its_way_back_has_started(self):
        for working_on in (NEW, OLD, None):
            back = received("a", NEW, state=State.ROLLING_BACK, working_on=working_on)
            assert decided(back, waiting("b")).robots["a"] is Status.IN_PROGRESS


class TestWhy:
    def test_a_robot_that_holds_is_named(self):
        found = decided(received("a", OLD, state=State.HELD, working_on=NEW), waiting("b"))
        assert found.install == ("a",)
        assert found.why == "batch 1 of 2: 0 of 1 robot baked, needed 1; held by their agents: a"

    def test_the_window_is_named_for_those_that_have_not_switched(self):
        window = {"start": "22:00", "end": "04:00", "timezone": "Europe/Berlin"}
        found = decided(waiting("a"), waiting("b"), window=window)
        assert found.why.endswith("assigned: a (switch from 22:00 to 04:00 Europe/Berlin)")

    @pytest.mark.parametrize("count", [1, 2, 3, 7, 40])
    def test_a_rollout_that_waits_names_at_most_five_robots_of_a_status(self, count):
        why = decided(*fleet((proving, count)), batches=["100%"]).why
        assert why.count("r0") == min(count, 5)


def test_looks_with_the_same_reports_give_the_same_decision_until_a_timer_elapses():
    reports = fleet((baked, 1), (proving, 1), (waiting, 8))
    by_robot = {one.report.robot: one for one in reports}
    first = decide(NEW, group(), list(by_robot), by_robot, NOW)
    for later_s in (1, 60, 3580):
        assert decide(NEW, group(), list(by_robot), by_robot, NOW + timedelta(seconds=later_s)) == first
    assert decide(NEW, group(), list(by_robot), by_robot, NOW + timedelta(seconds=3600)) != first
