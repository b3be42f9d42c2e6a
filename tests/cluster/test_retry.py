"""A step is tried again when it was not its fault, or when more memory may do; else it has failed."""

import pytest

from robot_assets.cluster.diagnosis import LOST, Finding, Trouble
from robot_assets.cluster.retry import memory_of, retry_after
from robot_assets.cluster.spec import ExecutionSpec, PoolSpec

EXECUTION = ExecutionSpec(lost_retries=2, memory_factor=2)
POOL = PoolSpec(memory="16Gi", memory_max="48Gi")
KILLED = Finding(Trouble.OUT_OF_MEMORY, "", "", "")


def attempts(trouble: Trouble, pool: PoolSpec = POOL) -> list[str]:
    """What each further attempt is told, until the step has failed."""
    earlier: list[str] = []
    told = []
    while (retry := retry_after(Finding(trouble, "", "", ""), earlier, EXECUTION, pool)) and len(told) < 50:
        told.append(retry.how)
        earlier.append(trouble)
    return told


def test_a_step_that_ran_out_of_memory_gets_more_until_the_ceiling():
    assert attempts(Trouble.OUT_OF_MEMORY) == [
        "with 32Gi of memory after 16Gi, of at most 48Gi",
        "with 48Gi of memory after 32Gi, of at most 48Gi",
    ]


def test_without_a_ceiling_a_step_that_ran_out_of_memory_has_failed():
    assert attempts(Trouble.OUT_OF_MEMORY, PoolSpec(memory="16Gi")) == []


@pytest.mark.parametrize("trouble", sorted(LOST))
def test_a_step_that_was_taken_away_is_tried_again_a_few_times(trouble):
    assert attempts(trouble) == ["attempt 2 of 3", "attempt 3 of 3"]


@pytest.mark.parametrize("trouble", sorted(set(Trouble) - LOST - {Trouble.OUT_OF_MEMORY}))
def test_a_step_that_failed_for_another_reason_is_not_tried_again(trouble):
    assert attempts(trouble) == []


def test_an_attempt_on_a_lost_node_asks_for_no_more_memory():
    assert memory_of(["NodeLost", "Evicted"], EXECUTION, POOL) == "16Gi"
    assert memory_of(["NodeLost", "OOMKilled", "Evicted"], EXECUTION, POOL) == "32Gi"


def test_attempts_for_one_reason_do_not_use_up_those_for_another():
    assert retry_after(KILLED, ["NodeLost", "NodeLost"], EXECUTION, POOL) is not None
    assert retry_after(Finding(Trouble.NODE_LOST, "", "", ""), ["OOMKilled"] * 2, EXECUTION, POOL) is not None


def test_what_the_code_of_a_step_asked_to_retry_is_not_counted():
    assert memory_of(["MemoryError", "RetryRequested"], EXECUTION, POOL) == "16Gi"
