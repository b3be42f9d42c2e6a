"""Simulated robots: real agents, each a process of its own with its robot.yaml, its key and its state in a folder.

``.robot_assets/robots/ROBOT/`` of the project. The processes end with this one, however it ends.
"""

from __future__ import annotations

import ctypes
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from robot_assets.agent.state import replace_file, running_agent
from robot_assets.core.errors import ParamsError
from robot_assets.fleet.desired import ROOT_FILE, open_repository
from robot_assets.fleet.enrollment import enroll
from robot_assets.fleet.keys import make_key, make_root_keys
from robot_assets.fleet.layout import report
from robot_assets.fleet.repository import Repository
from robot_assets.pipeline.project import Project
from robot_assets.provenance.keys import public_half

ROBOTS_FOLDER = Path(".robot_assets/robots")
AGENT_LOG = "agent.log"
_POLL_S = 0.5
_END_S = 15.0
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class SimulatedRobots:
    """The robots of a group, on this machine.

    Attributes:
        project: The project.
        group: Entry of ``fleet.groups``.
        names: Their ids.
    """

    project: Project
    group: str
    names: tuple[str, ...]

    @property
    def repository(self) -> Repository:
        """The distribution repository."""
        return open_repository(self.project.root, self.project.params.fleet)

    def folder(self, name: str) -> Path:
        """The folder of a robot."""
        return self.project.root / ROBOTS_FOLDER / name

    def make_repository(self) -> bool:
        """Make the distribution repository where there is none; whether there was none. Raises FleetError."""
        place = self.repository.place
        if self.repository.exists and place.root.exists():
            return False
        from robot_assets.fleet.creation import refuse_existing

        refuse_existing(place)
        keys = make_root_keys(place.keys / "root", 3, 2)
        Repository.create(place.files, place.keys, place.root, place.timestamp_days, keys)
        return True

    def set_up(self, trusted_keys: Sequence[str]) -> None:
        """Enroll the robots, and give each its robot.yaml and an empty disk: no state, and no report.

        Raises:
            RobotAssetsError: One is enrolled with another key, or its agent runs already.
        """
        for name in self.names:
            self._refuse_running(name)
        for name in self.names:
            key = make_key(self.folder(name) / "robot.pem")
            enroll(self.project.root, name, str(public_half(key)))
            replace_file(self.folder(name) / "robot.yaml", self._robot_yaml(name, trusted_keys).encode())
            shutil.rmtree(self.folder(name) / "state", ignore_errors=True)
            self.repository.files.remove(report(self.group, name))

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run the agents of all robots."""
        with ExitStack() as stack:
            for name in self.names:
                stack.enter_context(self._agent(name))
            yield

    @contextmanager
    def _agent(self, name: str) -> Iterator[None]:
        folder = self.folder(name)
        command = [sys.executable, "-m", "robot_assets.agent", str(folder / "robot.yaml")]
        with (folder / AGENT_LOG).open("wb") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches this process alone, which ends the agents
                preexec_fn=_end_with_parent,
            )
        try:
            yield
        finally:
            _end(process)

    def _refuse_running(self, name: str) -> None:
        process = running_agent(self.folder(name) / "state")
        if process is not None:
            raise ParamsError(
                f"the agent of {name} runs already: process {process}",
                needed="one agent for each robot",
                fix=f"kill {process}   # or wait for the other demo to end",
            )

    def _robot_yaml(self, name: str, trusted_keys: Sequence[str]) -> str:
        document = {
            "robot": name,
            "group": self.group,
            "url": str(self.repository.files.folder),
            "root": str(self.project.root / ROOT_FILE),
            "key": "robot.pem",
            "trusted_keys": list(trusted_keys),
            "state": "state",
            "poll_s": _POLL_S,
            "report_s": 10,
            "reserve_mib": 16,
        }
        return yaml.safe_dump(document, sort_keys=False, width=200)


def _end_with_parent() -> None:
    """In the new process: it ends when its parent does, also when that is killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
