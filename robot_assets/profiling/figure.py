"""Figure of a measurement: the timeline of its engines, and their latencies together and alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from robot_assets.figures.timeline import Lane, Times, engine_timeline
from robot_assets.profiling.fit import deadlines_summary, judge, resources_summary
from robot_assets.profiling.measure import Measurement
from robot_assets.profiling.periodic import Job
from robot_assets.profiling.result import StreamResult
from robot_assets.profiling.spec import FitSpec

_NS_IN_MS = 1e6


def draw(found: Measurement, spec: FitSpec) -> bytes:
    """PNG bytes of the figure, with the verdict as its title."""
    profile = found.profile
    lanes = [_lane(stream, found.jobs[stream.name], found.alone[stream.name]) for stream in profile.streams]
    title = deadlines_summary(profile, judge(profile, spec).passed)
    subtitle = f"Together for {profile.duration_s:g} s on {profile.target}: {resources_summary(profile)}"
    return engine_timeline(lanes, title, subtitle)


def _lane(stream: StreamResult, jobs: Sequence[Job], alone: Sequence[Job]) -> Lane:
    period_ms = 1e3 / stream.rate_hz
    skipped = sorted(set(range(stream.together.frames)) - {job.frame for job in jobs})
    return Lane(
        name=stream.name,
        note=f"{stream.rate_hz:g} Hz, {stream.place}",
        period_ms=period_ms,
        deadline_ms=stream.deadline_ms,
        release_ms=_milliseconds([job.release_ns for job in jobs]),
        start_ms=_milliseconds([job.start_ns for job in jobs]),
        finish_ms=_milliseconds([job.finish_ns for job in jobs]),
        skipped_ms=stream.phase_ms + period_ms * np.array(skipped, dtype=np.float64),
        alone_ms=_milliseconds([job.latency_ns for job in alone]),
    )


def _milliseconds(times_ns: Sequence[int]) -> Times:
    return np.array(times_ns, dtype=np.float64) / _NS_IN_MS
