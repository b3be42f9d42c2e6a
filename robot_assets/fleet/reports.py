"""Reports of robots: what each runs and why, signed with the robot's own key. The last one of a robot counts.

A report is a DSSE envelope. Light to import: robots write them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import Field, ValidationError

from robot_assets.core.spec import Spec
from robot_assets.core.text import escaped
from robot_assets.core.validation import mistakes, shown_value
from robot_assets.fleet.errors import FleetError
from robot_assets.provenance.envelope import open_envelope, sign
from robot_assets.provenance.errors import ProvenanceError
from robot_assets.provenance.public_key import PublicKey, Trust

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner

FORMAT: Final = 1
LARGEST_BYTES = 65_536
"""Of a signed report. Anybody who has a robot's key can write any number of bytes; more than this is not parsed."""
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


def sign_report(report: Report, signer: CryptoSigner) -> bytes:
    """Sign a report with the robot's key: one line of JSON.

    Raises:
        FleetError: It is larger than any reader accepts.
    """
    content = sign(report.model_dump_json().encode(), signer, PAYLOAD_TYPE)
    if len(content) > LARGEST_BYTES:
        raise _too_large(f"the signed report of {report.robot}", len(content))
    return content


def open_report(content: bytes, key: PublicKey) -> Report:
    """Return the report that a robot signed. Whether it is of this robot and newer than the last one, callers check.

    Args:
        content: What the robot has sent.
        key: The public key with which the robot is enrolled.

    Raises:
        FleetError: It is too large, not an envelope, of another type, not signed with ``key``, altered, or of a format
            that is not known here.
    """
    if len(content) > LARGEST_BYTES:
        raise _too_large("the report", len(content))
    try:
        payload = open_envelope(content, Trust((key,)), PAYLOAD_TYPE).payload
    except ProvenanceError as error:
        raise FleetError(f"the report is refused: {error.found}", needed=error.needed, fix=_ENROLL) from None
    return _parsed(payload)


_ENROLL = (
    "robot-assets agent key   # on the robot; if that key is new and right, enroll it: "
    "robot-assets fleet enroll ROBOT KEY --replace"
)


def _parsed(payload: bytes) -> Report:
    """The signed bytes as a report. They are of a robot that is enrolled, which may run another version."""
    try:
        return Report.model_validate_json(payload, strict=True)
    except ValidationError as error:
        raise _unreadable(payload, escaped("; ".join(mistakes(error)[:3]))) from None


def _unreadable(payload: bytes, problems: str) -> FleetError:
    found = _format_of(payload)
    if found == FORMAT:
        return FleetError(f"the report is not readable: {problems}", needed=f"a report of format {FORMAT}", fix=_UPDATE)
    return FleetError(f"the report has format {shown_value(found)}", needed=f"format {FORMAT}", fix=_UPDATE)


_UPDATE = "install the same version of robot-assets here and on the robot"


def _format_of(payload: bytes) -> Any:
    try:
        document = json.loads(payload)
    except (ValueError, RecursionError):
        return FORMAT  # not JSON at all, which the mistakes say
    return document.get("format", FORMAT) if isinstance(document, dict) else FORMAT


def _too_large(what: str, size: int) -> FleetError:
    return FleetError(f"{what} has {size} bytes", needed=f"at most {LARGEST_BYTES} bytes", fix=_ENROLL)
