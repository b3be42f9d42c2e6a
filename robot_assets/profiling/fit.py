"""Does the set of engines fit the robot? A profile against what the robot can live with."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from robot_assets.core.verdict import Verdict
from robot_assets.profiling.result import Profile, StreamResult, load_profile
from robot_assets.profiling.spec import FitSpec

BUSY_ELSEWHERE = 0.25
"""From so many cores on that other processes keep busy, they may be why a deadline is missed."""

STOLEN = 0.005
"""From such a share of one core on that a hypervisor takes, it may be why (docs/results.md has what 0.5 % do)."""


@dataclass(frozen=True)
class _Reason:
    """Why a set does not fit, and what to do about it."""

    why: str
    fix: str


def check_fit(profile: Path, spec: FitSpec) -> Verdict:
    """Hold the profile in the artifact ``profile`` against ``spec``.

    Raises:
        EngineError: It is no profile.
    """
    return judge(load_profile(profile), spec)


def judge(profile: Profile, spec: FitSpec) -> Verdict:
    """Whether a set fits: one sentence with the figures, and what to do when it does not."""
    missing, large = list(_missing(profile, spec)), list(_too_large(profile, spec))
    reasons = [*missing, *large]
    first = _first_an_idle_device(profile) if missing else ""
    return Verdict(
        passed=not reasons,
        summary="; ".join([_headline(profile, not reasons), *(reason.why for reason in reasons)]),
        fix=first + "; ".join(dict.fromkeys(reason.fix for reason in reasons)),
        facts=_facts(profile, spec),
    )


def headline(profile: Profile, spec: FitSpec) -> str:
    """The verdict without its reasons: ``3 engines fit: 0 of 900 deadlines missed, busiest core 61 %, 180 MiB``."""
    return _headline(profile, judge(profile, spec).passed)


def finding(profile: Profile, fits: bool) -> str:
    """The first half of a headline: ``3 engines fit: 0 of 900 deadlines missed``."""
    count = len(profile.streams)
    engines, verb = ("1 engine", "does") if count == 1 else (f"{count} engines", "do")
    answer = f"{verb} not fit" if not fits else "fits" if count == 1 else "fit"
    return f"{engines} {answer}: {profile.missed:,} of {profile.frames:,} deadlines missed"


def use(profile: Profile) -> str:
    """Cores, memory and power; and who else had the cores, which on an idle device is next to nobody."""
    core, others = profile.machine.busiest_core_percent, _others(profile)
    busiest = "" if core is None else f"busiest core {core:.0f} %"
    beside = f" ({others})" if others else ""
    power = "" if profile.machine.power_w_mean is None else f"{profile.machine.power_w_mean:.1f} W"
    return ", ".join(filter(None, (busiest + beside, f"{profile.memory_mib:.0f} MiB", power)))


def _headline(profile: Profile, fits: bool) -> str:
    return f"{finding(profile, fits)}, {use(profile)}"


def _missing(profile: Profile, spec: FitSpec) -> Iterator[_Reason]:
    """Streams that miss more deadlines than they may."""
    for stream in profile.streams:
        if stream.together.missed_percent > spec.missed_percent_max:
            yield _why_missed(stream, profile, spec)


def _why_missed(stream: StreamResult, profile: Profile, spec: FitSpec) -> _Reason:
    misses = (
        f"{stream.name} misses {stream.together.missed_percent:.1f} % of its deadlines of {stream.deadline_ms:.4g} ms "
        f"at {stream.rate_hz:g} Hz (may miss {spec.missed_percent_max:g} %)"
    )
    is_slow_alone = stream.alone.missed_percent > spec.missed_percent_max
    if is_slow_alone and stream.alone.inference_ms.p99 <= stream.deadline_ms:
        return _Reason(
            f"{misses}, also alone: it waits up to {stream.alone.jitter_ms.p99:.1f} ms for a core (p99)",
            f"leave a core free for {stream.name}, or give it a longer deadline_ms",
        )
    if is_slow_alone:
        return _Reason(
            f"{misses}, also alone: one inference takes {stream.alone.inference_ms.p99:.1f} ms (p99)",
            f"give {stream.name} a rate_hz of at most {_bearable_rate(stream)}, a smaller network.width or input, "
            "or more threads",
        )
    busiest = max(profile.streams, key=lambda one: one.together.busy_percent)
    return _Reason(
        f"{misses}, alone {stream.alone.missed_percent:.1f} %: beside the others one inference takes "
        f"{stream.together.inference_ms.p99:.1f} ms instead of {stream.alone.inference_ms.p99:.1f} ms (p99)",
        f"lower the rate_hz of {busiest.name}, whose thread is the busiest ({busiest.together.busy_percent:.0f} %), or "
        "shift sensors that can be triggered against one another with phase_ms",
    )


def _first_an_idle_device(profile: Profile) -> str:
    others = _others(profile)
    return f"profile again on an idle device ({others}); if the robot has that beside its engines: " if others else ""


def _others(profile: Profile) -> str:
    """Who else had the cores, and how much of them; empty when that was next to nothing."""
    elsewhere, stolen_ms = profile.machine.other_cores or 0.0, profile.machine.stolen_ms or 0.0
    told = [
        *([f"other processes used {elsewhere:.1f} cores"] if elsewhere >= BUSY_ELSEWHERE else []),
        *([f"a hypervisor took {stolen_ms:.0f} ms"] if stolen_ms >= 1e3 * STOLEN * profile.duration_s else []),
    ]
    return ", ".join(told)


def _bearable_rate(stream: StreamResult) -> str:
    """The highest rate that its 99th percentile alone allows."""
    rate = 1e3 / stream.alone.inference_ms.p99
    return f"{math.floor(rate) if rate >= 2 else math.floor(10 * rate) / 10:g}"


def _too_large(profile: Profile, spec: FitSpec) -> Iterator[_Reason]:
    if spec.memory_mib_max is not None and profile.memory_mib > spec.memory_mib_max:
        largest = max(profile.streams, key=lambda one: one.memory_mib)
        yield _Reason(
            f"it takes {profile.memory_mib:.0f} MiB (may take {spec.memory_mib_max:g}), of which the runtime alone "
            f"{profile.machine.runtime_mib:.0f} and {largest.name} {largest.memory_mib:.0f}",
            f"leave an engine out, lower network.width or the input of {largest.name}, or raise memory_mib_max if the "
            "robot has more to give",
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
