"""Ignores warnings in a block, in threads too."""

from __future__ import annotations

import threading
import warnings


class IgnoredWarnings:
    """Ignores warnings while at least one thread is in the block: ``catch_warnings`` alone is not safe in threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._state = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._state = warnings.catch_warnings()
                self._state.__enter__()
                warnings.simplefilter("ignore")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._state.__exit__(None, None, None)


IGNORED_WARNINGS = IgnoredWarnings()
