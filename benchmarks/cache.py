"""What the bound of a cache costs: opening an artifact that is there, and making room in a cache that is full.

Example: python -m benchmarks.cache --objects 5000

Opening is compared with opening the same artifact in a store without a remote, from which nothing goes. Making room is
compared with one look at every object by ``os.scandir``, the least that it takes to know how full the cache is, and
``os.unlink`` of as many plain files as objects went. Exit code 1 when a bound is missed.
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
from robot_assets.store.eviction import make_room
from robot_assets.store.pins import letting_go

BOUND_OPENING = 1.5
BOUND_ROOM = 4.0
BLOCK = 4096
PER_ARTIFACT = 500


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cache-benchmark-") as scratch:
        return int(opening(Path(scratch)) | room(Path(scratch), options.objects, options.rounds))


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
    print(f"opening what is there: {ours * 1e6:.0f} us, {theirs * 1e6:.0f} us in a store without a remote")
    print(f"ratio {ratio:.2f} (at most {BOUND_OPENING})")
    return ratio > BOUND_OPENING


def room(scratch: Path, objects: int, rounds: int) -> bool:
    """Whether making room misses its bound."""
    limit = objects * BLOCK
    store = Store(scratch / "full", str(scratch / "shared"))
    for number in range(objects // PER_ARTIFACT):
        with letting_go():
            store.add(make(scratch / f"set-{number}", PER_ARTIFACT))
    plain, rooms, gone = [], [], 0
    for number in range(rounds):
        before = look(store.cache)
        bounded = Store(store.cache, store.remote_url, limit - (number + 1) * limit // 10)
        rooms.append(seconds(lambda bounded=bounded: make_room(bounded._cache, bounded._remote)))
        gone = before - look(store.cache)
        folder = make(scratch / f"plain-{number}", gone)
        os.sync()
        plain.append(seconds(lambda folder=folder: (look(store.cache), clear(folder))))
    ratio = statistics.median(rooms) / statistics.median(plain)
    print(
        f"making room among {objects} objects, {gone} of which go: {statistics.median(rooms):.2f} s, "
        f"one look and as many unlinks {statistics.median(plain):.2f} s"
    )
    print(f"ratio {ratio:.1f} (at most {BOUND_ROOM})")
    return ratio > BOUND_ROOM


def make(folder: Path, files: int) -> Path:
    folder.mkdir()
    for number in range(files):
        (folder / f"{number:06d}.bin").write_bytes(os.urandom(2000))
    return folder


def look(cache: Path) -> int:
    """How many objects there are."""
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
