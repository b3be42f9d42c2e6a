"""Code versions of every stage and gate of the shipped ``params.yaml``, beside those by whole modules.

    python -m benchmarks.code_version

Cold is a new process that has parsed nothing: at most 0.5 s. Warm is a new look at files that have not changed: at
most 50 ms. Both are medians of several processes. Beside them the rule before: a digest over the syntax trees of every
module that the modules of the entry points import, directly or through others. Exit code 1 when a bound is missed.
"""

from __future__ import annotations

import ast
import gc
import hashlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

from robot_assets.lineage.code import Code
from robot_assets.pipeline.graph import build_graph
from robot_assets.pipeline.params import load_params

ROOT = Path(__file__).parents[1]
PROCESSES = 7
COLD_S_MAX = 0.5
WARM_S_MAX = 0.05


def asked() -> list[tuple[str, tuple[str, ...], Mapping[str, object]]]:
    """Name, entry points and parameters of everything with a code version."""
    graph = build_graph(load_params(ROOT / "params.yaml"))
    stages = [(stage.asset, stage.code, stage.params) for stage in graph.values() if stage.code]
    gates = [(f"{stage.asset}:{gate.name}", gate.code, gate.params) for stage in graph.values() for gate in stage.gates]
    return stages + gates


def by_definitions() -> Callable[[Sequence[str], Mapping[str, object]], str]:
    return Code().version


def by_modules() -> Callable[[Sequence[str], Mapping[str, object]], str]:
    """Versions by whole modules, as one look gives them."""
    closures: dict[str, list[str]] = {}

    def version(entries: Sequence[str], params: Mapping[str, object]) -> str:
        modules = {entry.partition(":")[0] for entry in entries}
        for module in modules - closures.keys():
            closures[module] = sorted(_closure(module))
        digests = [_module(name) for module in sorted(modules) for name in closures[module]]
        return hashlib.md5(json.dumps([digests, params], sort_keys=True).encode()).hexdigest()

    return version


def _closure(module: str) -> set[str]:
    seen: set[str] = set()
    pending = [module]
    while pending:
        name = pending.pop()
        found = None if name in seen else _module(name)
        if found is not None:
            seen.add(name)
            pending += [*found[1], name.rpartition(".")[0]]
    return seen


@cache
def _module(name: str) -> tuple[str, tuple[str, ...]] | None:
    """Digest of a module, and every name that it imports."""
    place = ROOT.joinpath(*name.split("."))
    path = next((one for one in (place / "__init__.py", place.with_suffix(".py")) if name and one.is_file()), None)
    if path is None or not name.startswith("robot_assets"):
        return None
    tree = ast.parse(path.read_bytes())
    return hashlib.md5(ast.dump(tree).encode()).hexdigest(), tuple(_imports(tree))


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


RULES = {"definitions": by_definitions, "modules": by_modules}


def measure(rule: str) -> dict[str, float]:
    """Seconds for all versions in this process: the first time, and with a new look at the same files."""
    wanted, times = asked(), []
    gc.collect()
    for _ in range(2):
        began = time.perf_counter()
        version = RULES[rule]()
        for _, entries, params in wanted:
            version(entries, params)
        times.append(time.perf_counter() - began)
    return {"cold": times[0], "warm": times[1]}


def measured(rule: str) -> dict[str, float]:
    """The same in new processes, the median of each."""
    command = [sys.executable, "-m", "benchmarks.code_version", rule]
    runs = [
        json.loads(subprocess.run(command, check=True, capture_output=True, cwd=ROOT).stdout) for _ in range(PROCESSES)
    ]
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def main() -> int:
    if len(sys.argv) > 1:
        print(json.dumps(measure(sys.argv[1])))
        return 0
    wanted, code = asked(), Code()
    found = {rule: measured(rule) for rule in RULES}
    print(f"{len(wanted)} stages and gates; medians of {PROCESSES} processes")
    for rule, times in found.items():
        print(f"by {rule:<12} cold {times['cold']:6.3f} s   warm {1000 * times['warm']:6.1f} ms")
    print(f"bound          cold {COLD_S_MAX:6.3f} s   warm {1000 * WARM_S_MAX:6.1f} ms")
    for entries in dict.fromkeys(entries for _, entries, _ in wanted):
        name = next(name for name, one, _ in wanted if one == entries)
        by_module = {module for entry in entries for module in _closure(entry.partition(":")[0])}
        reached = f"{len(code.definitions(entries)):4} definitions in {len(code.modules(entries)):3} modules"
        print(f"  {name:<36} {reached}; by modules {len(by_module):3}")
    times = found["definitions"]
    return int(times["cold"] > COLD_S_MAX or times["warm"] > WARM_S_MAX)


if __name__ == "__main__":
    sys.exit(main())
