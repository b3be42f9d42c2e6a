"""Status of all assets, a tick of the rebuild sensor, and an audit: on SQLite and on PostgreSQL, against Dagster.

    python -m benchmarks.lineage
    python -m benchmarks.lineage --storage postgres --keep /tmp/lineage

Histories are made by tests/synthetic/history.py: real events through Dagster's own event API, with the records, pages
and gates of builds, and a real store with an artifact for every version. That takes some minutes; with --keep they
stay and are measured again. Times are medians of seven, with everything fresh:

    status of 143 models x 7 assets, built ten times      at most 0.3 s, 100x faster than CachingStaleStatusResolver
    status of 1,429 models x 7 assets                     at most 3 s, at most 1.5x as long an asset
    tick of stale_assets for 25 models x 40 targets       at most 1 s, and quicker than declarative automation
    audit of an engine after 10,000 materializations      at most 1 s

Dagster reads the same instance of the same definitions in the same run. Exit code 1 when a bound is missed.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import statistics
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from dagster_project.definitions import build_definitions
from dagster_project.instance.history import InstanceHistory
from dagster_project.instance.status import read
from dagster_project.rebuilding.sensor import tick
from robot_assets.lineage.audit import audit
from robot_assets.pipeline.graph import build_graph, traits
from robot_assets.pipeline.project import Project
from tests.synthetic.history import HistoryWriter, fast_writes, open_instance
from tests.synthetic.postgres import NoPostgres, Server, running_postgres
from tests.synthetic.project import new_project

STORAGES = ("sqlite", "postgres")
TIMES = 7
ENGINE_KIND = "engine"


@dataclass(frozen=True)
class Size:
    """Of a project, and of its history."""

    models: int
    targets: int
    rounds: int
    ended_runs: int = 500


SIZES = {
    "thousand": Size(models=143, targets=1, rounds=10),
    "ten_thousand": Size(models=1429, targets=1, rounds=1),
    "engines": Size(models=25, targets=40, rounds=1),
}


@dataclass(frozen=True)
class World:
    """A synthetic project, and the instance with its history."""

    project: Project
    instance: dg.DagsterInstance


@dataclass
class Report:
    """Measured figures, line by line, and whether every bound was kept."""

    missed: list[str] = field(default_factory=list)

    def line(self, what: str, measured: str, wanted: str = "", is_kept: bool = True) -> None:
        print(f"  {what:<58} {measured:>9}  {wanted:<16} {'' if is_kept else 'MISSED'}".rstrip(), flush=True)
        if not is_kept:
            self.missed.append(what)

    def seconds(self, what: str, seconds: float, at_most: float | None = None) -> None:
        wanted = "" if at_most is None else f"at most {at_most:g} s"
        self.line(what, f"{seconds:.3f} s", wanted, at_most is None or seconds <= at_most)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--storage", choices=STORAGES, action="append", help="both by default")
    parser.add_argument("--keep", type=Path, help="folder in which histories stay and are reused")
    parser.add_argument("--page-bytes", type=int, default=2_000, help="text on each page")
    parser.add_argument("--only-make", action="store_true", help="make the histories and measure nothing")
    options = parser.parse_args()
    warnings.simplefilter("ignore", dg.BetaWarning)
    report = Report()
    with contextlib.ExitStack() as stack:
        folder = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lineage-")))
        for storage in options.storage or STORAGES:
            try:
                measure(storage, folder.resolve(), options, report)
            except NoPostgres as missing:
                report.line(f"{storage}: {missing}", "", "", is_kept=False)
    return 1 if report.missed else 0


def measure(storage: str, folder: Path, options: argparse.Namespace, report: Report) -> None:
    with contextlib.ExitStack() as stack:
        # A temporary folder is this user's alone, and root runs the server as somebody else.
        kept = folder / "server" if options.keep else None
        server = stack.enter_context(running_postgres(kept)) if storage == "postgres" else None
        worlds = {}
        for name, size in SIZES.items():
            worlds[name] = opened(folder / storage / name, size, server, options.page_bytes)
            stack.enter_context(worlds[name].instance)
        if options.only_make:
            return
        print(storage)
        measure_status(worlds["thousand"], worlds["ten_thousand"], report)
        measure_tick(worlds["engines"], report)
        measure_audit(worlds["thousand"], report)


def opened(root: Path, size: Size, server: Server | None, page_bytes: int) -> World:
    """The world in ``root``, made there if it does not exist."""
    is_made, home = root / "is_made", root / ".dagster"
    url = server.url(root.name) if server else None
    if is_made.exists():
        return World(Project(root), open_instance(home, url))
    shutil.rmtree(root, ignore_errors=True)
    project = new_project(root, size.models, size.targets)
    if server:
        server.new_database(root.name)
    began = time.perf_counter()
    with open_instance(home, url) as instance, fast_writes(instance):
        writer = HistoryWriter(project, instance, page_bytes)
        for _ in range(size.rounds):
            writer.write_round()
        writer.write_runs(size.ended_runs)
    if server:
        server.vacuum(root.name)
    is_made.touch()
    print(f"made {root} in {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    return World(project, open_instance(home, url))


def median(action: Callable[[], Any], times: int = TIMES) -> float:
    """Median time of an action, after one run that fills the caches."""
    action()
    return statistics.median(seconds(action) for _ in range(times))


def seconds(action: Callable[[], Any]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def measure_status(thousand: World, ten_thousand: World, report: Report) -> None:
    an_asset = []
    for world, at_most in ((thousand, 0.3), (ten_thousand, 3.0)):
        found = read(world.project, world.instance).found
        refuse_unless_fresh(Counter(str(status.state) for status in found.values()), "fresh")
        taken = median(lambda world=world: read(world.project, world.instance))
        report.seconds(f"status of {len(found):,} assets", taken, at_most)
        an_asset.append(taken / len(found))
        if world is thousand:
            theirs = dagster_status(world)
            report.seconds(f"  CachingStaleStatusResolver, {len(found):,} of {len(found):,}", theirs)
            report.line("  as many times as long", f"{theirs / taken:.0f}x", "at least 100x", theirs >= 100 * taken)
    ratio = an_asset[1] / an_asset[0]
    report.line("time an asset, of the larger to the smaller", f"{ratio:.2f}x", "at most 1.5x", ratio <= 1.5)


def dagster_status(world: World) -> float:
    """Seconds that Dagster's own resolver takes for every asset; its graph is resolved before."""
    graph = build_definitions(world.project).resolve_asset_graph()
    states: Counter[str] = Counter()

    def resolve() -> None:
        resolver = CachingStaleStatusResolver(world.instance, graph, LoadingContextForTest(world.instance))
        states.update(resolver.get_status(key).value for key in graph.get_all_asset_keys())

    taken = seconds(resolve)
    refuse_unless_fresh(states, StaleStatus.FRESH.value)
    return taken


