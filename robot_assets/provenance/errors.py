"""Errors of provenance."""

from __future__ import annotations

from robot_assets.core.errors import RobotAssetsError


class ProvenanceError(RobotAssetsError):
    """A key, an envelope or a statement that is not usable. Never contains any part of a private key."""
