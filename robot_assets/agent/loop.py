"""The agent as a service: polls with jitter until it is asked to end, and notifies systemd."""

from __future__ import annotations

import os
import random
import signal
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from robot_assets.agent.state import AgentState, locked
from robot_assets.agent.update import Agent
from robot_assets.fleet.reports import IN_PROGRESS, State

JITTER = 0.2
"""Share by which a poll is earlier or later: robots that start together do not poll together."""

PROVING_S = 1.0
"""Longest time between two looks at the health of what is being proven."""

Wait = Callable[[float], bool]
"""Waits for some seconds, or until the agent is asked to end; whether it is."""


def run(agent: Agent) -> None:
    """Poll until SIGTERM or SIGINT.

    Raises:
        AgentError: Another agent works in the state folder.
        OSError: The state folder cannot be created.
    """
    with locked(agent.robot.state), _stopping(agent) as stop:
        serve(agent, stop.wait)
        notify("STOPPING=1")


def serve(agent: Agent, wait: Wait) -> None:
    """Poll until ``wait`` says that it is enough."""
    _guarded(agent, agent.recover)
    notify("READY=1")  # what serves may start now: a release that made the device restart is rolled back
    while True:
        _guarded(agent, agent.once)
        notify(f"WATCHDOG=1\nSTATUS={_status(agent.state)}")
        if _wait(agent, wait):
            return


def settle(agent: Agent, wait: Wait) -> AgentState:
    """Poll once and go on until nothing is downloaded or proven any more."""
    with locked(agent.robot.state):
        state = agent.once()
        while state.state in IN_PROGRESS and not wait(PROVING_S):
            state = agent.step()
        while state.state is State.DOWNLOADING and not agent.is_stopping and agent.is_downloading:
            state = agent.once()
        return state


def _guarded(agent: Agent, step: Callable[[], object]) -> None:
    """Do a step. A fault of the agent itself is logged, and does not end it either."""
    try:
        step()
    except Exception:
        agent.parts.log("".join(traceback.format_exc().splitlines(keepends=True)[-12:]).rstrip())


def _wait(agent: Agent, wait: Wait) -> bool:
    """Wait for the next poll; meanwhile a release that is being proven is looked at more often."""
    poll_s = agent.robot.poll_s
    until = time.monotonic() + poll_s * random.uniform(1 - JITTER, 1 + JITTER)
    while (left := until - time.monotonic()) > 0:
        if agent.state.state is State.DOWNLOADING and agent.is_downloading:
            return agent.is_stopping
        is_proving = agent.state.state in IN_PROGRESS
        if wait(min(left, PROVING_S) if is_proving else left):
            return True
        if is_proving:
            _guarded(agent, agent.step)
            notify("WATCHDOG=1")
    return agent.is_stopping


@contextmanager
def _stopping(agent: Agent) -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set."""
    stop = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        agent.stop()
        stop.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def notify(message: str) -> None:
    """Send a message to the service manager (sd_notify(3)), if there is one; it does not answer."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = f"\0{address[1:]}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as connection:
        try:
            connection.connect(address)
            connection.sendall(message.encode())
        except OSError:
            return


def _status(state: AgentState) -> str:
    """One line for ``systemctl status``."""
    return " ".join(f"{state.state}: {state.current or 'no release'} {state.why}".split())[:400]
