"""Judges whether the engines of a profile fit the robot."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from robot_assets.core.text import plural
from robot_assets.core.verdict import Verdict
from robot_assets.profiling.result import Profile, StreamResult, load_profile
from robot_assets.profiling.spec import FitSpec

OTHER_CORES_MIN = 0.25
"""From this number of cores on, other processes are reported as a possible cause of missed deadlines."""

STOLEN_SHARE_MIN = 0.005
"""From this share of one core on, a hypervisor is reported as a possible cause (0.5 %: see docs/results.md)."""


@dataclass(frozen=True)
class _Reason:
    """Why a set of engines does not fit, and a fix."""

    why: str
    fix: str


def check_fit(profile: Path, spec: FitSpec) -> Verdict:
    """Judge the profile in the artifact ``profile``.

    Raises:
        EngineError: It is not a profile.
    """
    return judge(load_profile(profile), spec)


def judge(profile: Profile, spec: FitSpec) -> Verdict:
    """Judge a profile: one sentence with the figures, and a fix when it does not fit."""
    missing, large = list(_missing(profile, spec)), list(_too_large(profile, spec))
    reasons = [*missing, *large]
    first = _profile_idle_device(profile) if missing else ""
    return Verdict(
        passed=not reasons,
        summary="; ".join([_headline(profile, not reasons), *(reason.why for reason in reasons)]),
        fix=first + "; ".join(dict.fromkeys(reason.fix for reason in reasons)),
        facts=_facts(profile, spec),
    )


def headline(profile: Profile, spec: FitSpec) -> str:
    """The verdict without its reasons: ``3 engines fit: 0 of 900 deadlines missed, busiest core 61 %, 180 MiB``."""
    return _headline(profile, judge(profile, spec).passed)


def deadlines_summary(profile: Profile, fits: bool) -> str:
    """The first half of a headline: ``3 engines fit: 0 of 900 deadlines missed``."""
    count = len(profile.streams)
    verb = ("fits" if count == 1 else "fit") if fits else ("does not fit" if count == 1 else "do not fit")
    return f"{plural(count, 'engine')} {verb}: {profile.missed:,} of {profile.frames:,} deadlines missed"


def resources_summary(profile: Profile) -> str:
    """Cores, memory and power, with the load of other processes unless the device was idle."""
    core, others = profile.machine.busiest_core_percent, _others(profile)
    busiest = "" if core is None else f"busiest core {core:.0f} %"
    beside = f" ({others})" if others else ""
    power = "" if profile.machine.power_w_mean is None else f"{profile.machine.power_w_mean:.1f} W"
    return ", ".join(filter(None, (busiest + beside, f"{profile.memory_mib:.0f} MiB", power)))


def _headline(profile: Profile, fits: bool) -> str:
    return f"{deadlines_summary(profile, fits)}, {resources_summary(profile)}"


def _missing(profile: Profile, spec: FitSpec) -> Iterator[_Reason]:
    """Streams that miss more deadlines than allowed."""
    for stream in profile.streams:
        if stream.together.missed_percent > spec.missed_percent_max:
            yield _why_missed(stream, profile, spec)


def _why_missed(stream: StreamResult, profile: Profile, spec: FitSpec) -> _Reason:
    misses = (
        f"{stream.name} misses {stream.together.missed_percent:.1f} % of its deadlines of {stream.deadline_ms:.4g} ms "
        f"at {stream.rate_hz:g} Hz (at most {spec.missed_percent_max:g} %)"
    )
    is_slow_alone = stream.alone.missed_percent > spec.missed_percent_max
    if is_slow_alone and stream.alone.inference_ms.p99 <= stream.deadline_ms:
        return _Reason(
            f"{misses}, also when alone: it waits {stream.alone.jitter_ms.p99:.1f} ms for a core (p99)",
            f"leave a core free for {stream.name}, or raise its deadline_ms",
        )
    if is_slow_alone:
        return _Reason(
            f"{misses}, also when alone: one inference takes {stream.alone.inference_ms.p99:.1f} ms (p99)",
            f"lower the rate_hz of {stream.name} to {_maximum_rate(stream)}, lower its network.width or input size, or "
            "give it more threads",
        )
    busiest = max(profile.streams, key=lambda one: one.together.busy_percent)
    return _Reason(
        f"{misses}, {stream.alone.missed_percent:.1f} % when alone: beside the others one inference takes "
        f"{stream.together.inference_ms.p99:.1f} ms instead of {stream.alone.inference_ms.p99:.1f} ms (p99)",
        f"lower the rate_hz of {busiest.name}, whose thread is the busiest ({busiest.together.busy_percent:.0f} %), or "
        "shift triggered sensors against one another with phase_ms",
    )


def _profile_idle_device(profile: Profile) -> str:
    others = _others(profile)
    return f"profile again on an idle device ({others}); if the robot has the same load: " if others else ""


def _others(profile: Profile) -> str:
    """Load by other processes and the hypervisor; empty when it was small."""
    other_cores, stolen_ms = profile.machine.other_cores or 0.0, profile.machine.stolen_ms or 0.0
    loads = []
    if other_cores >= OTHER_CORES_MIN:
        loads.append(f"other processes used {other_cores:.1f} cores")
    if stolen_ms >= 1e3 * STOLEN_SHARE_MIN * profile.duration_s:
        loads.append(f"a hypervisor took {stolen_ms:.0f} ms")
    return ", ".join(loads)


def _maximum_rate(stream: StreamResult) -> str:
    """The highest rate that its 99th percentile when alone allows."""
    rate = 1e3 / stream.alone.inference_ms.p99
    return f"{math.floor(rate) if rate >= 2 else math.floor(10 * rate) / 10:g}"


def _too_large(profile: Profile, spec: FitSpec) -> Iterator[_Reason]:
    if spec.memory_mib_max is not None and profile.memory_mib > spec.memory_mib_max:
        largest = max(profile.streams, key=lambda one: one.memory_mib)
        yield _Reason(
            f"memory is {profile.memory_mib:.0f} MiB (at most {spec.memory_mib_max:g}), of which the runtime takes "
            f"{profile.machine.runtime_mib:.0f} and {largest.name} {largest.memory_mib:.0f}",
            f"remove an engine, lower network.width or the input size of {largest.name}, or raise memory_mib_max",
        )


def _facts(profile: Profile, spec: FitSpec) -> dict[str, object]:
    return {
        "frames": profile.frames,
        "deadlines_missed": profile.missed,
        "missed_percent_by_stream": {one.name: round(one.together.missed_percent, 3) for one in profile.streams},
        "missed_percent_max": spec.missed_percent_max,
        "memory_mib": profile.memory_mib,
        "memory_mib_max": spec.memory_mib_max,
        "busiest_core_percent": profile.machine.busiest_core_percent,
        "other_cores": profile.machine.other_cores,
        "stolen_ms": profile.machine.stolen_ms,
        "power_w_mean": profile.machine.power_w_mean,
        "temperature_c_max": profile.machine.temperature_c_max,
    }
