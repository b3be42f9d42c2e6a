"""The agent of a robot: memory and CPU when idle, requests of a poll, and an update beside a plain download.

    python -m benchmarks.agent
    python -m benchmarks.agent --mib 100 --rounds 5

A real repository and a real, small engine padded to 100 MiB, behind an HTTP server in a process of its own on this
machine. Exit code 1 when a bound is missed:

    resident memory of `python -m robot_assets.agent`, idle after an update          at most 60 MB
    CPU share of the idle agent at a poll a minute and a report in five              at most 0.1 %
    a poll with nothing new                                                          at most 3 GETs and 20 kB
    update, beside plain download and sha256, at 100 Mbit/s                          at least 0.8 of the rate
    transfer alone (download, sha256, fsync), beside the plain one, at 1 Gbit/s      at least 0.8 of the rate

CPU is that of the process over polls 1 s and 4 s apart; the part of a poll and the part of a second follow from both,
and are extrapolated to one poll a minute. The probe of the device, once an hour in a process of its own, is added.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import urllib3
import yaml

from robot_assets.agent.device import Device, probe_device
from robot_assets.agent.download import Download, Throttle
from robot_assets.agent.parts import Parts
from robot_assets.agent.spec import RobotSpec
from robot_assets.agent.transport import transport_of
from robot_assets.agent.update import Agent
from robot_assets.fleet.assignments import Assignments
from robot_assets.fleet.files import Files
from robot_assets.fleet.layout import blob
from robot_assets.fleet.reports import State
from robot_assets.fleet.repository import Repository
from robot_assets.provenance.keys import create_key
from robot_assets.release.bundle import BUNDLE_FILE
from tests.small_release import SmallRelease, small_release

PROJECT = Path(__file__).resolve().parent.parent
GROUP, ROBOT, LOG = "robots", "r1", "requests.log"
MEMORY_MB_MAX, CPU_PERCENT_MAX, GETS_MAX, KB_MAX, RATE_MIN = 60, 0.1, 3, 20, 0.8
LINK_BYTES_S, FAST_BYTES_S = 12_500_000, 125_000_000
POLL_S, REPORTS_EVERY = 60.0, 5
INTERVALS_S, WATCHED_S = (1.0, 4.0), 24.0
CHUNK = 1 << 18
MIB = 1 << 20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=100, help="size of the release")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dir", type=Path, default=PROJECT / "build", help="scratch, on the disk to measure")
    options = parser.parse_args()
    options.dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.dir, prefix="agent-benchmark-") as folder:
        fleet = Fleet.make(Path(folder), options.mib * MIB)
        with served(fleet.storage, 0) as url:
            missed = list(measure_idle(fleet, url))
        with served(fleet.storage, FAST_BYTES_S) as url:
            missed += measure_transfer(fleet, url, options.rounds)
        with served(fleet.storage, LINK_BYTES_S) as url:
            missed += measure_update(fleet, url, options.rounds)
    for bound in missed:
        print(f"missed: {bound}")
    return int(bool(missed))


@dataclass(frozen=True)
class Fleet:
    """A repository with one assigned release, and the key of a robot."""

    folder: Path
    release: SmallRelease

    @property
    def storage(self) -> Path:
        return self.folder / "repository"

    @classmethod
    def make(cls, folder: Path, size: int) -> Fleet:
        """Publish a release for one robot."""
        release = small_release(folder / "release", group=GROUP, padding_bytes=size)
        repository = Repository.create(Files(str(folder / "repository")), folder / "keys")
        repository.publish_release(GROUP, release.version, release.path)
        now = datetime.now(UTC)
        assigned = Assignments(
            group=GROUP,
            release=release.version,
            bundle_sha256=release.bundle_sha256,
            install=(ROBOT,),
            issued_at=now.isoformat(),
        )
        repository.publish_assignments(assigned, now)
        create_key(folder / "robot.pem")
        return cls(folder, release)

    def robot(self, url: str, state: str, poll_s: float = POLL_S) -> RobotSpec:
        """The robot, with an empty state folder of this name."""
        return RobotSpec(
            robot=ROBOT,
            group=GROUP,
            url=url,
            root=self.folder / "keys" / "root.json",
            key=self.folder / "robot.pem",
            trusted_keys=(self.release.key_line,),
            state=self.folder / state,
            poll_s=poll_s,
            report_s=REPORTS_EVERY * poll_s,
            reserve_mib=0,
        )


# ---- idle -----------------------------------------------------------------------------------------------------------


def measure_idle(fleet: Fleet, url: str) -> Iterator[str]:
    """Memory, CPU and requests of the agent, as its process."""
    log = fleet.storage.parent / LOG
    watched = [watch(fleet, url, interval, log) for interval in INTERVALS_S]
    memory = max(one.memory_mb for one in watched)
    print(f"memory of the idle agent        {memory:8.1f} MB      (at most {MEMORY_MB_MAX})")
    if memory > MEMORY_MB_MAX:
        yield f"memory of {memory:.1f} MB"
    yield from judge_cpu(watched)
    gets, kb = max(one.gets for one in watched), max(one.kb for one in watched)
    print(f"poll with nothing new           {gets:8.1f} GETs, {kb:.1f} kB (at most {GETS_MAX} and {KB_MAX})")
    if gets > GETS_MAX or kb > KB_MAX:
        yield f"a poll of {gets:.1f} GETs and {kb:.1f} kB"


@dataclass(frozen=True)
class Watched:
    """An idle agent over some time; ``gets`` and ``kb`` are those of one poll."""

    seconds: float
    polls: int
    cpu_s: float
    memory_mb: float
    gets: float
    kb: float


def judge_cpu(watched: list[Watched]) -> Iterator[str]:
    """Two equations, polls * a + seconds * b = cpu."""
    one, other = watched
    determinant = one.polls * other.seconds - other.polls * one.seconds
    poll_s = (one.cpu_s * other.seconds - other.cpu_s * one.seconds) / determinant
    second_s = (one.polls * other.cpu_s - other.polls * one.cpu_s) / determinant
    probe_s = cpu_of(probe_device)
    percent = 100 * (poll_s / POLL_S + max(0.0, second_s) + probe_s / 3600)
    print(
        f"CPU of the idle agent           {percent:8.3f} %       (at most {CPU_PERCENT_MAX}; {1e3 * poll_s:.1f} ms a "
        f"poll, {1e3 * second_s:.2f} ms a second, {1e3 * probe_s:.0f} ms a probe)"
    )
    if percent > CPU_PERCENT_MAX:
        yield f"CPU share of {percent:.3f} %"


def cpu_of(call: Callable[[], object]) -> float:
    """CPU seconds of the processes that a call runs."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    call()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def watch(fleet: Fleet, url: str, poll_s: float, log: Path) -> Watched:
    """Run an agent, wait until it has the release, and watch it for a while after that."""
    robot = fleet.robot(url, f"idle_{poll_s:g}", poll_s)
    path = fleet.folder / f"{robot.state.name}.yaml"
    path.write_text(yaml.safe_dump(robot.model_dump(mode="json", exclude_none=True)))
    command = [sys.executable, "-m", "robot_assets.agent", str(path)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until_committed(robot)
            time.sleep(2 * poll_s + 1)
            return watched(process.pid, log)
        finally:
            process.terminate()


def wait_until_committed(robot: RobotSpec) -> None:
    deadline = time.monotonic() + 120
    state = robot.state / "state.json"
    while not (state.exists() and f'"{State.COMMITTED}"' in state.read_text()):
        if time.monotonic() > deadline:
            raise SystemExit(f"the agent has not committed: {state.read_text() if state.exists() else 'no state'}")
        time.sleep(0.1)


def watched(pid: int, log: Path) -> Watched:
    lines, cpu, began = len(log.read_text().splitlines()), cpu_seconds(pid), time.monotonic()
    time.sleep(WATCHED_S)
    seconds, cpu = time.monotonic() - began, cpu_seconds(pid) - cpu
    new = [line.split() for line in log.read_text().splitlines()[lines:]]
    read = [(path, int(size)) for method, path, size in new if method == "GET"]
    polls = sum(path.endswith("/timestamp.json") for path, _ in read)
    return Watched(seconds, polls, cpu, memory_mb(pid), len(read) / polls, sum(size for _, size in read) / polls / 1e3)


def cpu_seconds(pid: int) -> float:
    """User and system time of the process itself, from the scheduler: ticks of /proc/PID/stat are 10 ms."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def memory_mb(pid: int) -> float:
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024 / 1e6


# ---- update ---------------------------------------------------------------------------------------------------------


def measure_update(fleet: Fleet, url: str, rounds: int) -> list[str]:
    """From nothing to committed, over a link of a robot."""
    name, device = f"update at {8 * LINK_BYTES_S / 1e6:.0f} Mbit/s", probe_device()
    return compared(name, fleet, url, rounds, lambda robot: update(robot, device))


def measure_transfer(fleet: Fleet, url: str, rounds: int) -> list[str]:
    """The files of a release alone, over a fast link."""

    def transfer(robot: RobotSpec) -> None:
        content = (fleet.release.path / BUNDLE_FILE).read_bytes()
        download = Download(fleet.release.bundle, content, robot.state / "release", Throttle(None))
        download.reserve({}, 0)
        if not download.run(transport_of(url), {}, lambda: False):
            raise SystemExit("the transfer is not complete")

    return compared(f"transfer at {8 * FAST_BYTES_S / 1e6:.0f} Mbit/s", fleet, url, rounds, transfer)


def compared(name: str, fleet: Fleet, url: str, rounds: int, call: Callable[[RobotSpec], None]) -> list[str]:
    """Alternate rounds of both; the ratio of the quickest ones, which other processes have disturbed least."""
    times: dict[str, list[float]] = {"plain": [], "ours": []}
    for number in range(rounds):
        folder = f"{name.replace('/', ' ')} {number}"
        times["plain"].append(timed(partial(download_and_hash, fleet, url, fleet.folder / f"{folder} plain")))
        times["ours"].append(timed(partial(call, fleet.robot(url, folder))))
    best, ours = min(times["plain"]), min(times["ours"])
    size = fleet.release.bundle.size_bytes / 1e6
    print(
        f"{name:<31} {best / ours:8.2f} of plain (at least {RATE_MIN}; {size:.0f} MB in {ours:.2f} s, plain "
        f"{best:.2f} s, {rounds} rounds)"
    )
    return [f"{name}: {best / ours:.2f} of the plain rate"] if best / ours < RATE_MIN else []


def timed(call: Callable[[], object]) -> float:
    os.sync()  # what the last round wrote is not written during this one
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def update(robot: RobotSpec, device: Device) -> None:
    """An agent that runs already has probed its device."""
    agent = Agent(robot, replace(Parts(), device=lambda: device, log=lambda line: None))
    deadline = time.monotonic() + 300
    while agent.once().state is not State.COMMITTED:
        if time.monotonic() > deadline:
            raise SystemExit(f"the agent has not committed: {agent.state}")


def download_and_hash(fleet: Fleet, url: str, folder: Path) -> None:
    """What curl and sha256sum would do: each file to the disk, then hashed."""
    pool = urllib3.PoolManager()
    folder.mkdir()
    for file in fleet.release.bundle.files:
        path = folder / file.sha256
        with path.open("wb") as stream, pool.request("GET", f"{url}/{blob(file.sha256)}", preload_content=False) as got:
            for chunk in got.stream(CHUNK):
                stream.write(chunk)
        with path.open("rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() != file.sha256:
                raise SystemExit(f"{path} is damaged")


# ---- server ---------------------------------------------------------------------------------------------------------


class Handler(BaseHTTPRequestHandler):
    """Files with ranges, and reports by PUT. Each request is a line in a log: method, path, bytes."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    folder: Path
    bytes_s: int

    def do_GET(self) -> None:
        path = self.folder / self.path.lstrip("/")
        if not path.is_file():
            self.answer(404, 0)
            return
        size = path.stat().st_size
        begin = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        where = {"Content-Range": f"bytes {begin}-{size - 1}/{size}"} if begin else {}
        self.answer(206 if begin else 200, size - begin, where)
        self.send_file(path, begin, size)

    def do_PUT(self) -> None:
        path = self.folder / self.path.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.rfile.read(int(self.headers["Content-Length"])))
        self.answer(201, 0)

    def answer(self, status: int, length: int, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(length), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        with (self.folder.parent / LOG).open("a") as log:
            log.write(f"{self.command} {self.path} {length}\n")

    def send_file(self, path: Path, begin: int, end: int) -> None:
        started, first = time.monotonic(), begin
        with path.open("rb") as stream:
            while begin < end:
                begin += os.sendfile(self.connection.fileno(), stream.fileno(), begin, min(CHUNK, end - begin))
                if self.bytes_s:
                    time.sleep(max(0.0, started + (begin - first) / self.bytes_s - time.monotonic()))

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on the terminal."""


def serve(folder: str, bytes_s: int) -> None:
    """Serve a folder until the process ends; prints the port first."""
    Handler.folder, Handler.bytes_s = Path(folder), bytes_s
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        print(server.server_port, flush=True)
        server.serve_forever()


@contextmanager
def served(folder: Path, bytes_s: int) -> Iterator[str]:
    """A server in a process of its own, at a limited rate; 0: no limit. Its URL."""
    command = [sys.executable, "-c", f"from benchmarks.agent import serve; serve({str(folder)!r}, {bytes_s})"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=PROJECT) as process:
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.terminate()


if __name__ == "__main__":
    sys.exit(main())
