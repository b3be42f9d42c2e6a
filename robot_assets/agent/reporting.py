"""Reports of this robot: composed from its state, signed with its key, and kept until the repository has them.

Only the last report counts, so only the last one is kept. Reports are also delivered from a disk that is full or
read-only: that is when somebody has to know.
"""

from __future__ import annotations

import contextlib
import json
import shlex
from collections.abc import Callable
from datetime import datetime
from functools import cache, lru_cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Final

from robot_assets.agent.device import Device
from robot_assets.agent.spec import RobotSpec
from robot_assets.agent.state import OUTBOX, AgentState, replace_file
from robot_assets.agent.transport import transport_of
from robot_assets.fleet import layout
from robot_assets.fleet.errors import AgentError
from robot_assets.fleet.reports import LARGEST_BYTES, Failure, Report, sign_report
from robot_assets.provenance.errors import ProvenanceError
from robot_assets.provenance.keys import load_key

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner

_TEXT_MAX: Final = 300
_FAILURES_MAX: Final = 20
"""The last failed releases are reported. A rollout asks for the present one."""

_IN_SILENCE: Final = 3
"""Reports within the time after which a silent robot counts as failed: one may be lost."""

_PASSING = {"sequence", "at", "healthy_s"}
"""Fields that change without anything having happened."""


def next_sequence(last: int, now: datetime) -> int:
    """The sequence of the next report: above ``last``, and where the state was lost, above all reports before.

    It follows the clock, so that a robot whose disk was replaced goes on. A clock that was set back does not matter.
    """
    return max(last + 1, int(now.timestamp()))


def compose(robot: RobotSpec, state: AgentState, device: Device, now: datetime, sequence: int) -> Report:
    """What this robot says of itself.

    Args:
        robot: Its ``robot.yaml``.
        state: Of the agent.
        device: As it was probed last.
        now: Its clock.
        sequence: See :func:`next_sequence`.
    """
    failed = tuple(Failure(release=one.release, reason=_cut(one.reason)) for one in state.failed[-_FAILURES_MAX:])
    return Report(
        robot=robot.robot,
        group=robot.group,
        sequence=sequence,
        at=now.isoformat(timespec="seconds"),
        state=state.state,
        running=state.current,
        healthy_s=state.healthy_s,
        working_on=state.next,
        why=_cut(state.why),
        failed=failed,
        proven=state.committed,
        fingerprint=device.fingerprint,
        platform=device.platform,
        agent=_version(),
    )


def should_send(
    last: Report | None, report: Report, passed_s: float, *, report_s: float, silence_s: float, bake_s: float = 0
) -> bool:
    """Whether a report is due: something changed, or the last one is old.

    Args:
        last: The report that was sent last; None: none since the agent started.
        report: What could be sent now.
        passed_s: Seconds since ``last``.
        report_s: Longest time between two reports, of ``robot.yaml``.
        silence_s: Time after which a silent robot counts as failed, of the assignments.
        bake_s: Health after which a robot counts as baked, of the assignments: the next batch waits for it.
    """
    if last is None or report.model_dump(exclude=_PASSING) != last.model_dump(exclude=_PASSING):
        return True
    if report.healthy_s < last.healthy_s or last.healthy_s < bake_s <= report.healthy_s:
        return True
    return passed_s >= min(report_s, silence_s / _IN_SILENCE)


class Outbox:
    """The last signed report until it is delivered, in a file that survives a restart.

    Args:
        folder: The state folder of the agent.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / OUTBOX
        self._pending = _read(self._path)

    @property
    def pending(self) -> bytes | None:
        """The report to deliver; None: there is none."""
        return self._pending

    def put(self, content: bytes) -> None:
        """Replace the pending report. On a disk that refuses, it is kept in memory alone."""
        self._pending = content
        with contextlib.suppress(OSError):
            replace_file(self._path, content)

    def flush(self, deliver: Callable[[bytes], None]) -> bool:
        """Deliver the pending report, if there is one; whether none is left. ``deliver`` raises AgentError."""
        if self._pending is None:
            return True
        try:
            deliver(self._pending)
        except AgentError:
            return False
        self._pending = None
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
        return True


def deliver(robot: RobotSpec, content: bytes) -> None:
    """Put a signed report where reports go: ``reports_url``, else ``reports`` below ``url``.

    Raises:
        AgentError: It cannot be written there.
    """
    path = layout.report(robot.group, robot.robot)
    if robot.reports_url is None:
        transport_of(robot.url).put(path, content)
    else:
        transport_of(robot.reports_url).put(path.removeprefix(f"{layout.REPORTS}/"), content)


def send(robot: RobotSpec, report: Report | None) -> bool:
    """Deliver a report, or without one the report that is still pending; whether none is left.

    Raises:
        FleetError: The key of the robot cannot be read, or the report is too large.
    """
    outbox = _outbox(robot.state)
    if report is not None:
        outbox.put(sign_report(report, _signer(robot.key)))
    return outbox.flush(partial(deliver, robot))


def _signer(key: Path) -> CryptoSigner:
    try:
        return load_key(key)
    except ProvenanceError as error:
        raise AgentError(
            f"reports cannot be signed: {error.found}",
            needed="the private key of this robot, as `key` in robot.yaml names it, readable by its owner alone",
            fix=error.fix if key.exists() else f"robot-assets key create --out {shlex.quote(str(key))}",
        ) from None


@cache
def _version() -> str:
    """Version of robot-assets; empty where it runs without being installed."""
    try:
        return version("robot-assets")
    except PackageNotFoundError:
        return ""


@lru_cache(maxsize=8)
def _outbox(folder: Path) -> Outbox:
    return Outbox(folder)


def _read(path: Path) -> bytes | None:
    """The report of the time before the restart. One that is damaged is worth nothing: the next one follows soon."""
    try:
        with path.open("rb") as stream:
            content = stream.read(LARGEST_BYTES + 1)
        json.loads(content)
    except (OSError, ValueError, RecursionError):
        return None
    return content if len(content) <= LARGEST_BYTES else None


def _cut(text: str) -> str:
    return text if len(text) <= _TEXT_MAX else f"{text[: _TEXT_MAX - 3]}..."
