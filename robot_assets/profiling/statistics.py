"""Summarizes the jobs of one stream in one run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from robot_assets.profiling.periodic import SECOND_NS, Job, Task
from robot_assets.profiling.result import Percentiles, Run

_NS_IN_MS = 1e6


def summarize(jobs: Sequence[Job], task: Task, deadline_ns: int, duration_s: float) -> Run:
    """Summarize the jobs of one task.

    Args:
        jobs: In order.
        task: The task that released them.
        deadline_ns: From the release of a frame to its result.
        duration_s: Frames were released for this long.
    """
    frames = task.frames_within(round(duration_s * SECOND_NS))
    # The last job may end after the duration; then the time counts to its end.
    span_ns = max(round(duration_s * SECOND_NS), max((job.finish_ns for job in jobs), default=0))
    return Run(
        frames=frames,
        answered=len(jobs),
        late=sum(job.latency_ns > deadline_ns for job in jobs),
        skipped=frames - len(jobs),
        latency_ms=percentiles(job.latency_ns for job in jobs),
        inference_ms=percentiles(job.work_ns for job in jobs),
        queueing_ms=percentiles(job.queueing_ns for job in jobs),
        jitter_ms=percentiles(job.jitter_ns for job in jobs),
        busy_percent=round(100 * sum(job.work_ns for job in jobs) / span_ns, 2),
    )


def percentiles(times_ns: Iterable[int]) -> Percentiles:
    """Percentiles of nanoseconds, in milliseconds, rounded to microseconds; zeros for no times."""
    times = np.fromiter(times_ns, dtype=np.float64) / _NS_IN_MS
    if not len(times):
        return Percentiles(p50=0.0, p95=0.0, p99=0.0, max=0.0)
    p50, p95, p99 = (round(float(value), 3) for value in np.percentile(times, (50, 95, 99)))
    return Percentiles(p50=p50, p95=p95, p99=p99, max=round(float(times.max()), 3))
