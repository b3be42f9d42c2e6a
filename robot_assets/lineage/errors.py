"""Errors of lineage. Here and not in ``robot_assets.core.errors``, which is part of the code of every stage."""

from __future__ import annotations

from robot_assets.core.errors import RobotAssetsError


class LineageError(RobotAssetsError):
    """What was asked about the history of an asset cannot be answered, or must not be recorded."""
