"""Runs ``on_switch`` of robot.yaml: makes what serves load the release that ``current`` points at."""

from __future__ import annotations

from typing import Final

from robot_assets.agent.command import run
from robot_assets.agent.spec import RobotSpec
from robot_assets.fleet.errors import AgentError

LIMIT_S: Final = 120.0


def run_on_switch(robot: RobotSpec) -> None:
    """Run the command, if robot.yaml has one.

    Raises:
        AgentError: It does not start, does not end in time, or exits with another code than 0.
    """
    if not robot.on_switch:
        return
    outcome = run(robot.on_switch, LIMIT_S)
    if outcome.code != 0:
        raise AgentError(
            f"on_switch: {outcome.what}",
            needed="a command that exits with 0 once what serves has been made to load `current`",
            fix="run the command of on_switch in robot.yaml by hand, and correct it",
        )
