"""The next state of a repository: metadata written under the lock, and published by one write of ``timestamp.json``.

Versioned metadata is never replaced. What was written before a process was killed is either the basis of the next
process or ignored by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from tuf.api.metadata import MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp

from robot_assets.core.paths import shown_path
from robot_assets.fleet.errors import FleetError
from robot_assets.fleet.files import Files
from robot_assets.fleet.keys import has_next_key, key_file, next_key_file, read_key, role_key
from robot_assets.fleet.lock import Lock, repository_lock
from robot_assets.fleet.metadata import (
    ROOT_ROLE,
    SNAPSHOT_ROLE,
    TARGETS_ROLE,
    TIMESTAMP_ROLE,
    YEAR,
    meta_file,
    metadata_path,
    new_delegated,
    parse,
    signed_bytes,
)
from robot_assets.fleet.published import (
    DELEGATED,
    REPAIR,
    Part,
    Published,
    newest,
    no_repository,
    read_published,
    read_root,
)
from robot_assets.fleet.seen import check_seen, keep_seen

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner

_CLOCK_TOLERANCE = timedelta(days=1)
KEPT_VERSIONS = 16
"""Versions of snapshot, releases and assignments that stay: a robot that is reading the one before can finish."""


@dataclass(frozen=True)
class Place:
    """Where a repository is, and what its writer has.

    Attributes:
        files: The repository.
        keys: Folder of the private keys that are here.
        root: File with the trusted root metadata.
        timestamp_days: Validity of snapshot and timestamp.
    """

    files: Files
    keys: Path
    root: Path
    timestamp_days: int

    @property
    def validity(self) -> timedelta:
        """Validity of snapshot and timestamp."""
        return timedelta(days=self.timestamp_days)

    def require(self) -> None:
        """Raise FleetError where there is no repository, before a lock or anything else is written there."""
        if not self.files.has(metadata_path(TIMESTAMP_ROLE, 0)):
            raise no_repository(self.files)

    def published(self) -> Published:
        """The published metadata, verified. Raises FleetError."""
        self.require()
        return read_published(self.files, read_root(self.root), str(self.root))


@dataclass
class Draft:
    """The next state of a repository.

    Attributes:
        place: The repository.
        published: Its present state.
        lock: The lock, which is held.
        now: The present time.
        parts: Newest metadata of ``targets`` and of the delegated roles; replaced by what is written.
    """

    place: Place
    published: Published
    lock: Lock
    now: datetime
    parts: dict[str, Part] = field(default_factory=dict)

    def signer(self, role: str, delegator: Root | Targets) -> CryptoSigner:
        """The private key of a role, which has to be the one that robots expect. Raises FleetError."""
        return expected_key(self.place.keys, role, delegator)

    def write_delegated(
        self, role: str, files: Iterable[TargetFile], signers: Iterable[CryptoSigner], above: int = 0
    ) -> None:
        """Write the next version, above ``above``, of a delegated role. Robots see it after ``publish``."""
        version = max(self.parts[role].version, above) + 1
        self.write_part(role, new_delegated(version, files, self.now), signers)

    def write_part(self, role: str, content: Targets, signers: Iterable[CryptoSigner]) -> None:
        """Write metadata of ``targets`` or of a delegated role. Robots see it after ``publish``."""
        written = signed_bytes(content, signers)
        self.write_new(metadata_path(role, content.version), written)
        self.parts[role] = Part(role, parse(written, Targets, role, REPAIR), written)

    def free_version(self, role: str, above: int) -> int:
        """The first version above ``above`` that no file has: one that was never published is not replaced."""
        version = above + 1
        while self.place.files.has(metadata_path(role, version)):
            version += 1
        return version

    def write_new(self, path: str, content: bytes) -> None:
        """Write metadata that nobody may have written before. Raises FleetError."""
        self.lock.check()
        if not self.place.files.write_new(path, content):
            raise FleetError(
                f"{self.place.files.where(path)} was written by another process at the same time",
                needed="one writer at a time",
                fix="run the command again",
            )

    def publish(
        self,
        snapshot_signers: Iterable[CryptoSigner],
        timestamp_signers: Iterable[CryptoSigner],
        *,
        renews_snapshot: bool = False,
    ) -> bool:
        """Publish the newest parts; whether anything but the timestamp changed.

        A snapshot is renewed when half of its validity is left, so that most renewals cost robots the timestamp alone.
        """
        snapshot = self.published.snapshot.signed
        is_new = self._meta() != snapshot.meta
        meta = self.published.timestamp.signed.snapshot_meta
        if is_new or renews_snapshot or snapshot.expires - self.now < self.place.validity / 2:
            meta = self._write_snapshot(tuple(snapshot_signers))
        self._write_timestamp(meta, tuple(timestamp_signers))
        self._forget()
        return is_new

    def _meta(self) -> dict[str, MetaFile]:
        return {f"{role}.json": meta_file(part.version, part.content) for role, part in self.parts.items()}

    def _write_snapshot(self, signers: tuple[CryptoSigner, ...]) -> MetaFile:
        version = self.free_version(SNAPSHOT_ROLE, self.published.snapshot.signed.version)
        snapshot = Snapshot(version=version, expires=self.now + self.place.validity, meta=self._meta())
        content = signed_bytes(snapshot, signers)
        self.write_new(metadata_path(SNAPSHOT_ROLE, version), content)
        return meta_file(version, content)

    def _write_timestamp(self, snapshot: MetaFile, signers: tuple[CryptoSigner, ...]) -> None:
        version = int(self.published.timestamp.signed.version) + 1
        timestamp = Timestamp(version=version, expires=self.now + self.place.validity, snapshot_meta=snapshot)
        content = signed_bytes(timestamp, signers)
        self.lock.check()
        self.place.files.write(metadata_path(TIMESTAMP_ROLE, version), content)
        versions = {TIMESTAMP_ROLE: version, SNAPSHOT_ROLE: snapshot.version}
        keep_seen(self.place.keys, {**versions, **{role: part.version for role, part in self.parts.items()}})

    def _forget(self) -> None:
        """Remove metadata that no robot reads any more. What cannot be removed now costs room and nothing else."""
        versions = {SNAPSHOT_ROLE: int(self.published.snapshot.signed.version)}
        versions |= {role: part.version for role, part in self.parts.items() if role != TARGETS_ROLE}
        for role, version in versions.items():
            if version > KEPT_VERSIONS:
                with suppress(FleetError):
                    self.place.files.remove(metadata_path(role, version - KEPT_VERSIONS))


@contextmanager
def drafting(place: Place, now: datetime, *, is_renewed: bool = False) -> Iterator[Draft]:
    """Hold the lock and yield a draft that begins with the newest metadata.

    Args:
        place: The repository.
        now: The present time.
        is_renewed: Whether root and targets will be renewed, so that they may have expired.

    Raises:
        FleetError: There is no repository, it cannot be reached or verified, went back, or its root has expired.
    """
    place.require()
    with repository_lock(place.files) as lock:
        draft = newest_draft(place, lock, now)
        if not is_renewed:
            check_offline(draft.published, now)
        yield draft


def newest_draft(place: Place, lock: Lock, now: datetime) -> Draft:
    """A draft that begins with the newest metadata.

    Raises:
        FleetError: There is no repository, it cannot be reached or verified, or went back, or the clock is wrong.
    """
    published = place.published()
    check_seen(place.keys, published.versions, place.files.name)
    check_clock(published, now)
    keep_seen(place.keys, published.versions)
    parts = {TARGETS_ROLE: published.parts[TARGETS_ROLE]}
    parts |= {role: newest(place.files, published, role) for role in DELEGATED}
    return Draft(place, published, lock, now, parts)


def check_clock(published: Published, now: datetime) -> None:
    """Raise FleetError when the clock is before the last signature: what it signed would expire early, or at once."""
    last = max(published.expiries[role] for role in (ROOT_ROLE, TARGETS_ROLE, *DELEGATED)) - YEAR
    if now < last - _CLOCK_TOLERANCE:
        raise FleetError(
            f"the clock of this machine is at {now:%Y-%m-%d %H:%M} UTC, and the repository was signed at "
            f"{last:%Y-%m-%d %H:%M} UTC",
            needed="a clock that is right to a day",
            fix="timedatectl set-ntp true   # then compare: date -u",
        )


def check_offline(published: Published, now: datetime) -> None:
    """Raise FleetError when the metadata that the root keys sign has expired: robots refuse all that is published."""
    for role in (ROOT_ROLE, TARGETS_ROLE):
        if published.expiries[role] <= now:
            raise FleetError(
                f"the {role} metadata expired at {published.expiries[role].isoformat()}",
                needed="metadata that the root keys have renewed: robots refuse everything below it",
                fix="robot-assets fleet refresh --root-key ROOT_1.pem --root-key ROOT_2.pem",
            )


def expected_key(keys: Path, role: str, delegator: Root | Targets) -> CryptoSigner:
    """The private key of a role that is here, which has to be the one that robots expect. Raises FleetError."""
    expected = delegator.get_delegated_role(role).keyids
    if has_next_key(keys, role) and (following := read_key(next_key_file(keys, role))).public_key.keyid in expected:
        return following  # of a rotation that was killed after it had published the key
    signer = role_key(keys, role)
    if signer.public_key.keyid not in expected:
        raise FleetError(
            f"{key_file(keys, role)} is another key than that of the role {role}: {signer.public_key.keyid[:8]}",
            needed=f"the private key of {' or '.join(keyid[:8] for keyid in expected)}, which robots expect",
            fix=f"robot-assets fleet keys   # then copy the present {role}.pem to {shown_path(keys)}",
        )
    return signer
