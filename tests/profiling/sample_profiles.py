"""Profiles with invented figures, to judge and to draw."""

from robot_assets.profiling.result import Machine, Percentiles, Profile, Run, StreamResult


def run(frames: int = 300, late: int = 0, skipped: int = 0, inference_ms: float = 2.0, busy: float = 3.0) -> Run:
    times = Percentiles(p50=inference_ms, p95=1.1 * inference_ms, p99=1.2 * inference_ms, max=1.5 * inference_ms)
    none = Percentiles(p50=0, p95=0, p99=0, max=0)
    return Run(
        frames=frames,
        answered=frames - skipped,
        late=late,
        skipped=skipped,
        latency_ms=times,
        inference_ms=times,
        queueing_ms=none,
        jitter_ms=none,
        busy_percent=busy,
    )


def stream(name: str, together: Run, alone: Run | None = None, **changes) -> StreamResult:
    return StreamResult(
        **{
            "name": name,
            "engine_md5": "0" * 32,
            "kind": "onnxruntime",
            "place": "1 thread",
            "rate_hz": 15,
            "deadline_ms": 1000 / 15,
            "phase_ms": 0,
            "load_s": 0.1,
            "memory_mib": 20.0,
            "together": together,
            "alone": alone or run(),
        }
        | changes
    )


def machine(**changes) -> Machine:
    return Machine(
        **{
            "core_percent": {0: 61.0, 1: 12.0},
            "own_cores": 0.7,
            "other_cores": 0.03,
            "resident_mib": 180.0,
            "runtime_mib": 80.0,
            "taken_mib": 100.0,
        }
        | changes
    )


def profile(*streams: StreamResult, **changes) -> Profile:
    return Profile(
        **{
            "target": "cpu",
            "duration_s": 20,
            "alone_s": 5,
            "platform_fingerprint": "f" * 32,
            "machine": machine(),
            "streams": streams,
        }
        | changes
    )
