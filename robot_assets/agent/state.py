"""``state.json``: all that the agent of a robot has to remember over a loss of power, replaced atomically with fsync.

Folders below ``state`` of robot.yaml::

    state.json            this file
    current -> sets/ID    what serves; replaced by one rename
    sets/ID/              complete, verified releases: the current one, the last good one, and the next one. ID: 32 hex digits
    downloads/ID/         the files of a release that is being downloaded; resumed by range
    tuf/                  trusted metadata (python-tuf)
    assignments.json      the last verified assignments, for decisions without a network
    outbox.json           the last report, until it is delivered
"""

from __future__ import annotations

from typing import Final, Literal

from robot_assets.core.spec import Spec
from robot_assets.fleet.reports import Failure, State

STATE_FILE = "state.json"
CURRENT = "current"
SETS = "sets"
DOWNLOADS = "downloads"
TUF = "tuf"
ASSIGNMENTS_FILE = "assignments.json"
OUTBOX = "outbox.json"
FORMAT: Final = 1


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
        committed: Releases that this robot has proven and still has.
        sequence: Of the last report.
        known_time: Latest time that is known to have passed, ISO 8601 UTC: bounds a wrong clock from below.
        healthy_s: Seconds of health since the commit.
        why: Why it is held, waits, or went back.
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
