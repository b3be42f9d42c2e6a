"""Cost of bounding a cache: opening an artifact that it has, and evicting from it when it is full.

Example: python -m benchmarks.cache --objects 5000

Opening is compared with opening the same artifact in a store without a remote, which never evicts. Eviction is compared
with one ``os.scandir`` over every object, the minimum for computing the size of the cache, and ``os.unlink`` of as many
plain files as objects were evicted. Exit code 1 when a bound is missed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from robot_assets.store import Store
from robot_assets.store.eviction import evict_to_limit
from robot_assets.store.pins import released

BOUND_OPENING = 1.5
BOUND_EVICTION = 4.0
BLOCK = 4096
PER_ARTIFACT = 500


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cache-benchmark-") as scratch:
        return int(opening(Path(scratch)) | eviction(Path(scratch), options.objects, options.rounds))


def opening(scratch: Path) -> bool:
    """Whether opening misses its bound."""
    artifact = make(scratch / "engine", 5)
    bounded, plain = Store(scratch / "a", str(scratch / "remote"), 1 << 40), Store(scratch / "b")
    digest = bounded.add(artifact).digest
    plain.add(artifact)
    times: dict[str, list[float]] = {"bounded": [], "plain": []}
    for _ in range(500):
        for name, store in (("bounded", bounded), ("plain", plain)):
            times[name].append(seconds(lambda store=store: store.open(digest)))
    ours, theirs = (statistics.median(times[name]) for name in ("bounded", "plain"))
    ratio = ours / theirs
    print(f"opening a cached artifact: {ours * 1e6:.0f} us, {theirs * 1e6:.0f} us in a store without a remote")
    print(f"ratio {ratio:.2f} (at most {BOUND_OPENING})")
    return ratio > BOUND_OPENING


def eviction(scratch: Path, objects: int, rounds: int) -> bool:
    """Whether eviction misses its bound."""
    limit = objects * BLOCK
    store = Store(scratch / "full", str(scratch / "shared"))
    for number in range(objects // PER_ARTIFACT):
        with released():
            store.add(make(scratch / f"set-{number}", PER_ARTIFACT))
    plain, evictions, evicted = [], [], 0
    for number in range(rounds):
        before = count_objects(store.cache)
        bounded = Store(store.cache, store.remote_url, limit - (number + 1) * limit // 10)
        evictions.append(seconds(lambda bounded=bounded: evict_to_limit(bounded._cache, bounded._remote)))
        evicted = before - count_objects(store.cache)
        folder = make(scratch / f"plain-{number}", evicted)
        os.sync()
        plain.append(seconds(lambda folder=folder: (count_objects(store.cache), clear(folder))))
    ratio = statistics.median(evictions) / statistics.median(plain)
    print(
        f"evicting {evicted} of {objects} objects: {statistics.median(evictions):.2f} s, "
        f"one scan and as many unlinks {statistics.median(plain):.2f} s"
    )
    print(f"ratio {ratio:.1f} (at most {BOUND_EVICTION})")
    return ratio > BOUND_EVICTION


def make(folder: Path, files: int) -> Path:
    folder.mkdir()
    for number in range(files):
        (folder / f"{number:06d}.bin").write_bytes(os.urandom(2000))
    return folder


def count_objects(cache: Path) -> int:
    """Number of objects in the cache; reads the size of each."""
    sizes: list[int] = []
    for prefix in os.scandir(cache / "files/md5"):
        with os.scandir(prefix.path) as listing:
            sizes += [entry.stat().st_size for entry in listing]
    return len(sizes)


def clear(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
