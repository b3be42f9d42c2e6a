"""Replaces the key of a role. Robots follow by themselves: through ``N+1.root.json``, or the next ``targets``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from tuf.api.metadata import TargetFile

from robot_assets.fleet.draft import Draft, Place, drafting, newest_draft
from robot_assets.fleet.errors import FleetError
from robot_assets.fleet.keys import (
    RootKeys,
    finish_rotation,
    has_key,
    has_next_key,
    make_key,
    next_key_file,
    role_key,
)
from robot_assets.fleet.layout import ASSIGNMENTS_ROLE, RELEASES_ROLE, release_target
from robot_assets.fleet.lock import repository_lock
from robot_assets.fleet.metadata import ROOT_ROLE, SNAPSHOT_ROLE, TIMESTAMP_ROLE
from robot_assets.fleet.offline import (
    EXAMPLE,
    next_root,
    publication_signers,
    require_threshold,
    trust_newest,
    write_root,
    write_targets,
)
from robot_assets.fleet.published import read_target
from robot_assets.fleet.publishing import parse_assignments
from robot_assets.fleet.recovery import recovered

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner


@dataclass(frozen=True)
class Rotated:
    """A key that was replaced.

    Attributes:
        role: The role.
        key_ids: Ids of its keys now.
        root_version: Version of the root now.
    """

    role: str
    key_ids: tuple[str, ...]
    root_version: int


def rotate(
    place: Place, role: str, root_signers: Sequence[CryptoSigner], now: datetime, *, is_compromised: bool = False
) -> Rotated:
    """Replace the key of an online role by a new one; an interrupted call is continued.

    Args:
        place: The repository.
        role: ``timestamp``, ``snapshot``, ``releases`` or ``assignments``.
        root_signers: Private keys of the root, as many as its threshold.
        now: The present time.
        is_compromised: Whether others may have the old key: what it signed and was not published is left out, and of
            the releases only those that are assigned stay.

    Raises:
        FleetError: A key is missing, or the repository cannot be verified or written.
    """
    with _drafting(place, role, now) as draft:
        require_threshold(draft.published.root, root_signers, f"robot-assets fleet rotate {role}")
        following = make_key(next_key_file(place.keys, role))
        if role in (SNAPSHOT_ROLE, TIMESTAMP_ROLE):
            version = _rotate_top(draft, role, following, root_signers)
        else:
            version = _rotate_delegated(draft, role, following, root_signers, is_compromised)
        finish_rotation(place.keys, role)
    return Rotated(role, (following.public_key.keyid,), version)


def rotate_root(place: Place, root_signers: Sequence[CryptoSigner], new: RootKeys, now: datetime) -> Rotated:
    """Replace the keys of root and targets.

    Args:
        place: The repository.
        root_signers: Private keys of the present root, as many as its threshold.
        new: The new keys.
        now: The present time.

    Raises:
        FleetError: A key is missing, or the repository cannot be verified or written.
    """
    keys = [signer.public_key for signer in new.signers]
    with drafting(place, now, is_renewed=True) as draft:
        root = draft.published.root
        if set(root.roles[ROOT_ROLE].keyids) == {key.keyid for key in keys}:
            _finish_root(draft)
            return Rotated(ROOT_ROLE, tuple(key.keyid for key in keys), int(root.version))
        require_threshold(root, root_signers, "robot-assets fleet rotate root")
        both = _distinct([*root_signers, *new.signers])
        write_targets(draft, both)
        signers = publication_signers(draft)
        draft.publish(signers[SNAPSHOT_ROLE], signers[TIMESTAMP_ROLE])
        write_root(draft, next_root(root, now, offline=keys, threshold=new.threshold), both)
    return Rotated(ROOT_ROLE, tuple(key.keyid for key in keys), root.version + 1)


@contextmanager
def _drafting(place: Place, role: str, now: datetime) -> Iterator[Draft]:
    """A draft; where the rotation of a lost key was interrupted, which the new key alone signed, of what verifies."""
    place.require()
    is_interrupted = has_next_key(place.keys, role) and not has_key(place.keys, role)
    with repository_lock(place.files) as lock:
        try:
            draft = newest_draft(place, lock, now)
        except FleetError:
            if not is_interrupted:
                raise
            found = recovered(place)
            draft = Draft(place, found, lock, now, dict(found.parts))
        yield draft


def _finish_root(draft: Draft) -> None:
    """Trust a root that was written before this was interrupted; where it is trusted, its keys are no new ones."""
    if len(draft.published.roots) == 1:
        raise FleetError(
            "these are the present root keys",
            needed="a new folder for the new root keys",
            fix=f"robot-assets fleet rotate root --root-out NEW_FOLDER {EXAMPLE}",
        )
    trust_newest(draft)


def _rotate_top(draft: Draft, role: str, following: CryptoSigner, root_signers: Sequence[CryptoSigner]) -> int:
    """Sign snapshot or timestamp with both keys, then write the root that has the new one; its version."""
    root = draft.published.root
    if following.public_key.keyid in root.roles[role].keyids:  # killed before the key was renamed
        trust_newest(draft)
        return int(root.version)
    signers = publication_signers(draft, lost=role)
    signers[role].append(following)
    draft.publish(signers[SNAPSHOT_ROLE], signers[TIMESTAMP_ROLE], renews_snapshot=role == SNAPSHOT_ROLE)
    write_root(draft, next_root(root, draft.now, {role: following.public_key}), root_signers)
    return int(root.version) + 1


def _rotate_delegated(
    draft: Draft, role: str, following: CryptoSigner, root_signers: Sequence[CryptoSigner], is_compromised: bool
) -> int:
    """Write targets with the new key and metadata that both keys have signed; one publication has both."""
    published = draft.published
    signers = publication_signers(draft)
    if following.public_key.keyid not in published.targets.get_delegated_role(role).keyids:
        files = _trustworthy(draft, role) if is_compromised else draft.parts[role].targets
        write_targets(draft, root_signers, {role: following.public_key})
        draft.write_delegated(role, files.values(), [*_old_key(draft, role), following])
    draft.publish(signers[SNAPSHOT_ROLE], signers[TIMESTAMP_ROLE])
    return int(published.root.version)


def _old_key(draft: Draft, role: str) -> list[CryptoSigner]:
    """The old key, with which a process that reads the published targets verifies; none where it was lost."""
    expected = draft.published.targets.get_delegated_role(role).keyids
    if not has_key(draft.place.keys, role):
        return []
    old = role_key(draft.place.keys, role)
    return [old] if old.public_key.keyid in expected else []


def _trustworthy(draft: Draft, role: str) -> Mapping[str, TargetFile]:
    """What stays of a role whose key others may have: what was published; of releases, what is assigned as well."""
    published = draft.published.parts[role].targets
    if role != RELEASES_ROLE:
        return published
    kept: dict[str, TargetFile] = {}
    for file in draft.published.parts[ASSIGNMENTS_ROLE].targets.values():
        group = file.path.split("/")[1].removesuffix(".json")
        assigned = parse_assignments(read_target(draft.place.files, file), group)
        found = published.get(release_target(group, assigned.release)) if assigned.release else None
        if found is not None and found.hashes["sha256"] == assigned.bundle_sha256:
            kept[found.path] = found
    return kept


def _distinct(signers: Sequence[CryptoSigner]) -> tuple[CryptoSigner, ...]:
    return tuple({signer.public_key.keyid: signer for signer in signers}.values())
