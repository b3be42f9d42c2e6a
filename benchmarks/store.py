"""First add and no-op re-add of many small files: ours against ``dvc add``, complete commands, on one disk.

Example: python -m benchmarks.store --files 20000 --rounds 3

Each round makes two equal trees of new random files, waits 3 s (so that both tools trust their timestamps), and times
both tools in turn. Ours ends with the bytes synced to disk; dvc does not sync.
Exit code 1 when the medians miss the bounds: a third of dvc's time for the first add, a tenth for the re-add.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
DVC = PROJECT / ".venv-dvc" / "bin" / "dvc"
BOUNDS = {"first add": 3.0, "no-op re-add": 10.0}
OURS = """
from pathlib import Path
from robot_assets.store import open_store
print(open_store("store", Path.cwd()).add(Path("tree")).digest)
"""
ENVIRONMENT = {**os.environ, "DVC_NO_ANALYTICS": "1", "PYTHONPATH": str(PROJECT)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--size-bytes", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dir", type=Path, default=PROJECT / "build", help="scratch, on the disk to measure")
    options = parser.parse_args()
    if not DVC.exists():
        print(f"no dvc at {DVC}\n  fix: make setup", file=sys.stderr)
        return 2
    options.dir.mkdir(parents=True, exist_ok=True)
    times: dict[str, dict[str, list[float]]] = {"dvc": defaultdict(list), "ours": defaultdict(list)}
    scratch = Path(tempfile.mkdtemp(dir=options.dir, prefix="store-benchmark-"))
    try:
        for number in range(options.rounds):
            measure_round(scratch / str(number), options.files, options.size_bytes, times)
    finally:  # not between rounds: ext4 creates files slowly for minutes after it has removed many
        shutil.rmtree(scratch)
    return report(times, options)


def measure_round(scratch: Path, files: int, size_bytes: int, times: dict[str, dict[str, list[float]]]) -> None:
    """One first add and one re-add with each tool, in turn."""
    make_trees([scratch / "dvc" / "tree", scratch / "ours" / "tree"], files, size_bytes)
    run([str(DVC), "init", "--no-scm", "-q"], scratch / "dvc")
    commands = {"dvc": [str(DVC), "add", "-q", "tree"], "ours": [sys.executable, "-c", OURS]}
    for kind in BOUNDS:
        for tool, command in commands.items():
            os.sync()
            start = time.perf_counter()
            output = run(command, scratch / tool)
            times[tool][kind].append(time.perf_counter() - start)
    pointer = (scratch / "dvc" / "tree.dvc").read_text()
    if output.strip() not in pointer:
        raise SystemExit(f"the digests differ: ours is {output.strip()}, dvc's pointer is\n{pointer}")


def make_trees(trees: list[Path], files: int, size_bytes: int) -> None:
    for number in range(files):
        payload = os.urandom(size_bytes)
        for tree in trees:
            folder = tree / f"session_{number % 50:02d}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{number:06d}.bin").write_bytes(payload)
    os.sync()
    time.sleep(3)


def run(command: list[str], folder: Path) -> str:
    return subprocess.run(command, cwd=folder, env=ENVIRONMENT, check=True, stdout=subprocess.PIPE, text=True).stdout


def report(times: dict[str, dict[str, list[float]]], options: argparse.Namespace) -> int:
    print(f"{options.files} files of {options.size_bytes} bytes, medians of {options.rounds} interleaved rounds")
    print(f"{'':14}{'dvc add':>10}{'ours':>10}{'ratio':>9}{'needed':>9}")
    is_met = True
    for kind, bound in BOUNDS.items():
        theirs, ours = (statistics.median(times[tool][kind]) for tool in ("dvc", "ours"))
        print(f"{kind:14}{theirs:>9.2f}s{ours:>9.2f}s{theirs / ours:>8.1f}x{bound:>8.1f}x")
        is_met &= theirs / ours >= bound
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
