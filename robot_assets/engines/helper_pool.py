"""A thread pool whose user runs pending tasks while it waits for a result, instead of idling."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from threading import Thread
from types import TracebackType
from typing import Any, TypeVar

Result = TypeVar("Result")
_Task = tuple[Future[Any], Callable[..., Any], tuple[object, ...]]


class HelperPool:
    """Runs tasks in the order of their submission; without helpers, all of them run when somebody waits for a result.

    Args:
        helpers: Threads beside that of the caller.
    """

    def __init__(self, helpers: int) -> None:
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._threads = [Thread(target=self._help, name=f"helper {number}", daemon=True) for number in range(helpers)]

    def __enter__(self) -> HelperPool:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            while self._next() is not None:  # nobody will wait for the remaining tasks
                pass
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join()

    def submit(self, function: Callable[..., Result], *arguments: object) -> Future[Result]:
        """Queue a call of ``function`` with ``arguments``."""
        future: Future[Result] = Future()
        self._tasks.put((future, function, arguments))
        return future

    def wait(self, future: Future[Result]) -> Result:
        """The result of a task. Runs pending tasks until it is there."""
        while not future.done() and (task := self._next()) is not None:
            _run(task)
        return future.result()

    def _next(self) -> _Task | None:
        try:
            return self._tasks.get_nowait()
        except Empty:
            return None

    def _help(self) -> None:
        while (task := self._tasks.get()) is not None:
            _run(task)


def _run(task: _Task) -> None:
    future, function, arguments = task
    try:
        future.set_result(function(*arguments))
    except BaseException as error:
        future.set_exception(error)
