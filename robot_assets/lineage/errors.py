"""Errors of lineage."""

from __future__ import annotations

from robot_assets.core.errors import RobotAssetsError


class LineageError(RobotAssetsError):
    """A question about the history of an asset that has no answer, or a record that must not be written."""
