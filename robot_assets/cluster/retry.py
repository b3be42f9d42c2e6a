"""Decides whether a step whose pod failed is retried, and with how much memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from robot_assets.cluster.diagnosis import LOST, Diagnosis, Trouble
from robot_assets.cluster.quantity import increased
from robot_assets.cluster.spec import ExecutionSpec, PoolSpec

_PAUSE_S = 10
"""Before another attempt after a lost node: Kubernetes needs some seconds to notice the loss."""


@dataclass(frozen=True)
class Retry:
    """Another attempt.

    Attributes:
        wait_s: Seconds before it starts.
        how: Its number, or its memory; for people.
    """

    wait_s: int
    how: str


def retry_after(diagnosis: Diagnosis, earlier: Sequence[str], execution: ExecutionSpec, pool: PoolSpec) -> Retry | None:
    """Decide on another attempt of a step; None when the step has failed.

    Args:
        diagnosis: Of the attempt that has just ended.
        earlier: Kinds of trouble of the attempts before it.
        execution: Number of retries, and the increase of memory.
        pool: Resources of the step.
    """
    if diagnosis.is_lost:
        lost = sum(kind in LOST for kind in earlier)
        if lost < execution.lost_retries:
            return Retry(_PAUSE_S, f"attempt {lost + 2} of {execution.lost_retries + 1}")
    if diagnosis.trouble is Trouble.OUT_OF_MEMORY:
        before = requested_memory(earlier, execution, pool)
        after = requested_memory([*earlier, diagnosis.trouble], execution, pool)
        if after != before:
            return Retry(0, f"with {after} of memory instead of {before} (at most {pool.memory_max})")
    return None


def requested_memory(earlier: Sequence[str], execution: ExecutionSpec, pool: PoolSpec) -> str:
    """The memory that an attempt requests after attempts with the troubles ``earlier``."""
    kills = sum(kind == Trouble.OUT_OF_MEMORY for kind in earlier)
    return increased(pool.memory, pool.memory_max, execution.memory_factor, kills)
