"""Many small pieces of file work on a few threads: hashing and system calls let go of the interpreter."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from robot_assets.core import progress

Item = TypeVar("Item")
Result = TypeVar("Result")

_GROUP = 256
"""Items per task: handing over a task costs about as much as reading a small file."""
_THREADS = min(8, os.cpu_count() or 1)


def in_groups(work: Callable[[Item], Result], items: Sequence[Item], what: str, group: int = _GROUP) -> list[Result]:
    """Return ``work`` of each item, in order; the first failure stops what has not begun.

    Args:
        work: Called on several threads at once.
        items: What to work on.
        what: What to call it in reports of progress.
        group: How many items one task takes; 1 when an item is much work.
    """
    groups = [items[at : at + group] for at in range(0, len(items), group)]
    results: list[Result] = []
    with ThreadPoolExecutor(_THREADS) as pool:
        try:
            for part in pool.map(lambda some: [work(item) for item in some], groups):
                results += part
                progress.report(what, len(results), len(items))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return results
