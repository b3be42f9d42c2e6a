"""Progress of long work, told to whoever listens: a bar in a terminal, a log line in Dagster, or nobody.

A listener is set for a block of code instead of being passed through every call, because most functions on
the way have no other reason to know of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Listener = Callable[[str, int, int, str], None]
"""Called with (what is going on, steps done, steps in all, a short note such as the present loss)."""


def _nobody(what: str, done: int, total: int, note: str) -> None:
    """Listen to nothing."""


_listener: ContextVar[Listener] = ContextVar("progress_listener", default=_nobody)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Send the progress of the enclosed block to ``listener``."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def report(what: str, done: int, total: int, note: str = "") -> None:
    """Say that ``done`` of ``total`` steps of ``what`` are behind us. Cheap; call it once per batch."""
    _listener.get()(what, done, total, note)


def current() -> Listener:
    """The listener in force, for one that wants to pass on what it hears."""
    return _listener.get()
