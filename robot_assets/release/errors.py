"""Errors of releases.

::

    RobotAssetsError
    └── ReleaseError         a release that cannot be built, or is not what it should be
"""

from __future__ import annotations

from robot_assets.core.errors import RobotAssetsError


class ReleaseError(RobotAssetsError):
    """A release cannot be built, or is not what its ``bundle.json`` states."""
