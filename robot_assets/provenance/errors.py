"""Errors of provenance. Here and not in ``robot_assets.core.errors``, which is part of the code of every stage."""

from __future__ import annotations

from robot_assets.core.errors import RobotAssetsError


class ProvenanceError(RobotAssetsError):
    """A key, an envelope or a statement is not what it must be. Never holds any part of a private key."""
