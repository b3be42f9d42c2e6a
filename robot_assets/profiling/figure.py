"""A measurement as a picture: the timeline of its engines, and their latencies together and alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from robot_assets.figures.timeline import Lane, Times, engine_timeline
from robot_assets.profiling.fit import finding, judge, use
from robot_assets.profiling.measure import Measurement
from robot_assets.profiling.periodic import Job
from robot_assets.profiling.result import StreamResult
from robot_assets.profiling.spec import FitSpec

_NS_IN_MS = 1e6


def draw(found: Measurement, spec: FitSpec) -> bytes:
    """PNG bytes of the picture, with the answer on top."""
    profile = found.profile
    lanes = [_lane(one, found.jobs[one.name], found.alone[one.name]) for one in profile.streams]
    title = finding(profile, judge(profile, spec).passed)
    return engine_timeline(lanes, title, f"Together for {profile.duration_s:g} s on {profile.target}: {use(profile)}")


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
