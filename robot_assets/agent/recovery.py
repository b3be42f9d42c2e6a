"""The start of the agent: what ``state.json`` and the disk say is made one again, whatever ended the last process."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from robot_assets.agent.sets import Sets
from robot_assets.agent.state import STATE_FILE, AgentState, read_state, set_id
from robot_assets.fleet.errors import AgentError
from robot_assets.fleet.reports import State

STARTS_MAX = 3
"""Starts of the agent while one release is proven: one that takes the agent along each time is rolled back."""


@dataclass(frozen=True)
class Recovered:
    """The state after a start.

    Attributes:
        state: To go on with.
        roll_back: Why the release that was being proven has failed; None: it has not.
        note: What was repaired; empty: nothing.
    """

    state: AgentState
    roll_back: str | None = None
    note: str = ""


def load(folder: Path, sets: Sets, boot_id: str) -> Recovered:
    """The state of the last process; where the file is damaged or lost, what the disk says.

    Raises:
        OSError: The disk refuses.
    """
    path = folder / STATE_FILE
    try:
        state = read_state(folder)
    except AgentError as error:
        os.replace(path, path.with_name(f"{STATE_FILE}.damaged"))
        return Recovered(_from_disk(sets, boot_id), note=f"{error.found}; it is {STATE_FILE}.damaged now")
    if state == AgentState() and sets.linked and not path.exists():
        return Recovered(_from_disk(sets, boot_id), note=f"{path} was lost")
    return Recovered(state)


def recovered(state: AgentState, sets: Sets, boot_id: str) -> Recovered:
    """What to do with the state after a start, whose set is complete.

    Raises:
        OSError: The disk refuses.
    """
    if state.state in (State.SWITCHED, State.PROVING):
        return _while_proving(state, boot_id)
    _repair_link(state, sets)
    return Recovered(state)


def _while_proving(state: AgentState, boot_id: str) -> Recovered:
    if state.boot_id != boot_id:
        return Recovered(state, "the device restarted while it was proven")
    if state.starts >= STARTS_MAX:
        return Recovered(state, f"the agent started {state.starts} times while it was proven")
    return Recovered(state.model_copy(update={"starts": state.starts + 1}))


def _repair_link(state: AgentState, sets: Sets) -> None:
    """``state.json`` is written before ``current`` is replaced, so it is right where the two differ."""
    wanted = set_id(state.current) if state.current else None
    if sets.linked != wanted and (state.current is None or sets.has(state.current)):
        sets.switch(state.current)


def _from_disk(sets: Sets, boot_id: str) -> AgentState:
    """A state without history: the release that ``current`` points at is proven again."""
    versions = [f"{name}.dir" for name in sets.ids() if sets.has(name)]
    linked = f"{sets.linked}.dir" if sets.linked else None
    others = tuple(version for version in versions if version != linked)
    if linked not in versions:
        return AgentState(committed=others)
    return AgentState(
        state=State.PROVING,
        current=linked,
        next=linked,
        last_good=others[-1] if others else None,
        committed=others,
        boot_id=boot_id,
    )
