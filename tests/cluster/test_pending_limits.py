"""A pod that does not run is waited for, and not for ever."""

import pytest

from robot_assets.cluster.diagnosis import Finding, Trouble
from robot_assets.cluster.pending_limits import Patience
from robot_assets.cluster.spec import ExecutionSpec

NOWHERE = Finding(Trouble.UNSCHEDULABLE, "no node takes pod x", "a node", "start it")
BUSY = Finding(Trouble.NO_ROOM, "pod x waits for room", "room", "wait")
NO_IMAGE = Finding(Trouble.IMAGE, "pod x has no image", "an image", "build it")


@pytest.fixture
def patience() -> Patience:
    return Patience.of(ExecutionSpec(refused_max_s=100, pending_max_s=1000))


def test_a_refused_pod_has_its_time_and_then_no_more(patience):
    assert [patience.left_s(NOWHERE, now) for now in (5, 45, 104, 105, 300)] == [100, 60, 1, 0, 0]


def test_one_reason_to_be_refused_goes_on_where_another_stopped(patience):
    assert [patience.left_s(finding, now) for finding, now in ((NOWHERE, 0), (NO_IMAGE, 60), (NOWHERE, 100))][-1] == 0


def test_a_pod_that_waits_for_room_is_given_longer(patience):
    assert [patience.left_s(BUSY, now) for now in (0, 900, 1000)] == [1000, 100, 0]


def test_hours_of_waiting_do_not_count_against_a_pod_that_is_refused_at_last(patience):
    for now in (0, 900):
        patience.left_s(BUSY, now)
    assert [patience.left_s(NOWHERE, now) for now in (910, 950)] == [100, 60]


def test_a_pod_that_changes_to_and_fro_comes_to_an_end(patience):
    looks = [(finding, 10 * number) for number, finding in enumerate([NOWHERE, NOWHERE, BUSY] * 40)]
    assert min(patience.left_s(finding, now) for finding, now in looks if finding is NOWHERE) == 0


@pytest.mark.parametrize(("seconds", "words"), [(110, "110 s"), (900, "15 min"), (7300, "2 h")])
def test_the_reason_of_the_failure_says_how_long_it_was_waited_for(patience, seconds, words):
    for now in (0, seconds):
        patience.left_s(BUSY, now)
    exhausted = patience.exhausted(BUSY)
    assert exhausted.found == f"pod x waits for room\n\nThis was so for {words}."
    assert exhausted.trouble is Trouble.NO_ROOM


def test_a_node_that_is_silent_for_too_long_is_lost(patience):
    silent = Finding(Trouble.NODE_SILENT, "the node of pod x does not answer", "a node", "look at it")
    for now in (0, 150):
        patience.left_s(silent, now)
    assert patience.exhausted(silent).trouble is Trouble.NODE_LOST
    assert patience.exhausted(silent).is_lost
