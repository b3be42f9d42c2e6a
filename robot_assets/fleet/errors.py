"""Errors of the fleet.

::

    RobotAssetsError
    └── FleetError           releases, the distribution repository, rollouts, reports
        └── AgentError       what stops the agent of a robot (robot_assets.agent)
"""

from __future__ import annotations

from robot_assets.core.errors import RobotAssetsError


class FleetError(RobotAssetsError):
    """A release, the distribution repository, a rollout or a report is not what it should be."""


class AgentError(FleetError):
    """The agent of a robot cannot do what it is to do."""
