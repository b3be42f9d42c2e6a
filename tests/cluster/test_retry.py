"""A step is retried when its pod was lost, or when more memory may suffice; otherwise it has failed."""

import pytest

from robot_assets.cluster.diagnosis import LOST, Diagnosis, Trouble
from robot_assets.cluster.retry import requested_memory, retry_after
from robot_assets.cluster.spec import ExecutionSpec, PoolSpec

EXECUTION = ExecutionSpec(lost_retries=2, memory_factor=2)
POOL = PoolSpec(memory="16Gi", memory_max="48Gi")
KILLED = Diagnosis(Trouble.OUT_OF_MEMORY, "", "", "")


def attempts(trouble: Trouble, pool: PoolSpec = POOL) -> list[str]:
    """Description of each further attempt until the step has failed."""
    earlier: list[str] = []
    retries = []
    while (retry := retry_after(Diagnosis(trouble, "", "", ""), earlier, EXECUTION, pool)) and len(retries) < 50:
        retries.append(retry.how)
        earlier.append(trouble)
    return retries


def test_a_step_that_ran_out_of_memory_gets_more_up_to_the_maximum():
    assert attempts(Trouble.OUT_OF_MEMORY) == [
        "with 32Gi of memory instead of 16Gi (at most 48Gi)",
        "with 48Gi of memory instead of 32Gi (at most 48Gi)",
    ]


def test_without_a_maximum_a_step_that_ran_out_of_memory_has_failed():
    assert attempts(Trouble.OUT_OF_MEMORY, PoolSpec(memory="16Gi")) == []


@pytest.mark.parametrize("trouble", sorted(LOST))
def test_a_step_whose_pod_was_lost_is_retried(trouble):
    assert attempts(trouble) == ["attempt 2 of 3", "attempt 3 of 3"]


@pytest.mark.parametrize("trouble", sorted(set(Trouble) - LOST - {Trouble.OUT_OF_MEMORY}))
def test_a_step_that_failed_for_another_reason_is_not_retried(trouble):
    assert attempts(trouble) == []


def test_an_attempt_after_a_lost_node_has_the_same_memory():
    assert requested_memory(["NodeLost", "Evicted"], EXECUTION, POOL) == "16Gi"
    assert requested_memory(["NodeLost", "OOMKilled", "Evicted"], EXECUTION, POOL) == "32Gi"


def test_each_reason_has_its_own_number_of_retries():
    assert retry_after(KILLED, ["NodeLost", "NodeLost"], EXECUTION, POOL) is not None
    assert retry_after(Diagnosis(Trouble.NODE_LOST, "", "", ""), ["OOMKilled"] * 2, EXECUTION, POOL) is not None


def test_retries_requested_by_the_code_of_a_step_do_not_increase_the_memory():
    assert requested_memory(["MemoryError", "RetryRequested"], EXECUTION, POOL) == "16Gi"
