"""The jobs of a profile in the Trace Event Format of Perfetto and chrome://tracing.

One track for each stream; a slice is a processed frame, an instant event a missed deadline.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from robot_assets.profiling.periodic import Job
from robot_assets.profiling.streams import Stream

_NS_IN_US = 1000
_PROCESS = 1


def trace_bytes(streams: Sequence[Stream], jobs: Mapping[str, Sequence[Job]]) -> bytes:
    """Content of the trace file; times are microseconds after the common origin."""
    events = [event for track, stream in enumerate(streams, 1) for event in _track(track, stream, jobs[stream.name])]
    document = {"displayTimeUnit": "ms", "traceEvents": events}
    return (json.dumps(document, separators=(",", ":"), allow_nan=False) + "\n").encode()


def _track(track: int, stream: Stream, jobs: Sequence[Job]) -> Iterator[dict[str, Any]]:
    place = {"pid": _PROCESS, "tid": track}
    name = f"{stream.name}, {stream.rate_hz:g} Hz"
    yield {"ph": "M", "name": "thread_name", **place, "args": {"name": name}}
    for job in jobs:
        waits = {
            "release_us": job.release_ns / _NS_IN_US,
            "queueing_us": job.queueing_ns / _NS_IN_US,
            "jitter_us": job.jitter_ns / _NS_IN_US,
            "latency_us": job.latency_ns / _NS_IN_US,
        }
        times = {"ts": job.start_ns / _NS_IN_US, "dur": job.work_ns / _NS_IN_US}
        yield {"ph": "X", "name": f"frame {job.frame}", "cat": stream.name, **place, **times, "args": waits}
        if job.latency_ns > stream.deadline_ns:
            deadline_us = (job.release_ns + stream.deadline_ns) / _NS_IN_US
            yield {"ph": "i", "s": "t", "name": f"frame {job.frame} missed its deadline", **place, "ts": deadline_us}
