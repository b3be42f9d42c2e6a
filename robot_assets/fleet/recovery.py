"""Finds the newest metadata that verifies, where ``timestamp.json`` does not lead to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import PurePosixPath

from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, Targets, Timestamp

from robot_assets.fleet.draft import Place
from robot_assets.fleet.errors import FleetError
from robot_assets.fleet.layout import METADATA
from robot_assets.fleet.metadata import SNAPSHOT_ROLE, TARGETS_ROLE, TIMESTAMP_ROLE, is_signed, metadata_path, parse
from robot_assets.fleet.published import DELEGATED, REPAIR, Part, Published, read_root, read_roots, verified_part
from robot_assets.fleet.seen import read_seen


def recovered(place: Place) -> Published:
    """The newest metadata of each role that verifies, as if a timestamp led to it.

    Raises:
        FleetError: A role has none, or ``targets``, which only the root keys sign, is older than what was seen here.
    """
    seen = read_seen(place.keys)
    roots = tuple(read_roots(place.files, read_root(place.root), str(place.root)))
    root = roots[-1].signed
    targets = _newest_part(place, root, TARGETS_ROLE)
    _require_seen(targets, seen.get(TARGETS_ROLE, 0))
    parts = {role: _newest_part(place, targets.metadata.signed, role) for role in DELEGATED}
    snapshot = max(seen.get(SNAPSHOT_ROLE, 1), _newest_snapshot(place, root))
    timestamp = max(seen.get(TIMESTAMP_ROLE, 1), _timestamp_version(place, root))
    return Published(
        roots,
        Metadata(Timestamp(version=timestamp, snapshot_meta=MetaFile(snapshot))),
        Metadata(Snapshot(version=snapshot)),
        {TARGETS_ROLE: targets, **parts},
    )


def _require_seen(targets: Part, seen: int) -> None:
    if targets.version < seen:
        raise FleetError(
            f"the newest targets metadata has version {targets.version}, and version {seen} was seen here",
            needed=f"{metadata_path(TARGETS_ROLE, seen)}, which only the root keys can sign",
            fix="robot-assets fleet keys   # after you restored a later backup of the repository",
        )


def _newest_part(place: Place, delegator: Root | Targets, role: str) -> Part:
    for version in sorted(_versions(place, role), reverse=True):
        if (part := verified_part(place.files, delegator, role, version)) is not None:
            return part
    raise FleetError(
        f"{place.files.name} has no {role} metadata that verifies",
        needed=f"metadata that the keys of {role} have signed",
        fix="robot-assets fleet keys   # after you restored a backup of the repository",
    )


def _newest_snapshot(place: Place, root: Root) -> int:
    versions = sorted(_versions(place, SNAPSHOT_ROLE), reverse=True)
    return next((version for version in versions if _is_snapshot(place, root, version)), 1)


def _is_snapshot(place: Place, root: Root, version: int) -> bool:
    with suppress(FleetError, FileNotFoundError):
        found = parse(place.files.read(metadata_path(SNAPSHOT_ROLE, version)), Snapshot, "", REPAIR)
        return is_signed(root, SNAPSHOT_ROLE, found)
    return False


def _versions(place: Place, role: str) -> Iterator[int]:
    """Versions of a role whose metadata is there, verified or not."""
    for listed in place.files.listing(METADATA):
        number, _, name = PurePosixPath(listed.path).name.partition(".")
        if name == f"{role}.json" and number.isdecimal():
            yield int(number)


def _timestamp_version(place: Place, root: Root) -> int:
    """Version of the timestamp that is there; 1 where it is lost or does not verify."""
    with suppress(FleetError, FileNotFoundError):
        found = parse(place.files.read(metadata_path(TIMESTAMP_ROLE, 0)), Timestamp, "", REPAIR)
        if is_signed(root, TIMESTAMP_ROLE, found):
            return int(found.signed.version)
    return 1
