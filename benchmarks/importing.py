"""Import of labelled images against reading and hashing the same files. Exit code 1 above 1.5 times.

Example: python -m benchmarks.importing --images 20000 --rounds 3

Makes JPEGs as a robot camera writes them (640x480, about 100 kB, noise of its own in each) with 10 boxes each, once.
A round reads and hashes the images on one thread, imports them, and adds the result to a new store, as ``robot-assets
data import`` does. The page cache is warm. ``--command`` also times the whole command, with the start of Python.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from robot_assets.data.importing.importer import import_dataset
from robot_assets.data.importing.yolo.reader import read_yolo
from robot_assets.store import open_store

PROJECT = Path(__file__).resolve().parent.parent
SESSIONS, BOXES, BOUND = 50, 10, 1.5
Times = defaultdict[str, list[float]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dir", type=Path, default=PROJECT / "build", help="scratch, on the disk to measure")
    parser.add_argument("--source", type=Path, help="YOLO folder to import, instead of images made for the benchmark")
    parser.add_argument("--command", action="store_true", help="also time the whole command")
    options = parser.parse_args()
    options.dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.dir, prefix="import-benchmark-") as folder:
        scratch = Path(folder)
        source = options.source or made(scratch / "source", options.images)
        times: Times = defaultdict(list)
        for number in range(options.rounds):
            measure_round(source, scratch / str(number), times, with_command=options.command)
        return report(times, len(list(source.rglob("*.jpg"))))


def made(source: Path, images: int) -> Path:
    """A YOLO source."""
    for session in range(SESSIONS):
        (source / f"s{session:02d}").mkdir(parents=True)
    (source / "obj.names").write_text("ball\nhuman\ngoal post\n")
    with ProcessPoolExecutor() as pool:
        list(pool.map(partial(make_image, source), range(images), chunksize=64))
    os.sync()
    return source


def make_image(source: Path, number: int) -> None:
    random = np.random.default_rng(number)
    y, x = np.mgrid[0:480, 0:640].astype(np.float32)
    scene = 128 + 60 * np.sin(x / (20 + number % 50) + number) + 40 * np.cos(y / (30 + number % 37))
    noise = random.normal(0, 14, (480, 640, 1)) + random.normal(0, 6, (480, 640, 3))
    buffer = io.BytesIO()
    Image.fromarray(np.clip(scene[..., None] + noise, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=80)
    path = source / f"s{number % SESSIONS:02d}" / f"{number:06d}.jpg"
    path.write_bytes(buffer.getvalue())
    places, sizes = 0.2 + 0.6 * random.random((BOXES, 2)), 0.02 + 0.3 * random.random((BOXES, 2))
    rows = np.hstack([places, sizes])
    labels = [f"{random.integers(3)} " + " ".join(f"{value:.6f}" for value in row) for row in rows]
    path.with_suffix(".txt").write_text("\n".join(labels) + "\n")


def measure_round(source: Path, scratch: Path, times: Times, *, with_command: bool) -> None:
    """One import, after reading and hashing."""
    timed("read and hash", times, lambda: read_and_hash(source))
    timed("  read labels and layout", times, lambda: labels_of(source))
    out, store = scratch / "raw", open_store("store", scratch)
    start = time.perf_counter()
    with phase("  import", times):
        summary = import_dataset("yolo", source, out, store=store)
    with phase("  store add", times):
        added = store.add(out, summary.written)
    times["import"].append(time.perf_counter() - start)
    if open_store("other", scratch).digest_of(out).digest != added.digest:
        raise SystemExit("the store has another version than the files")
    if with_command:
        (scratch / "project").mkdir()
        (scratch / "project" / "params.yaml").write_text("datasets: {}\nmodels: {}\ntargets: {}\n")
        call = [sys.executable, "-m", "robot_assets.cli.main", "data", "import", "yolo", str(source), "--name", "a"]
        environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
        silent = subprocess.DEVNULL
        with phase("command", times):
            subprocess.run(call, cwd=scratch / "project", env=environment, check=True, stdout=silent)
    shutil.rmtree(scratch)
    os.sync()


def read_and_hash(source: Path) -> None:
    for path in sorted(source.rglob("*.jpg")):
        with path.open("rb") as file:
            hashlib.md5(file.read(), usedforsecurity=False).hexdigest()


def labels_of(source: Path) -> int:
    """Boxes of all labels, on one thread."""
    return sum(len(entry.read_boxes(640, 480)) for entry in read_yolo(source).entries)


def timed(name: str, times: Times, work: Callable[[], object]) -> None:
    with phase(name, times):
        work()


@contextmanager
def phase(name: str, times: Times) -> Iterator[None]:
    start = time.perf_counter()
    yield
    times[name].append(time.perf_counter() - start)


def report(times: Times, images: int) -> int:
    base = statistics.median(times["read and hash"])
    print(f"{images} images, medians of {len(times['import'])} rounds, {os.cpu_count()} cores")
    for name, every in times.items():
        median = statistics.median(every)
        print(f"{name:26}{median:>8.2f} s{median / base:>8.2f}x{median / images * 1e6:>8.0f} us per image")
    ratio = statistics.median(times["import"]) / base
    print(f"import at {ratio:.2f} times reading and hashing (at most {BOUND})")
    return int(ratio > BOUND)


if __name__ == "__main__":
    sys.exit(main())
