"""TUF metadata as bytes: made, signed, parsed and verified. Knows no files and no keys' places.

Root and targets are signed by the same keys, with a threshold. ``targets`` has no target of its own; it delegates
``releases/*/*`` to the role ``releases`` and ``assignments/*`` to the role ``assignments``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Final, TypeVar

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Key,
    Metadata,
    MetaFile,
    Role,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from robot_assets.fleet.errors import FleetError
from robot_assets.fleet.layout import ASSIGNMENTS_ROLE, METADATA, RELEASES_ROLE, TARGETS

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner

ROOT_ROLE: Final = "root"
TARGETS_ROLE: Final = "targets"
SNAPSHOT_ROLE: Final = "snapshot"
TIMESTAMP_ROLE: Final = "timestamp"
PATHS: Final = {RELEASES_ROLE: "releases/*/*", ASSIGNMENTS_ROLE: "assignments/*"}
YEAR: Final = timedelta(days=365)
"""Validity of root, targets, releases and assignments. A timestamp is valid for days."""
SOON: Final = timedelta(days=60)
"""Metadata that is valid for a year is renewed, or its renewal asked for, this long before it expires."""
ADDED: Final = "added"
"""Fact of a release: the version of the metadata that first had it."""
RELEASE: Final = "release"
"""Fact of assignments: the data version of the release that they name."""

AnySigned = TypeVar("AnySigned", Root, Targets, Snapshot, Timestamp)


def metadata_path(role: str, version: int) -> str:
    """Path of the metadata of a role in the repository; that of ``timestamp`` has no version in its name."""
    return f"{METADATA}/{role}.json" if role == TIMESTAMP_ROLE else f"{METADATA}/{version}.{role}.json"


def target_path(target: str, digest: str) -> str:
    """Path of a target in the repository: python-tuf's client puts the sha256 before the last name."""
    folder, _, name = target.rpartition("/")
    return f"{TARGETS}/{folder}/{digest}.{name}"


def new_root(version: int, keys: Sequence[Key], threshold: int, online: Mapping[str, Key], now: datetime) -> Root:
    """Root metadata.

    Args:
        version: Of the metadata.
        keys: Public keys of root and targets.
        threshold: Signatures that root and targets need.
        online: Public keys of ``snapshot`` and ``timestamp``.
        now: The present time.
    """
    offline = [key.keyid for key in keys]
    known = {key.keyid: key for key in (*keys, online[SNAPSHOT_ROLE], online[TIMESTAMP_ROLE])}
    roles = {
        ROOT_ROLE: Role(list(offline), threshold),
        TARGETS_ROLE: Role(list(offline), threshold),
        SNAPSHOT_ROLE: Role([online[SNAPSHOT_ROLE].keyid], 1),
        TIMESTAMP_ROLE: Role([online[TIMESTAMP_ROLE].keyid], 1),
    }
    return Root(version=version, expires=now + YEAR, keys=known, roles=roles, consistent_snapshot=True)


def new_targets(version: int, delegated: Mapping[str, Key], now: datetime) -> Targets:
    """Top-level targets metadata with the two delegations.

    Args:
        version: Of the metadata.
        delegated: Public keys of ``releases`` and ``assignments``.
        now: The present time.
    """
    roles = {role: DelegatedRole(role, [delegated[role].keyid], 1, True, paths=[path]) for role, path in PATHS.items()}
    keys = {key.keyid: key for key in (delegated[role] for role in PATHS)}
    return Targets(version=version, expires=now + YEAR, delegations=Delegations(keys, roles))


def new_delegated(version: int, files: Iterable[TargetFile], now: datetime) -> Targets:
    """Metadata of ``releases`` or ``assignments``."""
    return Targets(version=version, expires=now + YEAR, targets={file.path: file for file in files})


def meta_file(version: int, content: bytes) -> MetaFile:
    """What a snapshot or a timestamp states of other metadata."""
    return MetaFile(version, len(content), {"sha256": sha256(content).hexdigest()})


def target_file(target: str, content: bytes, facts: Mapping[str, object] | None = None) -> TargetFile:
    """A target, with facts that no robot needs."""
    file = TargetFile(len(content), {"sha256": sha256(content).hexdigest()}, target)
    if facts:
        file.unrecognized_fields["custom"] = dict(facts)
    return file


def custom(file: TargetFile, name: str) -> object:
    """A fact that was stored with a target; None where it is not stated."""
    facts = file.custom
    return facts.get(name) if isinstance(facts, dict) else None


def signed_bytes(content: AnySigned, signers: Iterable[CryptoSigner]) -> bytes:
    """Metadata with the signatures of ``signers``, as a file."""
    metadata: Metadata[AnySigned] = Metadata(content)
    for signer in signers:
        metadata.sign(signer, append=True)
    return metadata.to_bytes()


def parse(content: bytes, kind: type[AnySigned], where: str, fix: str) -> Metadata[AnySigned]:
    """Metadata of a role, not verified.

    Raises:
        FleetError: It is no such metadata, such as one that is cut in half.
    """
    try:
        metadata: Metadata[AnySigned] = Metadata.from_bytes(content)
    except RepositoryError:
        found = f"{where} is damaged: no TUF metadata"
        raise FleetError(found, needed="the metadata as it was written", fix=fix) from None
    if not isinstance(metadata.signed, kind):
        found = f"{where} is metadata of the kind {metadata.signed.type!r}"
        raise FleetError(found, needed=f"metadata of the kind {kind.type!r}", fix=fix)
    return metadata


def verify(delegator: Root | Targets, role: str, metadata: Metadata[AnySigned], where: str, fix: str) -> None:
    """Raise FleetError unless enough of the keys that ``delegator`` names for ``role`` have signed ``metadata``."""
    if not is_signed(delegator, role, metadata):
        raise FleetError(
            f"{where} is not signed by the keys of the role {role}: it was altered, or is of another repository",
            needed=f"metadata that the keys of {role} have signed",
            fix=fix,
        )


def is_signed(delegator: Root | Targets, role: str, metadata: Metadata[AnySigned]) -> bool:
    """Whether enough of the keys that ``delegator`` names for ``role`` have signed ``metadata``."""
    return bool(delegator.get_verification_result(role, metadata.signed_bytes, metadata.signatures))


def follow_root(trusted: Metadata[Root], content: bytes, where: str, fix: str) -> Metadata[Root]:
    """The next root, which the keys of both have signed.

    Raises:
        FleetError: It is damaged, not the next version, or not signed by the trusted root's keys and by its own.
    """
    following = parse(content, Root, where, fix)
    if following.signed.version != trusted.signed.version + 1:
        found = f"{where} has version {following.signed.version}"
        raise FleetError(found, needed=f"version {trusted.signed.version + 1}", fix=fix)
    verify(trusted.signed, ROOT_ROLE, following, where, fix)
    verify(following.signed, ROOT_ROLE, following, where, fix)
    return following


def keys_of(delegator: Root | Targets, role: str) -> tuple[Key, ...]:
    """Public keys of a role."""
    return tuple(delegator.get_key(keyid) for keyid in delegator.get_delegated_role(role).keyids)
