"""Whether a step whose pod came to nothing is tried again, and with how much memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from robot_assets.cluster.diagnosis import LOST, Finding, Trouble
from robot_assets.cluster.quantity import grown
from robot_assets.cluster.spec import ExecutionSpec, PoolSpec

_PAUSE_S = 10
"""Before another attempt for a lost node: Kubernetes needs a moment to see that it is lost."""


@dataclass(frozen=True)
class Retry:
    """Another attempt.

    Attributes:
        wait_s: How long it waits.
        how: What is different about it.
    """

    wait_s: int
    how: str


def retry_after(finding: Finding, earlier: Sequence[str], execution: ExecutionSpec, pool: PoolSpec) -> Retry | None:
    """Another attempt of a step; None when it has failed.

    Args:
        finding: What became of the attempt that has just ended.
        earlier: Kinds of trouble that the attempts before it came to.
        execution: How often, and how much more.
        pool: What the step asks for.
    """
    if finding.is_lost:
        lost = sum(kind in LOST for kind in earlier)
        if lost < execution.lost_retries:
            return Retry(_PAUSE_S, f"attempt {lost + 2} of {execution.lost_retries + 1}")
    if finding.trouble is Trouble.OUT_OF_MEMORY:
        before = memory_of(earlier, execution, pool)
        after = memory_of([*earlier, finding.trouble], execution, pool)
        if after != before:
            return Retry(0, f"with {after} of memory after {before}, of at most {pool.memory_max}")
    return None


def memory_of(earlier: Sequence[str], execution: ExecutionSpec, pool: PoolSpec) -> str:
    """The memory that an attempt asks for, after what the attempts before it came to."""
    kills = sum(kind == Trouble.OUT_OF_MEMORY for kind in earlier)
    return grown(pool.memory, pool.memory_max, execution.memory_factor, kills)
