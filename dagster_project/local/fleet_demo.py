"""The acts of ``robot-assets fleet demo``: one release reaches simulated robots, one is refused, one is recalled.

Robots, agents, keys, orders and rollouts are the real ones. What is simulated: the robots have no hardware, and two of
the three releases are altered copies (``planted_releases``).
"""

from __future__ import annotations

import json
import re
import shlex
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

import dagster as dg

from dagster_project.definitions import build_definitions
from dagster_project.instance.reader import latest_data_version
from dagster_project.instance.status import observe_and_read
from dagster_project.local.planted_releases import plant, signed_by, with_wrong_answers
from dagster_project.local.simulated_robots import ROBOTS_FOLDER, SimulatedRobots
from dagster_project.local.waves import build
from robot_assets.core.errors import ParamsError
from robot_assets.core.text import listed, plural
from robot_assets.fleet.desired import is_pattern
from robot_assets.fleet.keys import make_key
from robot_assets.fleet.reports import Report, State
from robot_assets.fleet.rollout import Phase
from robot_assets.fleet.spec import LATEST
from robot_assets.fleet.status import short
from robot_assets.fleet.view import FleetView
from robot_assets.pipeline import names
from robot_assets.pipeline.kinds.rollout import DECISION_FILE
from robot_assets.pipeline.project import Project
from robot_assets.pipeline.scaffold import publish_params
from robot_assets.provenance.keys import public_half

if TYPE_CHECKING:
    from rich.console import Console

    from robot_assets.lineage.staleness import Status

BUILD_MACHINE = ".robot_assets/keys/demo/build_machine_2.pem"
"""The key that signs the release which is recalled."""
_POLL_S = 0.3
_ACT_S = 240.0
_VERSION = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{20}(\.dir)?\b")
_NUMBER = re.compile(r"\d+(\.\d+)?")


def prepare(project: Project, group: str | None) -> SimulatedRobots:
    """The robots of a group, as far as they can be simulated here.

    Raises:
        ParamsError: params.yaml has no such group, its robots cannot be simulated, or an order is given already.
    """
    fleet = project.params.fleet
    name = group or next(iter(fleet.groups), "GROUP")
    if name not in fleet.groups:
        raise ParamsError(
            f"params.yaml has no group {name!r}",
            needed=f"one of: {listed(fleet.groups) or 'an entry of fleet.groups; there is none'}",
            fix=f"robot-assets fleet demo {next(iter(fleet.groups), name)}",
        )
    _refuse_unfit(project, name)
    return SimulatedRobots(project, name, fleet.groups[name].robots)


def _refuse_unfit(project: Project, name: str) -> None:
    fleet = project.params.fleet
    found = fleet.groups[name]
    if len(found.robots) < 2 or any(map(is_pattern, found.robots)):
        raise ParamsError(
            f"fleet.groups.{name}.robots is {listed(found.robots)}",
            needed="at least 2 robots by their ids, which the demo enrolls",
            fix=f"edit params.yaml: fleet.groups.{name}.robots: [robot_1, robot_2, robot_3]",
        )
    if "://" in fleet.url or not (project.root / fleet.url).resolve().is_relative_to(project.root.resolve()):
        raise ParamsError(
            f"fleet.url is {fleet.url}",
            needed="a folder of the project: simulated robots do not belong into a repository of real ones",
            fix="edit params.yaml: fleet.url: .robot_assets/fleet",
        )
    if found.release != LATEST or found.paused or fleet.recalls:
        raise ParamsError(
            f"params.yaml has orders for {name}: a pin, a pause or recalls",
            needed=f"release: {LATEST}, no pause and no recalls, since the demo gives these orders itself",
            fix=f"robot-assets fleet pin {name} {LATEST}   # and: fleet resume, fleet recall HASH --undo",
        )


