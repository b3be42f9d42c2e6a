"""``state.json``: all that the agent of a robot has to remember over a loss of power, replaced atomically with fsync.

Folders below ``state`` of robot.yaml::

    state.json            this file
    current -> sets/ID    what serves; replaced by one rename
    sets/ID/              complete, verified releases: the current one, the last good one, and the next one.
                          ID: 32 hex digits
    downloads/ID/         the files of a release that is being downloaded; resumed by range
    tuf/                  trusted metadata (python-tuf)
    assignments.json      the last verified assignments, for decisions without a network
    outbox.json           the last report, until it is delivered
    lock                  process of the one agent that works here; it holds a lock on the folder
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from pydantic import Field, ValidationError

from robot_assets.core.publishing import make_durable
from robot_assets.core.spec import Spec
from robot_assets.fleet.errors import AgentError
from robot_assets.fleet.reports import Failure, State

STATE_FILE = "state.json"
CURRENT = "current"
SETS = "sets"
DOWNLOADS = "downloads"
TUF = "tuf"
ASSIGNMENTS_FILE = "assignments.json"
OUTBOX = "outbox.json"
LOCK = "lock"
FORMAT: Final = 1

_ID = re.compile(r"[0-9a-f]{32}")
_LARGEST_BYTES = 1 << 20
_RESERVED_BYTES = 1 << 16


class SeenVersion(Spec):
    """The highest version of a role's metadata that was seen, and the keys that signed it.

    Attributes:
        version: Number.
        keys: Ids and threshold of the keys; with other keys the versions may begin anew (TUF specification, 5.3.11).
    """

    version: int
    keys: str


class AgentState(Spec):
    """The content of ``state.json``.

    Attributes:
        state: Where in an update the robot is.
        current: Release that ``current`` has to point at; None: none.
        last_good: The release that was committed before; None: none. Never evicted.
        next: The release that is being downloaded, verified, switched to or proven; None: none.
        boot_id: ``/proc/sys/kernel/random/boot_id`` when the present switch began.
        starts: Starts of the agent since then: a set that crashes the device is rolled back at the next start.
        failed: Releases that are not tried again.
        committed: Releases that this robot has proven and still has, the last one last.
        sequence: Of the last report.
        known_time: Latest time that is known to have passed, ISO 8601 UTC: bounds a wrong clock from below.
        healthy_s: Seconds of health since the commit.
        why: Why it is held, waits, or went back.
        versions: Highest metadata versions seen, by role: protects from a rollback when ``tuf/`` is lost.
        conditions: Digest of what a release is judged by here; ``failed`` is forgotten when it changes.
    """

    format: Literal[1] = FORMAT
    state: State = State.IDLE
    current: str | None = None
    last_good: str | None = None
    next: str | None = None
    boot_id: str = ""
    starts: int = 0
    failed: tuple[Failure, ...] = ()
    committed: tuple[str, ...] = ()
    sequence: int = 0
    known_time: str = ""
    healthy_s: float = 0
    why: str = ""
    versions: dict[str, SeenVersion] = Field(default_factory=dict)
    conditions: str = ""

    def has_failed(self, release: str) -> str | None:
        """Why a release failed on this robot; None: it did not."""
        return next((one.reason for one in self.failed if one.release == release), None)


def set_id(release: str) -> str:
    """Name of the folder of a release: its data version without ``.dir``.

    Raises:
        AgentError: It is not a data version; nothing outside decides on paths here.
    """
    name = release.removesuffix(".dir")
    if not _ID.fullmatch(name):
        raise AgentError(
            f"the release {release[:60]!r} is not a data version",
            needed="32 hexadecimal digits and .dir",
            fix="robot-assets fleet status   # where the rollout is published",
        )
    return name


def read_state(folder: Path) -> AgentState:
    """The state in a folder; a new one where there is none.

    Raises:
        AgentError: ``state.json`` is damaged, or of a newer version of robot-assets.
    """
    path = folder / STATE_FILE
    try:
        with path.open("rb") as stream:
            content = stream.read(_LARGEST_BYTES)
    except FileNotFoundError:
        return AgentState()
    try:
        return AgentState.model_validate_json(content)
    except ValidationError:
        raise AgentError(
            f"{path} is not the state of an agent",
            needed="the file as the agent wrote it",
            fix=f"mv {path} {path}.damaged   # the agent then verifies its sets and downloads what is missing",
        ) from None


def write_state(folder: Path, state: AgentState) -> None:
    """Replace ``state.json``: after this call a loss of power leaves the new state, before it the old one.

    The space of the next write is reserved: going back from a bad release is possible on a full disk.

    Raises:
        OSError: The disk is full, read-only or broken; the old state is there.
    """
    path = folder / STATE_FILE
    replace_file(path, state.model_dump_json(indent=1).encode() + b"\n")
    with contextlib.suppress(OSError), _staging(path).open("wb") as spare:
        os.posix_fallocate(spare.fileno(), 0, _RESERVED_BYTES)


def replace_file(path: Path, content: bytes) -> None:
    """Replace a file durably.

    Raises:
        OSError: It cannot be written; the old one is there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = _staging(path)
    handle = os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(handle, view) :]
        os.ftruncate(handle, len(content))
        os.fsync(handle)
    finally:
        os.close(handle)
    os.replace(staging, path)
    make_durable([path.parent])


def _staging(path: Path) -> Path:
    """Where a file is written before it has its name. There is one writer: the agent that has the lock."""
    return path.with_name(f".{path.name}.part")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the state folder: one agent works in it at a time. The lock ends with the process, however it ends.

    Raises:
        AgentError: Another process has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _in_use(folder, _process_in(folder)) from None
        with contextlib.suppress(OSError):  # a full or read-only disk has an agent, too
            (folder / LOCK).write_text(f"{os.getpid()}\n")
        yield
    finally:
        os.close(handle)


def _process_in(folder: Path) -> int:
    """The process that has written its number; 0: none has."""
    try:
        return int((folder / LOCK).read_text()[:20])
    except (OSError, ValueError):
        return 0


def note_look(folder: Path) -> None:
    """Note that the repository was read just now: as the time of the file that was compared with it."""
    with contextlib.suppress(OSError):
        os.utime(folder / TUF / "timestamp.json")


def last_look(folder: Path) -> datetime | None:
    """When the repository was read last; None: not yet, as far as the disk shows."""
    try:
        return datetime.fromtimestamp((folder / TUF / "timestamp.json").stat().st_mtime, UTC)
    except OSError:
        return None


def running_agent(folder: Path) -> int | None:
    """Process of the agent that works in a folder; None: there is none."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _process_in(folder)
    finally:
        os.close(handle)
    return None


def _in_use(folder: Path, process: int) -> AgentError:
    return AgentError(
        f"another agent works in {folder}" + (f", process {process}" if process else ""),
        needed="one agent for one state folder",
        fix="robot-assets agent status   # or stop it: systemctl stop robot-assets-agent",
    )
