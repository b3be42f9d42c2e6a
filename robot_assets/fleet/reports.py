"""Reports of robots: what each runs and why, signed with the robot's own key. The last one of a robot counts.

Light to import: robots write them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Literal

from pydantic import Field

from robot_assets.core.spec import Spec

FORMAT: Final = 1
PAYLOAD_TYPE = "application/vnd.robot-assets.report+json"


class State(StrEnum):
    """State of the agent of a robot."""

    IDLE = "idle"
    DOWNLOADING = "downloading"
    VERIFYING = "verifying"
    PREPARED = "prepared"
    SWITCHED = "switched"
    PROVING = "proving"
    COMMITTED = "committed"
    ROLLING_BACK = "rolling back"
    HELD = "held"


IN_PROGRESS = frozenset({State.SWITCHED, State.PROVING, State.ROLLING_BACK})
"""States in which a robot has left its last good set: silence in these is a failure after the time-out."""


class Failure(Spec):
    """A release that a robot refused or went back from, and does not try again.

    Attributes:
        release: Its data version.
        reason: Why, one sentence.
    """

    release: str
    reason: str


class Report(Spec):
    """What a robot says of itself.

    Attributes:
        robot: Its id.
        group: Its group.
        sequence: Increases with every report of a robot, over restarts.
        at: The robot's clock, ISO 8601 UTC; it may be wrong.
        state: Of the agent.
        running: Data version of the release that it serves; None: none.
        healthy_s: Seconds for which it has served ``running`` healthily since it committed to it.
        working_on: The release that it is downloading, proving or prepared to switch to; None: none.
        why: Why it is held, waits, or went back; empty when there is nothing to say.
        failed: Releases that failed on it.
        proven: Releases that it has committed to and still has: it can go back to them at once.
        fingerprint: Of its device.
        platform: Of its device, as ``robot-assets platform probe --json``.
        agent: Version of robot-assets.
    """

    format: Literal[1] = FORMAT
    robot: str
    group: str
    sequence: int = Field(ge=0)
    at: str
    state: State
    running: str | None
    healthy_s: float = Field(default=0, ge=0)
    working_on: str | None = None
    why: str = ""
    failed: tuple[Failure, ...] = ()
    proven: tuple[str, ...] = ()
    fingerprint: str
    platform: dict[str, Any] = Field(default_factory=dict)
    agent: str = ""


@dataclass(frozen=True)
class Received:
    """A report whose signature was verified.

    Attributes:
        report: Its content.
        received_at: When the storage received it, by the storage's own clock.
    """

    report: Report
    received_at: datetime
