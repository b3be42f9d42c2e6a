"""Logs and reports what has changed on the robot."""

from __future__ import annotations

import math

from robot_assets.agent.device import Device
from robot_assets.agent.journal import Journal, in_three_parts, without_numbers
from robot_assets.agent.parts import Parts
from robot_assets.agent.reporting import compose, next_sequence, should_send
from robot_assets.agent.spec import RobotSpec
from robot_assets.core.errors import RobotAssetsError
from robot_assets.core.text import escaped
from robot_assets.fleet.assignments import Assignments
from robot_assets.fleet.reports import Report


class Reporter:
    """Remembers what was said last.

    Args:
        robot: The robot.
        parts: What the agent calls.
        journal: The state.
    """

    def __init__(self, robot: RobotSpec, parts: Parts, journal: Journal) -> None:
        self._robot = robot
        self._parts = parts
        self._journal = journal
        self._last: Report | None = None
        self._reported_at = 0.0
        self._is_delivered = True
        self._logged: dict[str, str] = {}

    def report(self, device: Device | None, assignments: Assignments | None, bake_s: float, *, is_poll: bool) -> None:
        """Log and report a change; without one, report from time to time, and deliver what could not be delivered.

        Args:
            device: This device; None: it could not be probed yet.
            assignments: The last ones.
            bake_s: Health after which the present release counts as baked.
            is_poll: Whether this is a poll: between two polls nothing is delivered again.
        """
        self._log_state()
        found, now = self._compose(device), self._parts.monotonic()
        silence_s = assignments.silence_s if assignments else math.inf
        limits = {"report_s": self._robot.report_s, "silence_s": silence_s, "bake_s": bake_s}
        if should_send(self._last, found, now - self._reported_at, **limits):
            self._last, self._reported_at = found, now
            self._note_sequence(found)
            self._is_delivered = self._send(found)
        elif is_poll and not self._is_delivered:
            self._is_delivered = self._send(None)

    def _compose(self, device: Device | None) -> Report:
        now = self._parts.now()
        state = self._journal.state.model_copy(update={"healthy_s": round(self._journal.healthy_s, 1)})
        return compose(self._robot, state, device or Device(""), now, next_sequence(state.sequence, now))

    def _note_sequence(self, report: Report) -> None:
        """From a full disk a report is sent all the same: the clock orders it after a loss of power."""
        if self._journal.is_open:
            self._journal.save_if_possible(sequence=report.sequence)

    def _send(self, report: Report | None) -> bool:
        try:
            return self._parts.send(self._robot, report)
        except (RobotAssetsError, OSError) as error:
            self._log("report", f"the report cannot be delivered: {in_three_parts(error).found}")
            return False

    def _log_state(self) -> None:
        state = self._journal.state
        line = f"{state.state}: release {state.current or 'none'}"
        line += f", next {state.next}" if state.next and state.next != state.current else ""
        self._log("state", line + (f": {state.why}" if state.why else ""))

    def _log(self, subject: str, line: str) -> None:
        """Write a line to the log, unless it is the last one about its subject."""
        if self._logged.get(subject) != without_numbers(line):
            self._logged[subject] = without_numbers(line)
            self._parts.log(escaped(line))
