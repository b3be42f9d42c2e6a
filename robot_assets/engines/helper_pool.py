"""Threads that work ahead of whoever waits for them; who waits takes part instead of standing by."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from threading import Thread
from types import TracebackType
from typing import Any, TypeVar

Result = TypeVar("Result")
_Task = tuple[Future[Any], Callable[..., Any], tuple[object, ...]]


class Crew:
    """Does tasks in the order they were handed in; with no helpers, when somebody waits for them.

    Args:
        helpers: Threads beside the caller's.
    """

    def __init__(self, helpers: int) -> None:
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._threads = [Thread(target=self._help, name=f"crew {number}", daemon=True) for number in range(helpers)]

    def __enter__(self) -> Crew:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            while self._next() is not None:  # what nobody will ask for
                pass
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join()

    def hand(self, function: Callable[..., Result], *arguments: object) -> Future[Result]:
        """Have ``function`` called with ``arguments``."""
        future: Future[Result] = Future()
        self._tasks.put((future, function, arguments))
        return future

    def wait(self, future: Future[Result]) -> Result:
        """The result of a task, doing whatever is still to be done until it is there."""
        while not future.done() and (task := self._next()) is not None:
            _do(task)
        return future.result()

    def _next(self) -> _Task | None:
        try:
            return self._tasks.get_nowait()
        except Empty:
            return None

    def _help(self) -> None:
        while (task := self._tasks.get()) is not None:
            _do(task)


def _do(task: _Task) -> None:
    future, function, arguments = task
    try:
        future.set_result(function(*arguments))
    except BaseException as error:
        future.set_exception(error)
