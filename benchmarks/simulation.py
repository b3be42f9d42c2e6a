"""Images per second of the simulation on one core: rendering, masks, boxes, JPEG encoding and writing.

Run: ``python -m benchmarks.simulation``. Exit code 1 below 200 images/s, measured in CPU seconds of this
single-threaded process, which other load on the machine affects little; wall-clock time is shown too.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import statistics
import sys
import tempfile
import time
from pathlib import Path

from robot_assets.data.simulate import simulate
from robot_assets.data.spec import SimulationSource

NEEDED = 200.0
RUNS = 3
SOURCE = SimulationSource(kind="simulation", images=1200, sessions=24, width=320, height=240, seed=7)


def main() -> int:
    """Print the table and return the exit code."""
    rates = []
    print(f"{'run':>4} {'images/s (core)':>16} {'images/s (wall)':>16}")
    # Removed only at the end: ext4 creates files slowly for minutes after it has removed many.
    with tempfile.TemporaryDirectory() as scratch:
        for run in range(1, RUNS + 1):
            core, wall = time.process_time(), time.perf_counter()
            simulate(SOURCE, Path(scratch) / str(run))
            core, wall = time.process_time() - core, time.perf_counter() - wall
            rates.append(SOURCE.images / core)
            print(f"{run:>4} {rates[-1]:>16.0f} {SOURCE.images / wall:>16.0f}", flush=True)
    median = statistics.median(rates)
    print(f"median {median:.0f} images/s on one core at {SOURCE.width}x{SOURCE.height}, needed {NEEDED:.0f}")
    return 0 if median >= NEEDED else 1


if __name__ == "__main__":
    sys.exit(main())