def measure_tick(world: World, report: Report) -> None:
    """The whole tick, params.yaml included, as the daemon runs it every half minute."""
    graph = build_graph(world.project.params)
    produced = [stage.asset for stage in graph.values() if not stage.is_observed]
    engines = sum(stage.kind == ENGINE_KIND for stage in graph.values())

    def ours() -> dg.SensorResult:
        return tick(Project(world.project.root), world.instance, produced)

    idle = ours()
    refuse_unless_fresh(Counter({"requests": len(idle.run_requests or ())}), "requests", 0)
    taken = median(ours)
    report.seconds(f"tick with nothing to do, {engines:,} engines of {len(graph):,} assets", taken, 1.0)
    theirs = declarative_tick(world)
    report.seconds("  AutomationCondition.eager() on the same assets", theirs)
    report.line("  as many times as long", f"{theirs / taken:.0f}x", "at least 1x", theirs >= taken)


def declarative_tick(world: World) -> float:
    """Seconds of the second tick of declarative automation: the first has no cursor."""
    definitions = build_definitions(world.project)
    assets = [asset for asset in definitions.assets or () if isinstance(asset, dg.AssetsDefinition)]
    rest = [asset for asset in definitions.assets or () if not isinstance(asset, dg.AssetsDefinition)]
    eager = dg.AutomationCondition.eager()
    conditioned = dg.Definitions(
        assets=[*rest, *dg.map_asset_specs(lambda spec: spec.replace_attributes(automation_condition=eager), assets)],
        asset_checks=definitions.asset_checks,
        resources=definitions.resources,
    )
    first = dg.evaluate_automation_conditions(conditioned, world.instance)
    began = time.perf_counter()
    second = dg.evaluate_automation_conditions(conditioned, world.instance, cursor=first.cursor)
    taken = time.perf_counter() - began
    refuse_unless_fresh(Counter({"requests": second.total_requested}), "requests", 0)
    return taken


def measure_audit(world: World, report: Report) -> None:
    graph = build_graph(world.project.params)
    engine = [stage.asset for stage in graph.values() if stage.kind == ENGINE_KIND][-1]
    history = InstanceHistory(world.instance)
    version = history.latest_version(engine)
    made = len(history.materializations(engine, str(version)))
    chain = audit(engine, str(version), graph, history, world.project.store, traits)
    unexpected = [problem for problem in chain.problems if "commit" not in problem]
    if len(chain.links) != 8 or made != 1 or unexpected:
        raise SystemExit(f"the chain of {engine} is not what was made: {chain.problems or chain.links}")
    taken = median(lambda: audit(engine, str(version), graph, history, world.project.store, traits))
    report.seconds(f"audit of {engine}, {len(chain.links)} links", taken, 1.0)


def refuse_unless_fresh(states: Counter[str], wanted: str, count: int | None = None) -> None:
    """The figures hold only where there is nothing to do."""
    if states[wanted] != (states.total() if count is None else count):
        raise SystemExit(f"not everything is as it was made: {dict(states)}; with --keep, remove the folder first")


if __name__ == "__main__":
    sys.exit(main())
