"""Runs many small file operations on a few threads: hashing and system calls release the GIL."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from robot_assets.core import progress

Item = TypeVar("Item")
Result = TypeVar("Result")

_GROUP = 256
"""Items per task: scheduling a task costs about as much as reading a small file."""
_THREADS = min(8, os.cpu_count() or 1)


def map_in_groups(
    work: Callable[[Item], Result], items: Sequence[Item], what: str, group: int = _GROUP
) -> list[Result]:
    """Return ``work`` of each item, in order; the first failure cancels the tasks that have not started.

    Args:
        work: Called on several threads at once.
        items: The arguments of the calls.
        what: Name of the work in progress reports.
        group: Items per task; 1 when each item takes long.
    """
    return list(results_in_groups(work, items, what, group))


def results_in_groups(
    work: Callable[[Item], Result], items: Sequence[Item], what: str, group: int = _GROUP
) -> Iterator[Result]:
    """Yield the results of ``map_in_groups`` while the others are computed."""
    groups = [items[at : at + group] for at in range(0, len(items), group)]
    done = 0
    with ThreadPoolExecutor(_THREADS) as pool:
        try:
            for part in pool.map(lambda some: [work(item) for item in some], groups):
                yield from part
                done += len(part)
                progress.report(what, done, len(items))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
