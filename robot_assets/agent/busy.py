"""Whether the robot must not switch now: a file exists, or a command exits with 0.

What cannot be found out counts as busy: a robot that moves must not lose its engines because a script is missing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from robot_assets.agent.command import run
from robot_assets.agent.spec import BusySpec, RobotSpec

COMMAND_LIMIT_S: Final = 10.0
_CANNOT_RUN = frozenset({126, 127})
"""Exit codes of shells for a command that they cannot run or find."""


def check(robot: RobotSpec) -> str | None:
    """Why the robot must not switch now; None: it may."""
    spec = robot.busy or BusySpec()
    return (_file(spec.file) if spec.file else None) or (_command(spec.command) if spec.command else None)


def _file(path: Path) -> str | None:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return f"busy is assumed: {path} cannot be read: {error.strerror}"
    return f"{path} exists"


def _command(command: tuple[str, ...]) -> str | None:
    outcome = run(command, COMMAND_LIMIT_S)
    if outcome.code == 0:
        return outcome.what
    is_unknown = outcome.code is None or outcome.code in _CANNOT_RUN
    return f"busy is assumed: {outcome.what}" if is_unknown else None
