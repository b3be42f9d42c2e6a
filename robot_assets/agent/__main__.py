"""The agent as a process of its own, without the command line's libraries: ``python -m robot_assets.agent FILE``."""

from __future__ import annotations

import sys
from pathlib import Path

from robot_assets.agent.light_imports import import_signers
from robot_assets.agent.spec import DEFAULT_PATH


def main() -> int:
    """Run the agent until it is asked to end; the exit code."""
    import_signers()
    from robot_assets.agent.loop import run
    from robot_assets.agent.robot_yaml import check_files, load_robot
    from robot_assets.agent.update import Agent
    from robot_assets.core.errors import RobotAssetsError
    from robot_assets.core.os_errors import system_error

    try:
        robot = load_robot(Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_PATH)
        check_files(robot)
        run(Agent(robot))
    except (RobotAssetsError, OSError) as error:
        known = error if isinstance(error, RobotAssetsError) else system_error(error)
        sys.stderr.write(f"error: {known or error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
