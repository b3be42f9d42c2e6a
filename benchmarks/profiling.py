"""Measures the jitter of the periodic scheduler: from the release of a frame to the start of empty work.

    python -m benchmarks.profiling
    python -m benchmarks.profiling --runs 10 --seconds 20
    chrt -f 50 python -m benchmarks.profiling               # at real-time priority, on a machine with other load

For comparison: one process for each sensor, which sleeps until its absolute releases and shares no interpreter with the
others; and one loop that spins for the last 0.2 ms, at the cost of time that engines need.

Bound: p99 of 1 ms. A run counts when other processes used less than a quarter of a core (at real-time priority: any
load) and a hypervisor stole no time, against which no priority helps. Exit code 1 when the bound is missed, or when no
run counts.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np

from robot_assets.profiling.cores import core_use, read_core_times
from robot_assets.profiling.fit import OTHER_CORES_MIN
from robot_assets.profiling.periodic import SECOND_NS, Task, run_periodically

BOUND_MS = 1.0
RATES_HZ = (10, 15, 30, 60)
SPIN_S = 0.0002
_LEAD_S = 0.05


def nothing() -> None:
    """Empty work."""


def scheduler(seconds: float) -> np.ndarray:
    """Jitter of all jobs of four sensors, ms."""
    tasks = [Task(f"{rate} Hz", SECOND_NS // rate, 0, nothing) for rate in RATES_HZ]
    jobs = run_periodically(tasks, seconds)
    return np.array([job.jitter_ns for found in jobs.values() for job in found]) / 1e6


def loop(seconds: float, rate_hz: int, begin: float, spin_s: float = 0.0) -> np.ndarray:
    """Jitter of a bare loop that sleeps, and spins for the last ``spin_s``, ms; ``begin`` is on the monotonic clock."""
    late = []
    for release in begin + np.arange(round(seconds * rate_hz)) / rate_hz:
        if (early := release - time.monotonic() - spin_s) > 0:
            time.sleep(early)
        while (now := time.monotonic()) < release:
            pass
        late.append(now - release)
    return 1e3 * np.array(late)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=10, help="duration of each run")
    arguments = parser.parse_args()
    with ProcessPoolExecutor(len(RATES_HZ), get_context("fork")) as pool:
        return _measure(arguments.runs, arguments.seconds, pool)


def _measure(runs: int, seconds: float, pool: ProcessPoolExecutor) -> int:
    def processes() -> np.ndarray:
        begin, count = time.monotonic() + _LEAD_S, len(RATES_HZ)
        return np.concatenate(list(pool.map(loop, [seconds] * count, RATES_HZ, [begin] * count)))

    ways: dict[str, Callable[[], np.ndarray]] = {
        "four sensors, scheduler": lambda: scheduler(seconds),
        "four sensors, processes": processes,
        "one loop that spins 0.2 ms": lambda: loop(seconds, RATES_HZ[-1], time.monotonic() + _LEAD_S, SPIN_S),
    }
    has_priority = os.sched_getscheduler(0) in (os.SCHED_FIFO, os.SCHED_RR)
    print(f"{'jitter in ms':<28}{'p50':>8}{'p99':>8}{'max':>8}{'releases':>10}   others used   stolen   load")
    counted: list[float] = []
    for _ in range(runs):
        for name, way in ways.items():
            before = read_core_times()
            late = way()
            use = core_use(before, read_core_times())
            elsewhere, stolen = use.other_cores or 0.0, use.stolen_ms or 0.0
            p50, p99 = np.percentile(late, (50, 99))
            print(f"{name:<28}{p50:8.3f}{p99:8.3f}{late.max():8.3f}{len(late):10}", end="")
            print(f"{elsewhere:8.2f} cores{stolen:6.0f} ms{os.getloadavg()[0]:7.1f}", flush=True)
            if way is ways["four sensors, scheduler"] and not stolen and (has_priority or elsewhere < OTHER_CORES_MIN):
                counted.append(p99)
    if not counted:
        print(f"\nno run counts, the bound of {BOUND_MS:g} ms was not measured; fix: more --runs, or chrt -f 50")
        return 1
    how = "at real-time priority" if has_priority else "on an idle machine"
    print(f"\np99 at most {max(counted):.3f} ms in the {len(counted)} of {runs} runs that count, {how}", end="")
    print(f" (at most {BOUND_MS:g})")
    return int(max(counted) > BOUND_MS)


if __name__ == "__main__":
    sys.exit(main())
