"""A fleet in a folder: a distribution repository with its keys, releases, and robots with real agents.

Releases are a few small files, and the parts of the agent that need an engine are replaced by cheap ones that read
these files: ``verify`` compares them with ``bundle.json``, ``prove`` refuses those that say that they are bad.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from robot_assets.agent import reporting
from robot_assets.agent.device import Device
from robot_assets.agent.parts import Parts
from robot_assets.agent.spec import RobotSpec
from robot_assets.agent.state import AgentState, read_state
from robot_assets.agent.update import Agent
from robot_assets.fleet.assignments import Assignments, Recall
from robot_assets.fleet.errors import AgentError
from robot_assets.fleet.files import Files
from robot_assets.fleet.keys import make_root_keys
from robot_assets.fleet.received import read_reports
from robot_assets.fleet.reports import Received
from robot_assets.fleet.repository import Repository
from robot_assets.provenance.keys import create_key
from robot_assets.provenance.public_key import PublicKey
from robot_assets.release.bundle import BUNDLE_FILE, REFERENCE, Bundle, BundledFile, BundledModel
from tests.robots.forger import Forger

GROUP = "robots"
FINGERPRINT = "0123456789abcdef" * 2
KEY_LINE = "ed25519:" + "11" * 32
BAD = b"bad"
"""First bytes of an engine that fails on the robot."""


@dataclass(frozen=True)
class Release:
    """Attributes: version: its data version. bundle_sha256: of its bundle.json. path: its folder."""

    version: str
    bundle_sha256: str
    path: Path

    @property
    def id(self) -> str:
        return self.version.removesuffix(".dir")


@contextmanager
def in_memory() -> Iterator[Path]:
    """A folder in memory, where there is one: thousands of small files are written."""
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="robots-", dir=place) as folder:
        yield Path(folder)


def write_release(folder: Path, name: str, files: dict[str, bytes], group: str = GROUP) -> Release:
    """A release of one model ``net`` with these files, which is as the robot wants it but has no real engine."""
    path = folder / name
    contents = {f"net/{key}": content for key, content in {REFERENCE: b"answers", **files}.items()}
    for key, content in contents.items():
        (path / key).parent.mkdir(parents=True, exist_ok=True)
        (path / key).write_bytes(content)
    bundle = bundle_of(contents, group)
    (path / BUNDLE_FILE).write_bytes(bundle)
    return Release(f"{hashlib.md5(bundle).hexdigest()}.dir", hashlib.sha256(bundle).hexdigest(), path)


def bundle_of(contents: dict[str, bytes], group: str = GROUP, **changes: Any) -> bytes:
    """``bundle.json`` of these files."""
    listed = [
        BundledFile(path=key, sha256=hashlib.sha256(content).hexdigest(), size=len(content)).model_dump()
        for key, content in sorted(contents.items())
    ]
    model = BundledModel(
        asset="net/engine/cpu",
        version=hashlib.md5(repr(sorted(contents.items())).encode()).hexdigest(),
        folder="net",
        task="detection",
        decoder="boxes",
        budgets={},
        tolerance_share=0.0,
    )
    document = {
        "format": 1,
        "group": group,
        "target": "cpu",
        "platform": {},
        "platform_fingerprint": FINGERPRINT,
        "models": {"net": model.model_dump()},
        "files": listed,
        **changes,
    }
    return json.dumps(document, indent=1).encode()


def verify(release: Path, robot: RobotSpec) -> None:
    """Whether the files of a release are those of its bundle: what the real verification begins with."""
    bundle = Bundle.model_validate_json((release / BUNDLE_FILE).read_bytes())
    if bundle.group != robot.group:
        raise AgentError(f"a release of the group {bundle.group}", needed=f"one of {robot.group}", fix="-")
    if problem := incomplete(release):
        raise AgentError(problem, needed="a complete release", fix="robot-assets agent once")


def incomplete(release: Path) -> str | None:
    """What is wrong with the files of a release."""
    try:
        listed = json.loads((release / BUNDLE_FILE).read_bytes())["files"]
        for file in listed:
            if hashlib.sha256((release / file["path"]).read_bytes()).hexdigest() != file["sha256"]:
                return f"{file['path']} is damaged"
    except (OSError, ValueError) as error:
        return f"{release}: {error}"
    names = {file["path"] for file in listed} | {BUNDLE_FILE}
    there = {path.relative_to(release).as_posix() for path in release.rglob("*") if not path.is_dir()}
    return f"stray files: {there - names}" if there - names else None


def prove(release: Path, robot: RobotSpec) -> None:
    """Gates of the robot: an engine that says that it is bad is refused."""
    for engine in release.glob("*/engine.bin"):
        if engine.read_bytes().startswith(BAD):
            raise AgentError("the engine gives other answers", needed="its reference answers", fix="-")


def recalled(release: Path, version: str, recalls: Iterable[Recall]) -> Recall | None:
    """A release is recalled by the sha256 of one of its files."""
    files = Bundle.model_validate_json((release / BUNDLE_FILE).read_bytes()).files
    return next((one for one in recalls if any(file.sha256.startswith(one.hash) for file in files)), None)


@dataclass
class Robot:
    """A robot: its folder, its clock, and what its agent calls."""

    spec: RobotSpec
    clock: Clock
    parts: Parts
    log: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.spec.robot

    @property
    def current(self) -> Path:
        return self.spec.state / "current"

    @property
    def state(self) -> AgentState:
        return read_state(self.spec.state)

    def agent(self) -> Agent:
        """The agent of a process that has just started: what an earlier one had in memory is gone."""
        reporting._outbox.cache_clear()
        return Agent(self.spec, self.parts)

    def run(self, polls: int = 1) -> AgentState:
        """Start the agent, poll some times, and end it."""
        agent = self.agent()
        for _ in range(polls - 1):
            agent.once()
        return agent.once()

    def serving(self) -> str | None:
        """Id of the release that ``current`` points at, whose files are checked; None: there is no ``current``."""
        if not os.path.lexists(self.current):
            return None
        problem = incomplete(self.current)
        if problem:
            raise AssertionError(f"{self.name} serves an incomplete release: {problem}")
        return self.current.resolve().name


@dataclass
class Clock:
    """A clock that a test moves."""

    offset_s: float = 0
    boot: str = "boot-1"

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.offset_s)

    def monotonic(self) -> float:
        return datetime.now(UTC).timestamp() + self.offset_s


@dataclass
class World:
    """A fleet.

    Attributes:
        folder: Everything is in it.
        url: Where robots read; the folder itself, or an HTTP server.
        names: The robots of the group, canaries first.
    """

    folder: Path
    url: str = ""
    group: str = GROUP
    names: Sequence[str] = ("r1", "r2", "r3")
    root_keys: int = 1
    threshold: int = 1
    public: dict[str, PublicKey] = field(default_factory=dict)
    assigned: Assignments | None = None

    @property
    def storage(self) -> Path:
        return self.folder / "repository"

    @property
    def keys(self) -> Path:
        return self.folder / "keys"

    @cached_property
    def repository(self) -> Repository:
        """The repository, made where there is none."""
        if self.storage.exists():
            return Repository(Files(str(self.storage)), self.keys)
        keys = make_root_keys(self.keys / "root", self.root_keys, self.threshold)
        return Repository.create(Files(str(self.storage)), self.keys, root_keys=keys)

    def release(self, name: str, engine: bytes | None = None, **files: bytes) -> Release:
        """Build and publish a release."""
        contents = {"engine.bin": engine or f"engine {name}".encode(), **files}
        made = write_release(self.folder / "releases", name, contents, self.group)
        self.repository.publish_release(self.group, made.version, made.path)
        return made

    def assign(self, release: Release | None, install: Sequence[str] | None = None, **options: Any) -> Assignments:
        """Publish who may have a release; by default all robots."""
        now = datetime.now(UTC)
        self.assigned = Assignments(
            group=self.group,
            release=release.version if release else None,
            bundle_sha256=release.bundle_sha256 if release else None,
            install=tuple(self.names if install is None else install),
            issued_at=now.isoformat(),
            **options,
        )
        self.repository.publish_assignments(self.assigned, now)
        return self.assigned

    def robot(self, name: str = "r1", **options: Any) -> Robot:
        """A robot; a new one gets a key, and the root metadata of today."""
        home = self.folder / "robots" / name
        key = self.folder / "robot_keys" / f"{name}.pem"
        if not key.exists():
            self.public[name] = create_key(key)
            shutil.copyfile(self.keys / "root.json", key.with_suffix(".root.json"))
        spec = RobotSpec(
            **{
                "robot": name,
                "group": self.group,
                "url": self.url or str(self.storage),
                "root": key.with_suffix(".root.json"),
                "key": key,
                "trusted_keys": (KEY_LINE,),
                "state": home,
                "reserve_mib": 0,
                **options,
            }
        )
        clock = Clock()
        log: list[str] = []
        return Robot(spec, clock, parts_of(clock, log.append), log)

    def reports(self) -> dict[str, Received]:
        """The reports that count, by robot."""
        names = [name for name in self.names if name in self.public]
        found = read_reports(Files(str(self.storage)), self.group, names, self.public)
        return dict(found.received)

    def forger(self, *stolen: str) -> Forger:
        """An attacker with these keys, and with write access to the repository."""
        return Forger(self.storage, self.keys, frozenset(stolen))

    def copied_to(self, folder: Path) -> World:
        """The same fleet in another folder."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return replace(self, folder=folder, public=dict(self.public))


def parts_of(clock: Clock, log: Callable[[str], None], **changes: Any) -> Parts:
    """The cheap parts of a robot; reports are really sent."""
    parts = Parts(
        verify=verify,
        prove=prove,
        why_unhealthy=lambda robot, since: None,
        why_busy=lambda robot: None,
        on_switch=lambda robot: None,
        recalled=recalled,
        device=lambda: Device(FINGERPRINT),
        now=clock.now,
        monotonic=clock.monotonic,
        boot_id=lambda: clock.boot,
        log=log,
    )
    return replace(parts, **changes)
