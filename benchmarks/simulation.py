"""Images per second of the simulation on one core: rendering, labels, JPEG and PNG encoding and writing.

Run: ``python -m benchmarks.simulation``. Exit code 1 below 200 images/s with boxes, or when class masks take more than
1.25 times as long as boxes. Measured in CPU seconds of this single-threaded process, which other load on the machine
affects little; wall-clock time is shown too.
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
RATIO_MAX = 1.25
RUNS = 3
SOURCE = SimulationSource(kind="simulation", images=1200, sessions=24, width=320, height=240, seed=7)
SOURCES = {"boxes": SOURCE, "masks": SOURCE.model_copy(update={"labels": "masks"})}


def main() -> int:
    """Print the table and return the exit code."""
    rates: dict[str, list[float]] = {labels: [] for labels in SOURCES}
    print(f"{'run':>4} {'labels':>7} {'images/s (core)':>16} {'images/s (wall)':>16}")
    # Removed only at the end: ext4 creates files slowly for minutes after it has removed many.
    with tempfile.TemporaryDirectory() as scratch:
        for run in range(1, RUNS + 1):
            for labels, source in SOURCES.items():  # in turns: other load changes from minute to minute
                core, wall = time.process_time(), time.perf_counter()
                simulate(source, Path(scratch) / labels / str(run))
                core, wall = time.process_time() - core, time.perf_counter() - wall
                rates[labels].append(source.images / core)
                print(f"{run:>4} {labels:>7} {rates[labels][-1]:>16.0f} {source.images / wall:>16.0f}", flush=True)
    boxes, masks = (statistics.median(rates[labels]) for labels in SOURCES)
    print(f"median {boxes:.0f} images/s on one core at {SOURCE.width}x{SOURCE.height}, needed {NEEDED:.0f}")
    print(f"masks take {boxes / masks:.2f} times as long as boxes, needed at most {RATIO_MAX}")
    return 0 if boxes >= NEEDED and boxes <= RATIO_MAX * masks else 1


if __name__ == "__main__":
    sys.exit(main())
