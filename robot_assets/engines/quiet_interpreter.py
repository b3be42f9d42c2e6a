"""Keeps the interpreter from delaying threads whose latency is measured."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_SWITCH_INTERVAL_S = 1e-4


@contextmanager
def quiet_interpreter() -> Iterator[None]:
    """Disable garbage collection, which stops all threads, and let a thread that wakes get the GIL within 0.1 ms.

    By default a thread that computes in Python keeps the GIL for 5 ms before it releases it to others.
    """
    was_enabled, interval_s = gc.isenabled(), sys.getswitchinterval()
    gc.disable()
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    try:
        yield
    finally:
        sys.setswitchinterval(interval_s)
        if was_enabled:
            gc.enable()
