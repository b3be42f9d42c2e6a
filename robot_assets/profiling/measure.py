"""Load the engines of all streams into this process and measure them: each alone, then all together.

Nothing here writes or judges. The model calls are in threads of their own (``periodic``); what the kernel counts about
the process and the machine is read before and after a run. Only power and temperature have to be looked at meanwhile.
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
from robot_assets.profiling.statistics import run_of
from robot_assets.profiling.streams import Stream
from robot_assets.runtime.engine import Engine
from robot_assets.runtime.manifest import Manifest, OnnxRuntimeManifest, TensorRTManifest


@dataclass(frozen=True)
class Measurement:
    """A profile and the jobs that it sums up.

    Attributes:
        profile: The figures.
        jobs: Of the run with all engines together, by the name of the stream.
        alone: Of each stream by itself.
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
        target: Name of the device, for the record.
        streams: Names are unique.
        duration_s: All of them together.
        alone_s: Each of them by itself, before.

    Raises:
        EngineError: An engine does not load, or an inference failed.
    """
    platform = probe()  # imports ONNX Runtime, whose memory is not that of the first engine
    before = read_memory()
    with ExitStack() as opened:
        loaded = [_load(stream, opened) for stream in streams]
        return _measured(target, loaded, duration_s, alone_s, platform.fingerprint, before)


def _measured(
    target: str, loaded: Sequence[_Loaded], duration_s: float, alone_s: float, fingerprint: str, before: Memory
) -> Measurement:
    alone: dict[str, tuple[Job, ...]] = {}
    for one in loaded:
        alone |= run_periodically([one.task], alone_s, what=f"alone: {one.task.name}")
    cores_before = read_core_times()
    with Meters(gpu=any(one.engine.manifest.kind == "tensorrt" for one in loaded)) as meters:
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
    runs = [run_of(jobs[stream.name], one.task, stream.deadline_ns, seconds) for jobs, seconds in (together, alone)]
    return StreamResult(
        name=stream.name,
        engine_md5=manifest.engine_md5,
        kind=manifest.kind,
        place=place_of(manifest),
        rate_hz=stream.rate_hz,
        deadline_ms=stream.deadline_ms,
        phase_ms=stream.phase_ms,
        load_s=one.load_s,
        memory_mib=one.memory_mib,
        together=runs[0],
        alone=runs[1],
    )


def place_of(manifest: Manifest) -> str:
    """What an engine runs on, in a word or two."""
    match manifest:
        case OnnxRuntimeManifest(threads=threads):
            return "1 thread" if threads == 1 else f"{threads} threads"
        case TensorRTManifest(settings={"dla": {"core": core}}):
            return f"DLA {core}"
        case _:
            return "GPU"


def _load(stream: Stream, opened: ExitStack) -> _Loaded:
    before, began = read_memory(), time.monotonic()
    engine = opened.enter_context(load_engine(stream.engine))
    load_s = time.monotonic() - began
    # Noise: how long a convolution takes does not depend on what is in the image.
    image = np.random.default_rng(0).random(engine.manifest.input.shape, dtype=np.float32)
    engine.infer(image)  # a runtime takes the memory of the activations with the first inference
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
