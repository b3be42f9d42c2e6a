"""The keys of each role, which of them are here, and when the metadata of each role expires."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from robot_assets.fleet.draft import Place
from robot_assets.fleet.errors import FleetError
from robot_assets.fleet.keys import ROOT_KEYS, has_key, key_file, read_key, role_key
from robot_assets.fleet.layout import ASSIGNMENTS_ROLE, RELEASES_ROLE
from robot_assets.fleet.metadata import ROOT_ROLE, SNAPSHOT_ROLE, SOON, TARGETS_ROLE, TIMESTAMP_ROLE

ROLES = (ROOT_ROLE, TARGETS_ROLE, SNAPSHOT_ROLE, TIMESTAMP_ROLE, RELEASES_ROLE, ASSIGNMENTS_ROLE)


@dataclass(frozen=True)
class RoleKeys:
    """The keys and the metadata of a role.

    Attributes:
        role: The role.
        version: Of its metadata.
        key_ids: Of its public keys.
        threshold: Signatures that its metadata needs.
        expires: When its metadata expires.
        private: Which private keys are here: ``here``, ``not here``, ``1 of 3 here``, ``another key is here``.
        warning: What has to be done soon; empty: nothing.
    """

    role: str
    version: int
    key_ids: tuple[str, ...]
    threshold: int
    expires: datetime
    private: str
    warning: str

    def as_json(self) -> dict[str, Any]:
        """All facts as values of JSON."""
        return {**asdict(self), "key_ids": list(self.key_ids), "expires": self.expires.isoformat()}


def inventory(place: Place, now: datetime) -> list[RoleKeys]:
    """The keys of all roles. Raises FleetError."""
    published = place.published()
    found = []
    for role in ROLES:
        delegator = published.targets if role in (RELEASES_ROLE, ASSIGNMENTS_ROLE) else published.root
        stated = delegator.get_delegated_role(role)
        expires = published.expiries[role]
        private = _private(place.keys, role, tuple(stated.keyids))
        warning = expiry_warning(role, expires, now)
        key_ids = tuple(stated.keyids)
        found.append(RoleKeys(role, published.versions[role], key_ids, stated.threshold, expires, private, warning))
    return found


def expiry_warning(role: str, expires: datetime, now: datetime) -> str:
    """The sentence about metadata that has expired, or that is valid for a year and expires soon; else nothing."""
    fix = "robot-assets fleet refresh"
    if role in (ROOT_ROLE, TARGETS_ROLE):
        fix += " --root-key ROOT_1.pem --root-key ROOT_2.pem"
    if expires <= now:
        return f"expired on {expires:%Y-%m-%d}, and robots take nothing new: {fix}"
    if role not in (SNAPSHOT_ROLE, TIMESTAMP_ROLE) and expires - now < SOON:
        return f"expires in {(expires - now).days} days: {fix}"
    return ""


def _private(keys: Path, role: str, key_ids: tuple[str, ...]) -> str:
    if role in (ROOT_ROLE, TARGETS_ROLE):
        here = sum(_is_one_of(path, key_ids) for path in sorted((keys / ROOT_KEYS).glob("*.pem")))
        return f"{here} of {len(key_ids)} here: move them offline" if here else "not here"
    if not has_key(keys, role):
        return "not here"
    try:
        return "here" if role_key(keys, role).public_key.keyid in key_ids else f"another key at {key_file(keys, role)}"
    except FleetError as error:
        return error.found


def _is_one_of(path: Path, key_ids: tuple[str, ...]) -> bool:
    try:
        return read_key(path).public_key.keyid in key_ids
    except FleetError:
        return False
