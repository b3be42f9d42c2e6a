"""Renews metadata before it expires, and repairs a repository that was damaged or restored from a backup."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from robot_assets.fleet.draft import Draft, Place, drafting
from robot_assets.fleet.keys import has_key
from robot_assets.fleet.lock import repository_lock
from robot_assets.fleet.metadata import SNAPSHOT_ROLE, SOON, TIMESTAMP_ROLE
from robot_assets.fleet.offline import next_root, publication_signers, require_threshold, write_root, write_targets
from robot_assets.fleet.published import DELEGATED
from robot_assets.fleet.recovery import recovered
from robot_assets.fleet.seen import read_seen

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner


def refresh(place: Place, now: datetime, root_signers: Sequence[CryptoSigner] = ()) -> None:
    """Renew timestamp and snapshot, what else expires soon and has its key here, and with root keys root and targets.

    Raises:
        FleetError: A key is missing, or the repository cannot be verified or written.
    """
    with drafting(place, now, is_renewed=bool(root_signers)) as draft:
        root = draft.published.root
        if root_signers:
            require_threshold(root, root_signers, "robot-assets fleet refresh")
            write_targets(draft, root_signers)
        _renew_delegated(draft)
        signers = publication_signers(draft)
        draft.publish(signers[SNAPSHOT_ROLE], signers[TIMESTAMP_ROLE], renews_snapshot=True)
        if root_signers:
            write_root(draft, next_root(root, now), root_signers)


def repair(place: Place, now: datetime) -> None:
    """Sign the newest metadata that verifies, with versions above all that this machine has seen.

    For a repository whose snapshot or timestamp is damaged or lost, and for one that was restored from a backup, which
    robots refuse until its versions are above those that they know.

    Raises:
        FleetError: A key is missing, or metadata that only the root keys can sign is lost.
    """
    with repository_lock(place.files) as lock:
        found = recovered(place)
        draft = Draft(place, found, lock, now, dict(found.parts))
        _raise_delegated(draft)
        signers = publication_signers(draft)
        draft.publish(signers[SNAPSHOT_ROLE], signers[TIMESTAMP_ROLE], renews_snapshot=True)


def _renew_delegated(draft: Draft) -> None:
    for role in DELEGATED:
        part = draft.parts[role]
        if part.metadata.signed.expires - draft.now < SOON and has_key(draft.place.keys, role):
            draft.write_delegated(role, part.targets.values(), [draft.signer(role, draft.published.targets)])


def _raise_delegated(draft: Draft) -> None:
    """Write delegated roles again whose version is below the one that was seen."""
    seen = read_seen(draft.place.keys)
    for role in DELEGATED:
        part = draft.parts[role]
        if part.version < seen.get(role, 0):
            signer = draft.signer(role, draft.published.targets)
            version = draft.free_version(role, seen[role])
            draft.write_delegated(role, part.targets.values(), [signer], version - 1)
