"""What is measured is the engine, and not the interpreter around it."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_TURN_S = 1e-4


@contextmanager
def undisturbed() -> Iterator[None]:
    """No garbage collection, which stops all threads; and whoever wakes waits but a moment for the interpreter's lock.

    By default a thread that computes in Python keeps the lock for 5 ms before it gives others a turn.
    """
    was_enabled, turn_s = gc.isenabled(), sys.getswitchinterval()
    gc.disable()
    sys.setswitchinterval(_TURN_S)
    try:
        yield
    finally:
        sys.setswitchinterval(turn_s)
        if was_enabled:
            gc.enable()
