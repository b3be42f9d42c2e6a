"""The highest versions of metadata that this machine has seen: a repository that goes back is an error.

A file beside the private keys. On a cluster the keys are mounted read-only and pods remember nothing; there, robots are
the ones that refuse older versions.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path

from robot_assets.core.documents import write_json
from robot_assets.core.publishing import publishing_file
from robot_assets.fleet.errors import FleetError

SEEN_FILE = "seen_versions.json"


def read_seen(keys: Path) -> dict[str, int]:
    """Highest version by role. A file that is missing or damaged is as none."""
    with contextlib.suppress(OSError, ValueError):
        found = json.loads((keys / SEEN_FILE).read_bytes())
        if isinstance(found, dict):
            return {str(role): version for role, version in found.items() if isinstance(version, int)}
    return {}


def check_seen(keys: Path, versions: Mapping[str, int], name: str) -> None:
    """Raise FleetError when a role has a lower version than this machine has seen."""
    for role, seen in read_seen(keys).items():
        if versions.get(role, seen) < seen:
            raise FleetError(
                f"{name} went back: its {role} metadata has version {versions[role]}, and version {seen} was seen here",
                needed=f"version {seen} or later: robots that have seen it refuse older ones",
                fix="robot-assets fleet refresh --repair   # where a backup was restored: goes on above that version",
            )


def keep_seen(keys: Path, versions: Mapping[str, int]) -> None:
    """Remember versions, where the folder of the keys can be written."""
    seen = read_seen(keys)
    highest = seen | {role: max(version, seen.get(role, 0)) for role, version in versions.items()}
    if highest != seen:
        write_seen(keys, highest)


def write_seen(keys: Path, versions: Mapping[str, int]) -> None:
    """Replace what is remembered, where the folder of the keys can be written."""
    with contextlib.suppress(OSError), publishing_file(keys / SEEN_FILE) as staging:
        write_json(staging, dict(versions))
