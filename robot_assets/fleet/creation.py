"""The first metadata of a repository: version 1 of each role. ``timestamp.json`` is last, and makes it a repository."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from tuf.api.metadata import Root, Snapshot, Timestamp

from robot_assets.core.paths import shown_path
from robot_assets.core.publishing import publishing_file
from robot_assets.fleet.draft import Place
from robot_assets.fleet.errors import FleetError
from robot_assets.fleet.keys import RootKeys
from robot_assets.fleet.layout import ASSIGNMENTS_ROLE, RELEASES_ROLE
from robot_assets.fleet.lock import repository_lock
from robot_assets.fleet.metadata import (
    ROOT_ROLE,
    SNAPSHOT_ROLE,
    TARGETS_ROLE,
    TIMESTAMP_ROLE,
    meta_file,
    metadata_path,
    new_delegated,
    new_root,
    new_targets,
    parse,
    signed_bytes,
)
from robot_assets.fleet.seen import write_seen

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner

FIRST = 1


def create_metadata(place: Place, root_keys: RootKeys, online: Mapping[str, CryptoSigner], now: datetime) -> None:
    """Write the first metadata, and the root where the project trusts it.

    A call that was interrupted is repeated with the same keys: without ``timestamp.json`` nobody trusts anything.

    Raises:
        FleetError: There is a repository already, one of other keys, or a file cannot be written.
    """
    files = place.files
    with repository_lock(files):
        if files.has(metadata_path(TIMESTAMP_ROLE, FIRST)):
            root = _own_root(place, root_keys)
        else:
            root = _write(place, root_keys, online, now)
            write_seen(place.keys, {})
        if not place.root.exists():
            with files.explained("writing"), publishing_file(place.root) as staging:
                staging.write_bytes(root)


def refuse_existing(place: Place) -> None:
    """Raise FleetError before keys are made, where there is a repository, or a root that robots trust."""
    is_there = place.files.has(metadata_path(TIMESTAMP_ROLE, FIRST))
    if is_there and place.root.exists():
        raise _exists(place)
    if place.root.exists():
        raise FleetError(
            f"{place.root} exists, and {place.files.name} has no repository",
            needed="the repository of that root, or no root: robots that trust it accept no other repository",
            fix=f"restore the repository at fleet.url   # or, where no robot trusts it: rm {shown_path(place.root)}",
        )


def _write(place: Place, root_keys: RootKeys, online: Mapping[str, CryptoSigner], now: datetime) -> bytes:
    """Write all metadata; return that of the root."""
    public = {role: signer.public_key for role, signer in online.items()}
    offline = [signer.public_key for signer in root_keys.signers]
    root = signed_bytes(new_root(FIRST, offline, root_keys.threshold, public, now), root_keys.signers)
    parts = {TARGETS_ROLE: signed_bytes(new_targets(FIRST, public, now), root_keys.signers)}
    for role in (RELEASES_ROLE, ASSIGNMENTS_ROLE):
        parts[role] = signed_bytes(new_delegated(FIRST, (), now), [online[role]])
    expires = now + place.validity
    meta = {f"{role}.json": meta_file(FIRST, content) for role, content in parts.items()}
    snapshot = signed_bytes(Snapshot(version=FIRST, expires=expires, meta=meta), [online[SNAPSHOT_ROLE]])
    timestamp = Timestamp(version=FIRST, expires=expires, snapshot_meta=meta_file(FIRST, snapshot))
    for role, content in {ROOT_ROLE: root, **parts, SNAPSHOT_ROLE: snapshot}.items():
        place.files.write(metadata_path(role, FIRST), content)
    place.files.write(metadata_path(TIMESTAMP_ROLE, FIRST), signed_bytes(timestamp, [online[TIMESTAMP_ROLE]]))
    return root


def _own_root(place: Place, root_keys: RootKeys) -> bytes:
    """The root of a repository that this machine was making when it was interrupted; otherwise FleetError."""
    if place.root.exists():
        raise _exists(place)
    try:
        content = place.files.read(metadata_path(ROOT_ROLE, FIRST))
    except FileNotFoundError:
        raise _exists(place) from None
    where = place.files.where(metadata_path(ROOT_ROLE, FIRST))
    root: Root = parse(content, Root, where, "restore it from a backup").signed
    if set(root.roles[ROOT_ROLE].keyids) != {signer.public_key.keyid for signer in root_keys.signers}:
        raise _exists(place)
    return content


def _exists(place: Place) -> FleetError:
    return FleetError(
        f"{place.files.name} is a distribution repository already",
        needed="a place without one: a new root would lock out every robot that trusts the present one",
        fix="robot-assets fleet keys   # shows it; for another repository, set fleet.url in params.yaml",
    )
