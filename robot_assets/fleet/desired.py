"""What params.yaml and the project's folder say of a fleet: its robots with their public keys, and its repository.

``data/fleet/root.json`` is the root metadata that robots start from, ``data/fleet/robots.yaml`` has the public key of each
enrolled robot (``robot: ed25519:...``); both are in git.
"""

from __future__ import annotations

ROOT_FILE = "data/fleet/root.json"
ROBOTS_FILE = "data/fleet/robots.yaml"
KEYS_VARIABLE = "ROBOT_ASSETS_FLEET_KEYS"
"""Folder of the private keys of the repository; default: ``.robot_assets/keys/fleet`` in the project."""
