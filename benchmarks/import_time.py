"""How long the code location takes to import, beside Dagster alone (bound: 1.3x), and ``robot-assets --help`` (0.3 s).

python -m benchmarks.import_time
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path

RUNS = 9
RATIO_MAX = 1.3
HELP_S_MAX = 0.3
DAGSTER = "import dagster, dagster_k8s"
OURS = "import dagster_project.definitions"
HELP = "robot-assets --help"
COMMANDS = {
    DAGSTER: [sys.executable, "-c", DAGSTER],
    OURS: [sys.executable, "-c", OURS],
    HELP: [str(Path(sys.executable).with_name("robot-assets")), "--help"],
}


def seconds(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> int:
    for command in COMMANDS.values():
        seconds(command)  # the first import compiles
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(RUNS):
        for name, command in COMMANDS.items():
            times[name].append(seconds(command))
    medians = {name: statistics.median(found) for name, found in times.items()}
    for name, median in medians.items():
        print(f"{name:<38} {median:6.2f} s")
    ratio = medians[OURS] / medians[DAGSTER]
    print(f"ratio {ratio:.2f} (at most {RATIO_MAX}), help at most {HELP_S_MAX} s")
    return int(ratio > RATIO_MAX or medians[HELP] > HELP_S_MAX)


if __name__ == "__main__":
    sys.exit(main())
