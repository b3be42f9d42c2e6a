"""One tick of the rollouts of 10,000 robots in 50 groups, and the size of what is published, with the real functions.

    python -m benchmarks.fleet_scale
    python -m benchmarks.fleet_scale --robots 2000 --groups 5

Every robot has its own key and a signed report in a repository in a folder; half of each group has the new release. A
tick lists and reads the reports of all groups, makes the version of each fleet, and decides each rollout. Times are
medians of five in this process, with its CPU time beside them; reports that have not changed come from the memo of
verified ones, as in a sensor.

    tick with no new report                                              at most 1 s
    tick in which a tenth of the robots has reported (30 s of 300 s)     at most 1 s
    deciding alone, all groups; and one group of all robots              at most 1 s
    assignments of a group of all robots                                 at most 2 MB
    all metadata and assignments, a group                                at most 2 MB

Exit code 1 when a bound is missed.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from securesystemslib.signer import CryptoSigner

from robot_assets.fleet.assignments import Assignments
from robot_assets.fleet.files import Files
from robot_assets.fleet.layout import METADATA, TARGETS, report
from robot_assets.fleet.level import fleet_version
from robot_assets.fleet.received import read_reports
from robot_assets.fleet.reports import Received, Report, State, sign_report
from robot_assets.fleet.repository import Repository
from robot_assets.fleet.rollout import Decision, decide
from robot_assets.fleet.spec import GroupSpec
from robot_assets.provenance.keys import public_half
from robot_assets.provenance.public_key import PublicKey

TICK_S_MAX = 1.0
GROUP_BYTES_MAX = 2_000_000
TIMES = 5
OLD, NEW = f"{'0' * 32}.dir", f"{'1' * 32}.dir"


@dataclass
class Measured:
    """Figures line by line, and the bounds that were missed."""

    missed: list[str] = field(default_factory=list)

    def seconds(self, what: str, taken: tuple[float, float], at_most: float | None = None) -> None:
        self.line(f"{what} ({taken[1]:.2f} s CPU)", taken[0], "s", at_most)

    def line(self, what: str, value: float, unit: str, at_most: float | None = None) -> None:
        is_kept = at_most is None or value <= at_most
        wanted = "" if at_most is None else f"at most {at_most:,.0f} {unit}"
        shown = f"{value:,.0f}" if unit == "bytes" else f"{value:.3f}"
        print(f"  {what:<58} {shown:>12} {unit:<5}  {wanted:<22} {'' if is_kept else 'MISSED'}".rstrip(), flush=True)
        if not is_kept:
            self.missed.append(what)


@dataclass(frozen=True)
class Fleet:
    """Groups of robots with keys, and a repository with their reports."""

    files: Files
    memo: Path
    groups: Mapping[str, GroupSpec]
    robots: Mapping[str, tuple[str, ...]]
    signers: Mapping[str, CryptoSigner]
    keys: Mapping[str, PublicKey]

    def tick(self) -> dict[str, Decision]:
        """What the sensor and the rollout steps do for all groups."""
        return {group: self.look(group) for group in self.groups}

    def look(self, group: str) -> Decision:
        spec, robots, now = self.groups[group], self.robots[group], datetime.now(UTC)
        received = read_reports(self.files, group, robots, self.keys, self.memo).received
        if len(received) != len(robots):
            raise SystemExit(f"{len(received)} of {len(robots)} reports of {group} count")
        fleet_version(spec, robots, received, 7, now)
        return decide(NEW, spec, robots, received, now)

    def report_again(self, sequence: int, every: int = 1) -> None:
        """Write the next report of every n-th robot."""
        for group, robots in self.robots.items():
            for index, robot in enumerate(robots):
                if index % every == 0:
                    has_new = index < len(robots) // 2
                    content = sign_report(made_report(group, robot, has_new, sequence), self.signers[robot])
                    self.files.write(report(group, robot), content)


def made_report(group: str, robot: str, has_new: bool, sequence: int) -> Report:
    return Report(
        robot=robot,
        group=group,
        sequence=sequence,
        at=datetime.now(UTC).isoformat(),
        state=State.COMMITTED,
        running=NEW if has_new else OLD,
        healthy_s=1e5,
        proven=(OLD, NEW) if has_new else (OLD,),
        fingerprint="f" * 64,
        platform={"architecture": "aarch64", "compute_capability": "8.7", "l4t": "36.4.3", "tensorrt": "10.3.0"},
        agent="1.0.0",
    )


def made_group(group: str) -> GroupSpec:
    return GroupSpec.model_validate({"robots": [f"{group}_*"], "target": "orin", "models": ["detector"]})


def made_fleet(folder: Path, robots: int, groups: int) -> Fleet:
    names = [f"group_{number:02}" for number in range(groups)]
    per_group = robots // groups
    members = {name: tuple(f"{name}_delivery_{number:05}" for number in range(per_group)) for name in names}
    signers = {robot: CryptoSigner.generate_ed25519() for of_group in members.values() for robot in of_group}
    keys = {robot: public_half(signer) for robot, signer in signers.items()}
    specs = {name: made_group(name) for name in names}
    return Fleet(Files(str(folder / "repository")), folder / "memo", specs, members, signers, keys)


def assignments(group: str, install: tuple[str, ...], release: str | None = NEW) -> Assignments:
    return Assignments(
        group=group,
        release=release,
        bundle_sha256="a" * 64 if release else None,
        install=install,
        issued_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def median(action: Callable[[], Any], before: Callable[[], Any] = lambda: None) -> tuple[float, float]:
    """Median of the time and of the CPU time of an action, each after an untimed preparation."""
    taken = []
    for _ in range(TIMES):
        before()
        began, cpu = time.perf_counter(), time.process_time()
        action()
        taken.append((time.perf_counter() - began, time.process_time() - cpu))
    wall, cpu = (statistics.median(times) for times in zip(*taken, strict=True))
    return wall, cpu


def measure_ticks(fleet: Fleet, measured: Measured) -> None:
    count = sum(map(len, fleet.robots.values()))
    fleet.report_again(1)
    began = time.perf_counter()
    fleet.tick()
    measured.line("first tick: every report is read and verified", time.perf_counter() - began, "s")
    fleet.tick()
    measured.seconds("tick with no new report", median(fleet.tick), TICK_S_MAX)
    sequence = itertools.count(2)
    taken = median(fleet.tick, lambda: fleet.report_again(next(sequence), every=10))
    measured.seconds(f"tick with {count // 10:,} new reports", taken, TICK_S_MAX)


def measure_decisions(fleet: Fleet, measured: Measured) -> None:
    now = datetime.now(UTC)
    received = {group: received_of(group, robots, now) for group, robots in fleet.robots.items()}

    def all_groups() -> None:
        for group, spec in fleet.groups.items():
            decide(NEW, spec, fleet.robots[group], received[group], now)

    measured.seconds(f"deciding {len(received)} groups", median(all_groups), TICK_S_MAX)
    everybody = tuple(robot for robots in fleet.robots.values() for robot in robots)
    reports = received_of("all", everybody, now)
    taken = median(lambda: decide(NEW, made_group("all"), everybody, reports, now))
    measured.seconds(f"deciding one group of {len(everybody):,} robots", taken, TICK_S_MAX)
    size = len(assignments("all", everybody).model_dump_json())
    measured.line(f"assignments of {len(everybody):,} robots in one group", size, "bytes", GROUP_BYTES_MAX)


def received_of(group: str, robots: tuple[str, ...], now: datetime) -> dict[str, Received]:
    half = len(robots) // 2
    return {robot: Received(made_report(group, robot, at < half, 1), now) for at, robot in enumerate(robots)}


def measure_published(fleet: Fleet, folder: Path, measured: Measured) -> None:
    """Sizes of a repository in which every robot of every group is listed."""
    repository = Repository.create(fleet.files, folder / "keys")
    began = time.perf_counter()
    for group, robots in fleet.robots.items():
        repository.publish_assignments(assignments(group, robots, release=None), datetime.now(UTC))
    each = (time.perf_counter() - began) / len(fleet.robots)
    measured.line("publishing the assignments of a group", each, "s")
    newest = {}
    for one in fleet.files.listing(METADATA):  # robots read the newest version of each role alone
        role = one.path.rpartition("/")[2].lstrip("0123456789.")
        newest[role] = max(newest.get(role, 0), one.size)
    files = sum(one.size for one in fleet.files.listing(TARGETS))
    for role, size in sorted(newest.items()):
        measured.line(f"  {role}, of all groups", size, "bytes")
    measured.line("  assignments, each group", files / len(fleet.robots), "bytes")
    measured.line(
        "metadata and assignments that a robot may read",
        sum(newest.values()) + files / len(fleet.robots),
        "bytes",
        GROUP_BYTES_MAX,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--robots", type=int, default=10_000)
    parser.add_argument("--groups", type=int, default=50)
    options = parser.parse_args()
    measured = Measured()
    with tempfile.TemporaryDirectory(prefix="fleet-") as temporary:
        folder = Path(temporary)
        fleet = made_fleet(folder, options.robots, options.groups)
        print(f"{options.robots:,} robots in {options.groups} groups")
        measure_decisions(fleet, measured)
        measure_ticks(fleet, measured)
        measure_published(fleet, folder, measured)
    return 1 if measured.missed else 0


if __name__ == "__main__":
    sys.exit(main())
