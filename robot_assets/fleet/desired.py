"""What params.yaml and the project's folder say of a fleet: its robots with their public keys, and its repository.

``data/fleet/root.json`` is the root metadata that robots start from, ``data/fleet/robots.yaml`` has the public key of
each enrolled robot (``robot: ed25519:...``); both are in git.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from robot_assets.fleet.repository import Repository
    from robot_assets.fleet.spec import FleetSpec

ROOT_FILE = "data/fleet/root.json"
ROBOTS_FILE = "data/fleet/robots.yaml"
KEYS_VARIABLE = "ROBOT_ASSETS_FLEET_KEYS"
"""Folder of the private keys of the repository; default: ``.robot_assets/keys/fleet`` in the project."""


def open_repository(root: Path, fleet: FleetSpec) -> Repository:
    """The distribution repository of the project at ``root``; it may not exist yet.

    Raises:
        FleetError: ``fleet.url`` or $ROBOT_ASSETS_FLEET_KEYS cannot be used.
    """
    from robot_assets.fleet.files import Files
    from robot_assets.fleet.keys import keys_folder
    from robot_assets.fleet.repository import Repository

    url = fleet.url if "://" in fleet.url else str(root / fleet.url)
    return Repository(Files(url), keys_folder(root), root / ROOT_FILE, fleet.timestamp_days)
