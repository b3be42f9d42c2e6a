"""How long the code location takes to import, against Dagster itself. Bound: 1.3x.

python -m benchmarks.import_time
"""

import statistics
import subprocess
import sys
import time

RUNS = 9
BOUND = 1.3
STATEMENTS = {
    "import dagster, dagster_k8s": "import dagster, dagster_k8s",
    "import dagster_project.definitions": "import dagster_project.definitions",
}


def seconds(statement: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - began


def main() -> int:
    for statement in STATEMENTS.values():
        seconds(statement)  # the first import compiles
    times: dict[str, list[float]] = {name: [] for name in STATEMENTS}
    for _ in range(RUNS):
        for name, statement in STATEMENTS.items():
            times[name].append(seconds(statement))
    medians = {name: statistics.median(found) for name, found in times.items()}
    for name, median in medians.items():
        print(f"{name:<38} {median:6.2f} s")
    baseline, ours = medians.values()
    print(f"ratio {ours / baseline:.2f} (at most {BOUND})")
    return int(ours / baseline > BOUND)


if __name__ == "__main__":
    sys.exit(main())
