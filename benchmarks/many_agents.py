"""200 real agents as processes, one HTTP server, and a rollout in three batches with 5 % planted failures.

    python -m benchmarks.many_agents
    python -m benchmarks.many_agents --agents 200 --poll-s 4 --mib 1

A first release converges although its gates fail on 5 % of the robots; a second one, which fails on 30 %, stops in its
second batch; then the line of the first one is restored, and all go back to it. Exit code 1 when one of these does not
hold. The parts that need an engine are replaced by cheap ones; repository, downloads, switches and reports are real.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from robot_assets.fleet.rollout import Phase, Status
from robot_assets.fleet.spec import GroupSpec, RolloutSpec
from tests.robots.swarm import Swarm, is_over, largest_step, swarm


@dataclass(frozen=True)
class Planted:
    """Robots on which the gates of a release fail."""

    one: frozenset[str]
    two: frozenset[str]

    def fails(self, robot: str, engine: bytes) -> bool:
        """Whether the gates of a robot fail on an engine."""
        return robot in (self.one if engine.startswith(b"one") else self.two)


def main() -> None:
    """Run, print the figures, and compare."""
    options = _options()
    names = [f"r{number:03}" for number in range(options.agents)]
    planted = Planted(frozenset(names[10::20]), frozenset(names[13::10] + names[15::10] + names[18::10]))
    sizes = (max(1, options.agents // 20), max(2, options.agents // 4))
    rollout = RolloutSpec(
        batches=(*sizes, "100%"), bake_s=1, prove_s=0, failures_max=options.agents // 20, failures_share_max=0.5
    )
    group = GroupSpec(robots=("r*",), target="cpu", models=("net",), rollout=rollout)
    with (
        tempfile.TemporaryDirectory(prefix="many-agents-") as folder,
        swarm(Path(folder), options.agents, group, fails=planted.fails, poll_s=options.poll_s) as many,
    ):
        passed = _run(many, planted, sizes[1], options.mib)
    sys.exit(not passed)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=200)
    parser.add_argument("--poll-s", type=float, default=4.0)
    parser.add_argument("--mib", type=float, default=1.0, help="size of a release")
    return parser.parse_args()


def _run(many: Swarm, planted: Planted, second_batch: int, mib: float) -> bool:
    padding = os.urandom(int(mib * (1 << 20)))
    one = many.world.release("one", b"one" + padding)
    two = many.world.release("two", b"two" + padding[::-1])
    with _timed("all report"):
        many.wait_for_reports()
    with _timed("the first release converges"):
        done = many.roll_out(one, is_over)
    failed = {name for name, status in done.robots.items() if status is Status.FAILED}
    expected = {name: None if name in planted.one else one.id for name in many.names}
    _figures(many)
    checks = {
        "it is complete": done.phase is Phase.DONE,
        "the planted failures, and no others": failed == planted.one,
        "every other robot serves it": many.running() == expected,
        "none began that was not listed": largest_step(many.ticks) == 0,
    }
    with _timed("the second release stops"):
        stopped = many.roll_out(two, is_over)
    _figures(many)
    checks |= {
        "the second one is stopped": stopped.phase is Phase.STOPPED,
        "in its second batch": max(len(tick.begun) for tick in many.ticks) <= second_batch,
        "none beyond the list began": largest_step(many.ticks) == 0,
    }
    with _timed("all are back"):
        many.roll_out(one, lambda decision: many.running() == expected)
    checks["all serve the first one again"] = many.running() == expected
    return _report(many, checks)


def _report(many: Swarm, checks: dict[str, bool]) -> bool:
    memory = sorted(_unshared_mib(process) for process in many.processes.values())
    print(f"unshared memory of an agent (forked): median {memory[len(memory) // 2]:.1f} MiB")
    for name, passed in checks.items():
        print(f"{'ok' if passed else 'MISSED'}: {name}")
    return all(checks.values())


@contextmanager
def _timed(what: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    print(f"{what}: {time.monotonic() - began:.1f} s", flush=True)


def _figures(many: Swarm) -> None:
    took = [tick.took_s for tick in many.ticks]
    batches = Counter(tick.decision.batch for tick in many.ticks)
    print(
        f"  {many.ticks[-1].decision.why}\n  {len(took)} looks of the controller (read, decide, publish): median "
        f"{1000 * statistics.median(took):.0f} ms, longest {1000 * max(took):.0f} ms; looks by batch: {dict(batches)}"
    )


def _unshared_mib(process: int) -> float:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return math.nan
    return sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Clean", "Private_Dirty"))) / 1024


if __name__ == "__main__":
    main()
