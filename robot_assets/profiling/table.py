"""A profile as rows of text, for the page and the terminal."""

from __future__ import annotations

from robot_assets.profiling.result import Profile, StreamResult


def rows(profile: Profile) -> dict[str, dict[str, str]]:
    """One row for each stream, by its name: column title -> cell."""
    return {stream.name: _row(stream) for stream in profile.streams}


def _row(stream: StreamResult) -> dict[str, str]:
    run = stream.together
    latency, alone = run.latency_ms, stream.alone.latency_ms
    return {
        "Hz": f"{stream.rate_hz:g}",
        "deadline ms": f"{stream.deadline_ms:.1f}",
        "missed": f"{run.missed:,} of {run.frames:,}",
        "skipped": f"{run.skipped:,}",
        "p50 ms": f"{latency.p50:.2f}",
        "p95 ms": f"{latency.p95:.2f}",
        "p99 ms": f"{latency.p99:.2f}",
        "max ms": f"{latency.max:.2f}",
        "alone p50": f"{alone.p50:.2f}",
        "alone p99": f"{alone.p99:.2f}",
        "queued p99": f"{run.queueing_ms.p99:.2f}",
        "jitter p99": f"{run.jitter_ms.p99:.3f}",
        "busy": f"{run.busy_percent:.1f} %",
        "MiB": f"{stream.memory_mib:.0f}",
    }
