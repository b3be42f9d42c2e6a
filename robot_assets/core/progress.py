"""Progress reports of long operations to a listener: a progress bar in a terminal, log lines in Dagster, or none.

A listener is set for a block of code instead of being passed through every call: most functions in between do not
need it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Listener = Callable[[str, int, int, str], None]
"""Called with (name of the operation, steps done, total steps, a short note such as the current loss)."""


def _ignore(what: str, done: int, total: int, note: str) -> None:
    """Ignore a report."""


_listener: ContextVar[Listener] = ContextVar("progress_listener", default=_ignore)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Send the progress reports of the block to ``listener``."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def report(what: str, done: int, total: int, note: str = "") -> None:
    """Report ``done`` of ``total`` steps of the operation ``what``. Cheap; call it once per batch."""
    _listener.get()(what, done, total, note)


def current_listener() -> Listener:
    """The current listener, for a listener that forwards its reports."""
    return _listener.get()
