"""Core utilization of this machine by all processes, and the time that a hypervisor steals."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_IDLE = (3, 4)  # idle, iowait
_STOLEN = 7
_TICK_MS = 1e3 / os.sysconf("SC_CLK_TCK")
_COUNTED = 8  # user, nice, system, idle, iowait, irq, softirq, steal; guest time is part of user


@dataclass(frozen=True)
class CoreTimes:
    """Counters at one moment.

    Attributes:
        busy: Clock ticks in which a core was busy, by its number; empty where there is no /proc/stat.
        stolen: Clock ticks in which a core had work but a hypervisor ran another guest.
        total: All clock ticks of a core.
        own_s: CPU seconds of this process, all threads.
        at_s: Monotonic clock.
    """

    busy: Mapping[int, int]
    stolen: Mapping[int, int]
    total: Mapping[int, int]
    own_s: float = field(default_factory=time.process_time)
    at_s: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class CoreUse:
    """Core utilization between two readings.

    Attributes:
        percent: By core, of those that this process may use.
        own_cores: Cores that this process used on average.
        other_cores: Cores of the same set that all other processes used on average; None where unknown.
        stolen_ms: Time that a hypervisor stole from the same cores, in total; None where unknown.
    """

    percent: Mapping[int, float]
    own_cores: float
    other_cores: float | None
    stolen_ms: float | None


def read_core_times(stat: Path = Path("/proc/stat")) -> CoreTimes:
    """Read the counters of the cores that this process may use."""
    busy: dict[int, int] = {}
    stolen: dict[int, int] = {}
    total: dict[int, int] = {}
    allowed = os.sched_getaffinity(0)
    lines = stat.read_text().splitlines() if stat.exists() else []
    for line in lines:
        name, *fields = line.split()
        if name.startswith("cpu") and name != "cpu" and (core := int(name[3:])) in allowed:
            ticks = [int(value) for value in fields[:_COUNTED]]
            total[core], stolen[core] = sum(ticks), sum(ticks[_STOLEN:])
            busy[core] = total[core] - stolen[core] - sum(ticks[index] for index in _IDLE)
    return CoreTimes(busy, stolen, total)


def core_use(before: CoreTimes, after: CoreTimes) -> CoreUse:
    """Core utilization between two readings."""
    shares = {
        core: (after.busy[core] - before.busy[core]) / ticks
        for core in sorted(after.total.keys() & before.total.keys())
        if (ticks := after.total[core] - before.total[core]) > 0
    }
    own = (after.own_s - before.own_s) / max(after.at_s - before.at_s, 1e-9)
    return CoreUse(
        percent={core: 100 * share for core, share in shares.items()},
        own_cores=own,
        other_cores=max(0.0, sum(shares.values()) - own) if shares else None,
        stolen_ms=_TICK_MS * sum(after.stolen[core] - before.stolen[core] for core in shares) if shares else None,
    )
