"""Runs several calls periodically, each in its own thread, and records the start and end of each job.

Releases are absolute: frame ``k`` of a task is released at ``phase + k * period`` after a common origin, on the
monotonic clock, however long earlier frames took. A thread sleeps until its next release; it does not spin, since a
spinning thread would occupy the core of another engine (benchmarks/profiling.py measures the cost of sleeping).

On overrun a task behaves like a camera driver with a queue of one: while a frame is processed, each new frame replaces
the waiting one. The thread then processes the newest released frame at once. Replaced frames are skipped: they have no
job.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from robot_assets.core.progress import report
from robot_assets.engines.quiet_interpreter import quiet_interpreter

SECOND_NS = 1_000_000_000
_LEAD_NS = 50_000_000
_POLL_S = 0.25


@dataclass(frozen=True)
class Task:
    """One periodic call.

    Attributes:
        name: Unique.
        period_ns: Nanoseconds from one release to the next.
        phase_ns: First release after the common origin.
        work: The call; always made from the same thread.
    """

    name: str
    period_ns: int
    phase_ns: int
    work: Callable[[], object]

    def frames_within(self, duration_ns: int) -> int:
        """Number of frames that are released in the first ``duration_ns``."""
        return max(0, -((self.phase_ns - duration_ns) // self.period_ns))

    def release_ns(self, frame: int) -> int:
        """Release of a frame after the common origin."""
        return self.phase_ns + frame * self.period_ns


@dataclass(frozen=True, slots=True)
class Job:
    """One processed frame. Times are nanoseconds after the common origin of all tasks.

    Attributes:
        frame: Number of the frame, from 0; frames between two jobs were skipped.
        release_ns: The sensor delivers the frame.
        ready_ns: The thread was free: the release that it slept for, or the end of the previous job if that was later.
            A thread that wakes a whole period late slept for a frame that this one has replaced.
        start_ns: Start of the call.
        finish_ns: End of the call.
    """

    frame: int
    release_ns: int
    ready_ns: int
    start_ns: int
    finish_ns: int

    @property
    def latency_ns(self) -> int:
        """From the sensor to the result."""
        return self.finish_ns - self.release_ns

    @property
    def queueing_ns(self) -> int:
        """Wait for the previous frame."""
        return max(0, self.ready_ns - self.release_ns)

    @property
    def jitter_ns(self) -> int:
        """Wait although the thread was free: timer, scheduler of the system, and this module."""
        return self.start_ns - self.ready_ns

    @property
    def work_ns(self) -> int:
        """Duration of the call."""
        return self.finish_ns - self.start_ns


def run_periodically(
    tasks: Sequence[Task], duration_s: float, warmup: int = 10, what: str = "profile"
) -> dict[str, tuple[Job, ...]]:
    """Run all tasks together and return the jobs of each by its name.

    Args:
        tasks: At least one, with unique names.
        duration_s: Frames are released for this time.
        warmup: Calls of each task from its thread before the first release, not recorded.
        what: Name of the run in progress reports.

    Raises:
        BaseException: The first one that a call raised, after all threads have ended.
    """
    run = _Run(round(duration_s * SECOND_NS), warmup, threading.Barrier(len(tasks)))
    threads = [threading.Thread(target=run.thread, args=(task,), name=task.name, daemon=True) for task in tasks]
    with quiet_interpreter():
        try:
            for thread in threads:
                thread.start()
            _wait(threads, duration_s, what)
        finally:
            run.is_over.set()
            for thread in threads:
                thread.join()
    if run.failures:
        raise run.failures[0]
    return {task.name: _jobs(task, run.log[task.name], run.origin_ns) for task in tasks}


@dataclass
class _Run:
    """State that the threads of one run share. ``log`` has (frame, start, finish) in nanoseconds of the clock."""

    duration_ns: int
    warmup: int
    barrier: threading.Barrier
    origin_ns: int = 0
    log: dict[str, list[tuple[int, int, int]]] = field(default_factory=dict)
    failures: list[BaseException] = field(default_factory=list)
    is_over: threading.Event = field(default_factory=threading.Event)

    def thread(self, task: Task) -> None:
        try:
            for _ in range(self.warmup):
                task.work()
            if self.barrier.wait() == 0:
                self.origin_ns = time.monotonic_ns() + _LEAD_NS
            self.barrier.wait()
            self.log[task.name] = self._jobs(task)
        except threading.BrokenBarrierError:
            return  # another task failed during its warm-up and reports the error
        except BaseException as error:
            self.failures.append(error)
            self.is_over.set()
            self.barrier.abort()

    def _jobs(self, task: Task) -> list[tuple[int, int, int]]:
        clock, sleep, work, is_over = time.monotonic_ns, time.sleep, task.work, self.is_over.is_set
        first_ns, period_ns = self.origin_ns + task.phase_ns, task.period_ns
        frames = task.frames_within(self.duration_ns)
        log: list[tuple[int, int, int]] = []
        frame = 0
        while frame < frames and not is_over():
            early_ns = first_ns + frame * period_ns - clock()
            if early_ns > 0:
                sleep(early_ns / SECOND_NS)
            start = clock()
            newest = min((start - first_ns) // period_ns, frames - 1)
            work()
            log.append((max(frame, newest), start, clock()))
            frame = max(frame, newest) + 1
        return log


def _jobs(task: Task, log: Sequence[tuple[int, int, int]], origin_ns: int) -> tuple[Job, ...]:
    jobs: list[Job] = []
    for frame, start, finish in log:
        free_ns = jobs[-1].finish_ns if jobs else 0
        wanted = jobs[-1].frame + 1 if jobs else 0
        ready_ns = max(task.release_ns(wanted), free_ns)
        jobs.append(Job(frame, task.release_ns(frame), ready_ns, start - origin_ns, finish - origin_ns))
    return tuple(jobs)


def _wait(threads: Sequence[threading.Thread], duration_s: float, what: str) -> None:
    """Wait for the threads and report progress."""
    began = time.monotonic()
    for thread in threads:
        while thread.is_alive():
            report(what, min(round(time.monotonic() - began), round(duration_s)), round(duration_s))
            thread.join(_POLL_S)
