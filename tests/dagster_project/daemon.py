"""A checkout with its own copy of the code, and the real Dagster processes on it: webserver, daemon, sensors."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import dagster as dg

from dagster_project.keys import asset_name
from tests.dagster_project.conftest import Checkout

PATIENCE_S = 300
Answer = TypeVar("Answer")
_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


@dataclass(frozen=True)
class Workplace(Checkout):
    """A checkout whose code can be edited: it runs its own copies of both packages."""

    @property
    def environment(self) -> dict[str, str]:
        own = {"PYTHONPATH": str(self.root), "ROBOT_ASSETS_PROC": str(self.root / "proc")}
        return {**super().environment, **own}

    def edit(self, module: str, change: Callable[[str], str]) -> None:
        """Edit a source file in place, such as ``training/loop.py``."""
        path = self.root / "robot_assets" / module
        before = path.read_text()
        after = change(before)
        assert after != before, f"the edit of {module} changed nothing"
        path.write_text(after)

    def versions(self) -> Counter[str]:
        """The number of materializations of each asset."""
        with self.instance() as instance:
            keys = instance.get_asset_keys()
            return Counter(
                {asset_name(key): len(instance.fetch_materializations(key, limit=1000).records) for key in keys}
            )

    def unfinished(self) -> list[dg.DagsterRun]:
        with self.instance() as instance:
            return list(instance.get_runs(filters=dg.RunsFilter(statuses=_UNFINISHED)))


def copy_code(repository: Path, root: Path) -> None:
    for package in ("robot_assets", "dagster_project"):
        shutil.copytree(repository / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))


@dataclass
class Daemon:
    """``robot-assets ui`` (that is ``dagster dev``) on a workplace; its sensors run as they do for a user."""

    workplace: Workplace
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self) -> None:
        with open(self.workplace.root / "daemon.log", "ab") as log:
            command = [str(Path(sys.executable).with_name("robot-assets")), "ui", "--port", str(_free_port())]
            self.processes.append(
                subprocess.Popen(
                    command,
                    cwd=self.workplace.root,
                    env=self.workplace.environment,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )

    def kill(self) -> None:
        """Send SIGKILL to all its processes at once, so that none can clean up."""
        for process in self.processes:
            for pid in _session(process.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait()
        self.processes.clear()

    def ticks(self, sensor: str = "stale_assets") -> list[tuple[float, str, str]]:
        """(begin, status, message) of the latest ticks of a sensor, newest first."""
        with self.workplace.instance() as instance:
            for state in instance.all_instigator_state():
                if state.instigator_name == sensor:
                    ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=5)
                    return [(one.timestamp, one.status.value, one.tick_data.skip_reason or "") for one in ticks]
        return []

    def settle(self, says: str = "everything is fresh") -> str:
        """Wait until all sensors have ticked since this call, and the rebuild sensor ``says`` why it starts no run."""
        self._looked("data_pointers", time.time())
        self._looked("platforms", time.time())
        began = time.time()

        def settled() -> str | None:
            for timestamp, status, message in self.ticks()[:1]:
                if timestamp > began and status == "SKIPPED" and says in message and not self.workplace.unfinished():
                    return message
            return None

        return self.until(settled, f"a look that says {says!r}")

    def _looked(self, sensor: str, since: float) -> None:
        def looked() -> bool | None:
            return any(began > since and status != "STARTED" for began, status, _ in self.ticks(sensor)) or None

        self.until(looked, f"a look of {sensor}")

    def until(self, true: Callable[[], Answer | None], what: str) -> Answer:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if (answer := true()) is not None:
                return answer
            time.sleep(0.5)
        log = (self.workplace.root / "daemon.log").read_text(errors="replace")[-3000:]
        raise AssertionError(f"waited {PATIENCE_S} s for {what}; last ticks {self.ticks()}; log:\n{log}")

    @contextmanager
    def running(self) -> Iterator["Daemon"]:
        self.start()
        try:
            yield self
        finally:
            self.kill()


def _session(leader: int) -> list[int]:
    """Every process of the session that ``leader`` leads."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                if int((folder / "stat").read_text().rpartition(")")[2].split()[3]) == leader:
                    found.append(int(folder.name))
    return found


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
