"""Limits on how long a pod may be pending."""

import pytest

from robot_assets.cluster.diagnosis import Diagnosis, Trouble
from robot_assets.cluster.pending_limits import PendingLimits
from robot_assets.cluster.spec import ExecutionSpec

NOWHERE = Diagnosis(Trouble.UNSCHEDULABLE, "pod x cannot be scheduled", "a node", "start it")
BUSY = Diagnosis(Trouble.NO_ROOM, "pod x waits for free resources", "resources", "wait")
NO_IMAGE = Diagnosis(Trouble.IMAGE_PULL, "the image of pod x cannot be pulled", "an image", "build it")


@pytest.fixture
def limits() -> PendingLimits:
    return PendingLimits.of(ExecutionSpec(refused_max_s=100, pending_max_s=1000))


def test_a_refused_pod_fails_after_its_limit(limits):
    assert [limits.remaining_s(NOWHERE, now) for now in (5, 45, 104, 105, 300)] == [100, 60, 1, 0, 0]


def test_all_reasons_of_refusal_share_one_limit(limits):
    assert [limits.remaining_s(diagnosis, now) for diagnosis, now in ((NOWHERE, 0), (NO_IMAGE, 60), (NOWHERE, 100))][
        -1
    ] == 0


def test_a_pod_that_waits_for_resources_has_a_longer_limit(limits):
    assert [limits.remaining_s(BUSY, now) for now in (0, 900, 1000)] == [1000, 100, 0]


def test_time_spent_waiting_does_not_count_against_a_pod_that_is_refused_later(limits):
    for now in (0, 900):
        limits.remaining_s(BUSY, now)
    assert [limits.remaining_s(NOWHERE, now) for now in (910, 950)] == [100, 60]


def test_a_pod_that_alternates_between_both_states_reaches_a_limit(limits):
    states = [(diagnosis, 10 * number) for number, diagnosis in enumerate([NOWHERE, NOWHERE, BUSY] * 40)]
    assert min(limits.remaining_s(diagnosis, now) for diagnosis, now in states if diagnosis is NOWHERE) == 0


@pytest.mark.parametrize(("seconds", "words"), [(110, "110 s"), (900, "15 min"), (7300, "2 h")])
def test_the_failure_has_the_time_waited(limits, seconds, words):
    for now in (0, seconds):
        limits.remaining_s(BUSY, now)
    failure = limits.failure(BUSY)
    assert failure.found == f"pod x waits for free resources\n\nGave up after {words}."
    assert failure.trouble is Trouble.NO_ROOM


def test_a_node_that_is_unreachable_beyond_the_limit_is_lost(limits):
    unreachable = Diagnosis(Trouble.NODE_NOT_READY, "the node of pod x is unreachable", "a node", "look at it")
    for now in (0, 150):
        limits.remaining_s(unreachable, now)
    assert limits.failure(unreachable).trouble is Trouble.NODE_LOST
    assert limits.failure(unreachable).is_lost
