"""The state of the agent, in memory and on the disk, and what it has to say in one round."""

from __future__ import annotations

import re
from pathlib import Path

from robot_assets.agent.state import AgentState, write_state
from robot_assets.core.errors import RobotAssetsError
from robot_assets.core.os_errors import system_error
from robot_assets.fleet.errors import AgentError
from robot_assets.fleet.reports import State


class Journal:
    """The state and its file.

    Args:
        folder: The state folder.

    Attributes:
        state: The present state.
        is_open: Whether it was read. What was not read is not replaced.
        healthy_s: Seconds of health since the commit; written with the next change.
        notes: What has to be said in this round beside what it ends with.
        is_held: Whether one of them holds the robot.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.state = AgentState()
        self.is_open = False
        self.healthy_s = 0.0
        self.notes: list[str] = []
        self.is_held = False

    def open(self, state: AgentState, *, is_new: bool) -> None:
        """Begin with a state.

        Args:
            state: The state.
            is_new: Whether it is another one than that in the file.

        Raises:
            OSError: It cannot be written.
        """
        if is_new:
            write_state(self._folder, state)
        self.state, self.healthy_s, self.is_open = state, state.healthy_s, True

    def close(self, why: str) -> None:
        """The file cannot be read or written: say why, and read it again at the next poll."""
        self.state, self.is_open = AgentState(state=State.HELD, why=why), False

    def begin_round(self) -> None:
        """Forget what the last round had to say."""
        self.notes, self.is_held = [], False

    def joined(self, *reasons: str) -> str:
        """The reasons and the notes in one line."""
        return "; ".join(dict.fromkeys(reason for reason in (*reasons, *self.notes) if reason))

    def save(self, **changes: object) -> None:
        """Make changes durable. Only then are they true.

        Raises:
            OSError: The disk refuses; the old state is true.
        """
        new = self.state.model_copy(update={**changes, "healthy_s": self.healthy_s})
        if _steady(new) == _steady(self.state):
            new = new.model_copy(update={"why": self.state.why})
        else:
            write_state(self._folder, new)
        self.state = new

    def save_if_possible(self, **changes: object) -> None:
        """Make changes that are of no importance after a restart; on a disk that refuses, in memory alone."""
        try:
            self.save(**changes)
        except OSError:
            self.state = self.state.model_copy(update=changes)


def in_three_parts(error: Exception) -> RobotAssetsError:
    """An error of the system with found, needed and fix; one of ours as it is."""
    if isinstance(error, RobotAssetsError):
        return error
    return system_error(error) or AgentError(str(error), needed="a disk and a system that work", fix="dmesg | tail")


def without_numbers(text: str) -> str:
    """A text in which passing time changes nothing."""
    return re.sub(r"\b\d+(\.\d+)?\b", "#", text)


def _steady(state: AgentState) -> AgentState:
    """The state without what changes all the time."""
    return state.model_copy(update={"healthy_s": 0.0, "why": without_numbers(state.why)})