class Demo:
    """One run of the demo.

    Args:
        robots: The robots.
        instance: Its instance.
        terminal: Where the lines go.
    """

    def __init__(self, robots: SimulatedRobots, instance: dg.DagsterInstance, terminal: Console) -> None:
        self.robots = robots
        self.root = robots.project.root
        self.group = robots.group
        self.rollout = names.rollout(self.group)
        self._loaded: tuple[bytes, dg.Definitions] | None = None
        self._instance = instance
        self._terminal = terminal
        self._began = time.monotonic()
        self._seen: dict[str, str] = {}
        self._decided: dict[str, Any] = {}
        self._ordered: bytes | None = None

    def run(self) -> None:
        """All acts. params.yaml is as before afterwards, and nothing runs.

        Raises:
            RobotAssetsError: An engine is not built, or an act does not end as it should.
        """
        self._require_engines()
        with _ending_on_sigterm(), self._restoring_params() as restore:
            first = self._release()
            with self.robots.running():
                self._first_release(first)
                self._bad_release(first)
                self._recall(first, self._second_release(first))
                restore()
                self._watch("the rollout of the first release", lambda: self._is_complete(first))
        self._summarize()

    # ---- acts -----------------------------------------------------------------------------------------------------

    def _release(self) -> str:
        """Set everything up, and build the release; its version."""
        self._title(f"{plural(len(self.robots.names), 'robot')} of {self.group} on this machine")
        if self.robots.make_repository():
            self._say(f"made the distribution repository {self.robots.repository.place.files.name}")
        self._second_key = make_key(self.root / BUILD_MACHINE)
        keys = [str(key) for key in self.robots.project.trust().keys]
        self.robots.set_up([*keys, str(public_half(self._second_key))])
        self._say(f"enrolled {listed(self.robots.names)}; each has a folder in {ROBOTS_FOLDER}")
        self._rebuild()
        found = latest_data_version(self._instance, names.release(self.group))
        if found is None:
            raise ParamsError(
                f"{names.release(self.group)} was not built",
                needed="a release",
                fix=f"robot-assets build {names.release(self.group)}",
            )
        return found

    def _first_release(self, first: str) -> None:
        self._title(f"1. Release {short(first)} reaches the robots in batches")
        self._say(f"started {plural(len(self.robots.names), 'agent')}")
        self._watch("the rollout of the first release", lambda: self._is_complete(first))
        self._command("status", self.group)

    def _bad_release(self, first: str) -> None:
        bad = plant(self._project, self.group, first, with_wrong_answers)
        canary = self.robots.names[0]
        self._title(f"2. A bad release, {short(bad)}: its engine does not repeat its reference answers")
        self._command("pin", self.group, short(bad))
        self._watch(
            "a rollout that the canary stops",
            lambda: self._is_stopped(bad) and self._report(canary).running == first,
        )
        self._command("status", self.group)

    def _second_release(self, first: str) -> str:
        second = plant(self._project, self.group, first, signed_by(self._second_key))
        self._title(f"3. A good release, {short(second)}, signed by another build machine, supersedes it")
        self._command("pin", self.group, short(second))
        self._watch("the rollout of the second release", lambda: self._is_complete(second))
        self._command("status", self.group)
        return second

    def _recall(self, first: str, second: str) -> None:
        self._title("4. The key of that build machine leaks: everything that it signed is recalled")
        self._command("recall", str(public_half(self._second_key)), "--reason", "the key of build machine 2 leaked")
        self._watch(
            f"robots that leave {short(second)}",
            lambda: all(self._report(robot).running == first for robot in self.robots.names),
        )
        self._command("pin", self.group, LATEST)
        self._watch("the rollout of the first release", lambda: self._is_complete(first))
        self._command("status", self.group)

    def _summarize(self) -> None:
        seconds = time.monotonic() - self._began
        self._title(f"Done in {seconds:.0f} s. params.yaml is as before, and no agent runs. To look at it:")
        for command in (
            f"robot-assets fleet status {self.group}",
            f"robot-assets audit {self.robots.names[0]}",
            f"robot-assets ui   # then the page of {self.rollout}",
        ):
            self._terminal.print(f"  {command}", highlight=False, markup=False, style="cyan")

    # ---- what happens ---------------------------------------------------------------------------------------------

    def _watch(self, what: str, is_reached: Callable[[], bool]) -> None:
        """Observe, rebuild and print what changes, until something is reached."""
        until = time.monotonic() + _ACT_S
        while True:
            self._print_reports()
            self._rebuild()
            if is_reached():
                self._print_reports()
                return
            if time.monotonic() > until:
                raise ParamsError(
                    f"waited for {what} for {_ACT_S:g} s in vain: {self._decided.get('why', 'nothing was decided')}",
                    needed=what,
                    fix=f"tail -n 20 {ROBOTS_FOLDER}/*/agent.log   # what the agents did",
                )
            time.sleep(_POLL_S)

    def _rebuild(self) -> None:
        """What the sensors of the UI do: observe the reports, and rebuild what is stale."""
        build(self._project, self._definitions(), self._instance, [self.rollout], self._announce)
        version = latest_data_version(self._instance, self.rollout)
        if version is None:
            return
        decided = json.loads((self._project.store.open(version) / DECISION_FILE).read_bytes())
        if decided != self._decided:
            self._decided = decided
            self._say(f"rollout   {decided['phase']}: {decided['why']}", "bold")

    def _definitions(self) -> dg.Definitions:
        """The code location; an order changes the parameters of its stages."""
        content = self._params_file.read_bytes()
        if self._loaded is None or self._loaded[0] != content:
            self._loaded = (content, build_definitions(self._project, dg.in_process_executor))
        return self._loaded[1]

    def _announce(self, name: str, status: Status, causes: Sequence[str]) -> None:
        if name != self.rollout:
            self._say(f"building  {name}: {'; '.join(causes)}", "dim")

    def _print_reports(self) -> None:
        for robot, report in self._reports().items():
            text = _in_words(report)
            if self._seen.get(robot) != _NUMBER.sub("#", text):
                self._seen[robot] = _NUMBER.sub("#", text)
                is_bad = report.state is State.HELD or any(word in report.why for word in ("failed", "recalled"))
                self._say(f"{robot:<9} {text}", "red" if is_bad else "cyan")

    @property
    def _project(self) -> Project:
        """The project as it is now: orders change params.yaml."""
        return Project(self.root)

    def _reports(self) -> Mapping[str, Report]:
        view = FleetView(self.root, self._project.params.fleet)
        received = view.reports(self.group).received
        return {robot: received[robot].report for robot in self.robots.names if robot in received}

    def _report(self, robot: str) -> Report:
        return self._reports()[robot]

    def _is_complete(self, release: str) -> bool:
        return self._has_ended(release, Phase.DONE)

    def _is_stopped(self, release: str) -> bool:
        return self._has_ended(release, Phase.STOPPED)

    def _has_ended(self, release: str, phase: Phase) -> bool:
        rolled_out, found = (self._decided.get(key) for key in ("release", "phase"))
        return rolled_out == release and found == phase

    # ---- orders ---------------------------------------------------------------------------------------------------

    def _command(self, *words: str) -> None:
        """Run a command of ``robot-assets fleet`` as a person does."""
        from robot_assets.cli.main import run

        self._terminal.print()
        line = shlex.join(["robot-assets", "fleet", *words])
        self._terminal.print(f"$ {line}", style="bold green", highlight=False, markup=False, soft_wrap=True)
        self._terminal.file.flush()
        with _uninterrupted():
            self._ordered = None  # whatever params.yaml is until the command has ended
            code = run(["fleet", *words])
        if code:
            raise ParamsError(f"{line} ended with {code}", needed="a command that succeeds", fix=line)
        self._terminal.print()
        self._ordered = self._params_file.read_bytes()

    @property
    def _params_file(self) -> Any:
        return (self.root / "params.yaml").resolve()

    @contextmanager
    def _restoring_params(self) -> Iterator[Callable[[], None]]:
        """Undo the orders at the end, also after an error; what somebody else has edited meanwhile stays."""
        before = self._params_file.read_bytes()
        self._ordered = before

        def restore() -> None:
            present = self._params_file.read_bytes()
            if present == before:
                return
            if self._ordered not in (None, present):
                self._say("params.yaml was edited by somebody else and stays as it is: git diff params.yaml", "red")
                return
            publish_params(self._params_file, before.decode())
            self._ordered = before
            self._say("params.yaml is as before: the recall and the pin are undone")

        try:
            yield restore
        finally:
            restore()

    def _require_engines(self) -> None:
        """Refuse to build engines: that takes minutes, or is not wanted."""
        release = names.release(self.group)
        found = observe_and_read(self._project, self._instance, [release]).found
        entry = self._project.params.fleet.groups[self.group]
        made_here = (release, names.profile(entry.target))
        for name, status in found.items():
            if not status.is_fresh and name not in made_here:
                raise ParamsError(
                    f"{name} is {status.state}",
                    needed=f"engines of {self.group} that are built and fresh",
                    fix=f"robot-assets build {shlex.join(entry.models)}   # `make demo` does this",
                )

    # ---- lines ----------------------------------------------------------------------------------------------------

    def _title(self, text: str) -> None:
        self._terminal.print()
        self._terminal.print(text, style="bold", highlight=False, markup=False, soft_wrap=True)

    def _say(self, text: str, style: str = "") -> None:
        seconds = time.monotonic() - self._began
        line = f"  {seconds:5.1f} s  {_shortened(text)}"
        self._terminal.print(line, style=style, highlight=False, markup=False, soft_wrap=True)


def _in_words(report: Report) -> str:
    """What a robot reports, in one line."""
    serves = f"serves {report.running}" if report.running else "serves nothing"
    towards = f" {report.working_on}" if report.working_on and report.working_on != report.running else ""
    why = report.why.removeprefix(f"{report.state}; ")
    return f"{report.state}{towards}; {serves}{f'; {why}' if why else ''}"


def _shortened(text: str) -> str:
    """A text with the first digits of data versions."""
    return _VERSION.sub(r"\1", text)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait: a command of the program would end the process in its own way."""
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


@contextmanager
def _ending_on_sigterm() -> Iterator[None]:
    """SIGTERM ends the demo as Ctrl-C does: orders are undone, and agents are ended."""

    def end(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
