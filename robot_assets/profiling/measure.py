"""Loads the engines of all streams into this process and measures them: each alone, then all together.

Nothing here writes or judges. Inferences run in threads of their own (``periodic``). Counters of the kernel are read
before and after a run; only power and temperature are sampled during it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np

from robot_assets.engines.load import load_engine
from robot_assets.platforms.memory import Memory, read_memory
from robot_assets.platforms.meters import Meters, Telemetry
from robot_assets.platforms.probe import probe
from robot_assets.profiling.cores import CoreTimes, core_use, read_core_times
from robot_assets.profiling.periodic import Job, Task, run_periodically
from robot_assets.profiling.result import Machine, Profile, StreamResult
from robot_assets.profiling.statistics import summarize
from robot_assets.profiling.streams import Stream
from robot_assets.runtime.engine import Engine


@dataclass(frozen=True)
class Measurement:
    """A profile and the jobs that it summarizes.

    Attributes:
        profile: The figures.
        jobs: Of the run with all engines together, by the name of the stream.
        alone: Of the runs of one stream at a time.
    """

    profile: Profile
    jobs: Mapping[str, tuple[Job, ...]]
    alone: Mapping[str, tuple[Job, ...]]


@dataclass(frozen=True)
class _Loaded:
    stream: Stream
    engine: Engine
    task: Task
    load_s: float
    memory_mib: float


def measure(target: str, streams: Sequence[Stream], duration_s: float, alone_s: float) -> Measurement:
    """Profile the engines of ``streams`` in this process, pre- and post-processing left out.

    Args:
        target: Name of the device, for the profile.
        streams: With unique names.
        duration_s: Seconds of the run with all of them.
        alone_s: Seconds of the run of each alone, before.

    Raises:
        EngineError: An engine does not load, or an inference failed.
    """
    platform = probe()  # imports ONNX Runtime, whose memory would otherwise count for the first engine
    before = read_memory()
    with ExitStack() as opened:
        loaded = [_load(stream, opened) for stream in streams]
        return _measure_loaded(target, loaded, duration_s, alone_s, platform.fingerprint, before)


def _measure_loaded(
    target: str, loaded: Sequence[_Loaded], duration_s: float, alone_s: float, fingerprint: str, before: Memory
) -> Measurement:
    alone: dict[str, tuple[Job, ...]] = {}
    for one in loaded:
        alone |= run_periodically([one.task], alone_s, what=f"alone: {one.task.name}")
    cores_before = read_core_times()
    with Meters(gpu=any(one.engine.manifest.uses_gpu for one in loaded)) as meters:
        jobs = run_periodically([one.task for one in loaded], duration_s, what="together")
    machine = _machine(cores_before, before, meters.telemetry())
    profile = Profile(
        target=target,
        duration_s=duration_s,
        alone_s=alone_s,
        platform_fingerprint=fingerprint,
        machine=machine,
        streams=tuple(_result(one, (jobs, duration_s), (alone, alone_s)) for one in loaded),
    )
    return Measurement(profile, jobs, alone)


_JobsOfARun = tuple[Mapping[str, tuple[Job, ...]], float]


def _result(one: _Loaded, together: _JobsOfARun, alone: _JobsOfARun) -> StreamResult:
    stream, manifest = one.stream, one.engine.manifest
    runs = [summarize(jobs[stream.name], one.task, stream.deadline_ns, seconds) for jobs, seconds in (together, alone)]
    return StreamResult(
        name=stream.name,
        engine_md5=manifest.engine_md5,
        kind=manifest.kind,
        place=manifest.runs_on,
        rate_hz=stream.rate_hz,
        deadline_ms=stream.deadline_ms,
        phase_ms=stream.phase_ms,
        load_s=one.load_s,
        memory_mib=one.memory_mib,
        together=runs[0],
        alone=runs[1],
        memory_of=manifest.memory_of,
    )


def _load(stream: Stream, opened: ExitStack) -> _Loaded:
    before, began = read_memory(), time.monotonic()
    engine = opened.enter_context(load_engine(stream.engine))
    load_s = time.monotonic() - began
    # Noise: the duration of a convolution does not depend on the image.
    image = np.random.default_rng(0).random(engine.manifest.input.shape, dtype=np.float32)
    engine.infer(image)  # a runtime allocates the activations with the first inference
    task = Task(stream.name, stream.period_ns, stream.phase_ns, lambda: engine.infer(image))
    return _Loaded(stream, engine, task, round(load_s, 4), round(read_memory().resident - before.resident, 1))


def _machine(cores_before: CoreTimes, before: Memory, telemetry: Telemetry) -> Machine:
    use, after = core_use(cores_before, read_core_times()), read_memory()
    return Machine(
        core_percent={core: round(percent, 1) for core, percent in use.percent.items()},
        own_cores=round(use.own_cores, 3),
        other_cores=None if use.other_cores is None else round(use.other_cores, 3),
        stolen_ms=None if use.stolen_ms is None else round(use.stolen_ms),
        resident_mib=round(after.resident_peak, 1),
        runtime_mib=round(before.resident, 1),
        taken_mib=round(before.available - after.available, 1),
        power_w_mean=telemetry.power_w_mean,
        power_w_max=telemetry.power_w_max,
        temperature_c_max=telemetry.temperature_c_max,
    )
