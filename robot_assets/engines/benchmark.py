"""Times single inferences. What is compared is timed alternately: load of the machine affects both. Needs no torch."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from robot_assets.core.errors import EngineError
from robot_assets.core.progress import report
from robot_assets.engines.load import load_engine
from robot_assets.engines.registry import engine_kind


@dataclass(frozen=True)
class Latencies:
    """Wall-clock times of single inferences, without pre- and post-processing.

    Attributes:
        milliseconds: Of each inference, in the order they ran.
    """

    milliseconds: tuple[float, ...]

    def percentile(self, percent: float) -> float:
        """The latency that ``percent`` of the inferences did not exceed, ms."""
        return float(np.percentile(self.milliseconds, percent))

    @property
    def p50(self) -> float:
        """Median, ms."""
        return self.percentile(50)

    @property
    def p95(self) -> float:
        """95th percentile, ms."""
        return self.percentile(95)

    @property
    def p99(self) -> float:
        """99th percentile, ms."""
        return self.percentile(99)

    @property
    def images_per_s(self) -> float:
        """Inferences per second, one at a time."""
        return 1e3 * len(self.milliseconds) / sum(self.milliseconds)

    def as_json(self) -> dict[str, float | int]:
        """Percentiles, rounded to the microsecond."""
        return {
            "latency_ms_p50": round(self.p50, 3),
            "latency_ms_p95": round(self.p95, 3),
            "latency_ms_p99": round(self.p99, 3),
            "latency_ms_min": round(min(self.milliseconds), 3),
            "throughput_images_per_s": round(self.images_per_s, 1),
            "inferences": len(self.milliseconds),
        }


@dataclass(frozen=True)
class Comparison:
    """An engine and a float ONNX, timed alternately in one run.

    Attributes:
        engine: Latencies of the engine.
        float32: Latencies of the float ONNX.
        runs_on: What both ran on, such as ``1 thread``.
    """

    engine: Latencies
    float32: Latencies
    runs_on: str

    @property
    def speedup(self) -> float:
        """Median of the float ONNX over the median of the engine."""
        return self.float32.p50 / self.engine.p50


def measure(engine: Path, inferences: int = 200, warmup: int = 20) -> Latencies:
    """Time an engine on the threads of its manifest, one image per call.

    Raises:
        EngineError: The engine does not load.
    """
    with load_engine(engine) as loaded:
        images = _images(loaded.manifest.input.shape)
        return interleave({"engine": lambda: loaded.infer(images)}, inferences, warmup)["engine"]


def compare(engine: Path, float_onnx: Path, inferences: int = 200, warmup: int = 20) -> Comparison:
    """Time an engine beside ``float_onnx``, the checkpoint exported without quantization, in the same runtime.

    Raises:
        EngineError: One of them does not load, or the runtime of the engine runs no float ONNX.
    """
    with load_engine(engine) as loaded:
        manifest = loaded.manifest
        kind = engine_kind(manifest.kind)
        if kind.load_float is None:
            raise EngineError(
                f"{engine} is an engine for {kind.title}",
                needed="an engine whose runtime also runs a float ONNX, so that both latencies are comparable",
                fix=f"robot-assets engine bench {engine}   # times it alone",
            )
        run_float = kind.load_float(float_onnx, manifest)
        images = _images(manifest.input.shape)
        calls = {"engine": lambda: loaded.infer(images), "float32": lambda: run_float(images)}
        found = interleave(calls, inferences, warmup)
    return Comparison(found["engine"], found["float32"], manifest.runs_on)


def interleave(calls: Mapping[str, Callable[[], object]], inferences: int, warmup: int) -> dict[str, Latencies]:
    """Time ``calls`` alternately, each ``inferences`` times after ``warmup`` rounds that do not count."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for done in range(warmup + inferences):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if done >= warmup:
                times[name].append(1e3 * (time.perf_counter() - start))
        report("benchmark", done + 1, warmup + inferences)
    return {name: Latencies(tuple(values)) for name, values in times.items()}


def _images(shape: tuple[int, ...]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Noise: the duration of a convolution does not depend on the image."""
    return np.random.default_rng(0).random(shape, dtype=np.float32)
