"""Reads the metadata of a repository as a robot does, and verifies it from the root that the project trusts.

Nothing is signed that is not a successor of what verifies here: a repository that somebody altered is an error.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from tuf.api.exceptions import LengthOrHashMismatchError
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp

from robot_assets.core.paths import shown_path
from robot_assets.fleet.errors import FleetError
from robot_assets.fleet.files import Files
from robot_assets.fleet.layout import ASSIGNMENTS_ROLE, RELEASES_ROLE
from robot_assets.fleet.metadata import (
    ROOT_ROLE,
    SNAPSHOT_ROLE,
    TARGETS_ROLE,
    TIMESTAMP_ROLE,
    follow_root,
    is_signed,
    keys_of,
    metadata_path,
    parse,
    target_path,
    verify,
)

DELEGATED = (RELEASES_ROLE, ASSIGNMENTS_ROLE)
REPAIR = "robot-assets fleet refresh --repair   # signs the newest metadata that verifies; or restore a backup"

_Kind = TypeVar("_Kind", Root, Targets, Snapshot, Timestamp)


@dataclass(frozen=True)
class Part:
    """Verified metadata of a delegated role, or of ``targets``.

    Attributes:
        role: The role.
        metadata: Parsed.
        content: Its bytes.
    """

    role: str
    metadata: Metadata[Targets]
    content: bytes

    @property
    def version(self) -> int:
        """Of the metadata."""
        return int(self.metadata.signed.version)

    @property
    def targets(self) -> Mapping[str, TargetFile]:
        """Targets by path."""
        return self.metadata.signed.targets


_VERIFIED_MAX = 8
_verified_before: dict[tuple[object, ...], Part] = {}


@dataclass(frozen=True)
class Published:
    """The metadata that ``timestamp.json`` leads to, verified.

    Attributes:
        roots: All roots from the trusted one on, the newest last.
        timestamp: Of the repository.
        snapshot: Of the repository.
        parts: ``targets``, ``releases`` and ``assignments``.
    """

    roots: tuple[Metadata[Root], ...]
    timestamp: Metadata[Timestamp]
    snapshot: Metadata[Snapshot]
    parts: Mapping[str, Part]

    @property
    def root(self) -> Root:
        """The newest root."""
        return self.roots[-1].signed

    @property
    def targets(self) -> Targets:
        """Top-level targets, which delegate."""
        return self.parts[TARGETS_ROLE].metadata.signed

    @property
    def versions(self) -> dict[str, int]:
        """Version of the metadata of each role."""
        top = {ROOT_ROLE: self.root, TIMESTAMP_ROLE: self.timestamp.signed, SNAPSHOT_ROLE: self.snapshot.signed}
        return {role: int(signed.version) for role, signed in top.items()} | {
            role: part.version for role, part in self.parts.items()
        }

    @property
    def expiries(self) -> dict[str, datetime]:
        """When the metadata of each role expires."""
        top = {ROOT_ROLE: self.root, TIMESTAMP_ROLE: self.timestamp.signed, SNAPSHOT_ROLE: self.snapshot.signed}
        delegated = {role: part.metadata.signed for role, part in self.parts.items()}
        return {role: signed.expires for role, signed in {**top, **delegated}.items()}


def read_root(path: Path) -> bytes:
    """The root metadata that the project trusts. Raises FleetError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise FleetError(
            f"no root metadata at {path} ({error.strerror})",
            needed="the root metadata that `robot-assets fleet init` wrote, which is in git",
            fix=f"git checkout {shown_path(path)}   # or, for a new fleet: robot-assets fleet init",
        ) from None


def read_published(files: Files, root: bytes, root_name: str) -> Published:
    """The published metadata, verified.

    Args:
        files: The repository.
        root: The trusted root metadata.
        root_name: Its file, for errors.

    Raises:
        FleetError: There is no repository, it cannot be read, or its metadata is damaged or altered.
    """
    roots = tuple(read_roots(files, root, root_name))
    newest = roots[-1].signed
    timestamp = _top(files, newest, Timestamp, TIMESTAMP_ROLE, None)
    snapshot = _top(files, newest, Snapshot, SNAPSHOT_ROLE, timestamp.signed.snapshot_meta)
    meta = snapshot.signed.meta
    targets = _part(files, newest, TARGETS_ROLE, meta)
    parts = {role: _part(files, targets.metadata.signed, role, meta) for role in DELEGATED}
    return Published(roots, timestamp, snapshot, {TARGETS_ROLE: targets, **parts})


def newest(files: Files, published: Published, role: str) -> Part:
    """The newest metadata of a delegated role: written after the present snapshot, or the published one.

    Raises:
        FleetError: The newest is damaged or not signed by the key of its role.
    """
    found = published.parts[role]
    version = found.version
    while (content := _read(files, metadata_path(role, version + 1))) is not None:
        version += 1
        last = content
    if version == found.version:
        return found
    where = files.where(metadata_path(role, version))
    return _verified(published.targets, role, last, where, removal(where))


def read_target(files: Files, target: TargetFile) -> bytes:
    """The content of a target.

    Raises:
        FleetError: It is missing, or not what the metadata states.
    """
    path = target_path(target.path, target.hashes["sha256"])
    content = _read(files, path)
    if content is None:
        raise _lost(files, path)
    _compare(content, target, files.where(path))
    return content


def removal(where: str) -> str:
    """The command that removes a file of a repository that is not published."""
    if where.startswith(("s3://", "s3a://")):
        return f"aws s3 rm {shlex.quote(where)}   # it is not published; then run the command again"
    if "://" in where:
        return f"remove {where}: it is not published; then run the command again"
    return f"rm {shlex.quote(where)}   # it is not published; then run the command again"


def read_roots(files: Files, content: bytes, name: str) -> Iterator[Metadata[Root]]:
    """The trusted root and those that follow it in the repository, each signed by the keys of the one before.

    Raises:
        FleetError: One is damaged or altered.
    """
    fix = f"git checkout {name}"
    root = parse(content, Root, name, fix)
    verify(root.signed, ROOT_ROLE, root, name, fix)
    yield root
    while (following := _read(files, path := metadata_path(ROOT_ROLE, root.signed.version + 1))) is not None:
        root = follow_root(root, following, where := files.where(path), _restore(where))
        yield root


def _restore(where: str) -> str:
    return f"restore {where} from a backup, or remove it where it was never valid"


def _top(files: Files, root: Root, kind: type[_Kind], role: str, meta: MetaFile | None) -> Metadata[_Kind]:
    path = metadata_path(role, meta.version if meta else 0)
    content = _read(files, path)
    if content is None and meta is None:
        raise no_repository(files)
    if content is None:
        raise _lost(files, path)
    if meta is not None:
        _compare(content, meta, files.where(path))
    metadata = parse(content, kind, files.where(path), REPAIR)
    verify(root, role, metadata, files.where(path), REPAIR)
    return metadata


def _part(files: Files, delegator: Root | Targets, role: str, meta: Mapping[str, MetaFile]) -> Part:
    stated = meta[f"{role}.json"]
    path = metadata_path(role, stated.version)
    content = _read(files, path)
    if content is None:
        raise _lost(files, path)
    _compare(content, stated, files.where(path))
    return _verified(delegator, role, content, files.where(path), REPAIR)


def _verified(delegator: Root | Targets, role: str, content: bytes, where: str, fix: str) -> Part:
    """Metadata of a role. Bytes that were verified by the same keys before are not verified again: it takes 30 ms."""
    keys = tuple((key.keyid, key.keyval["public"]) for key in keys_of(delegator, role))
    known = (role, content, keys, delegator.get_delegated_role(role).threshold)
    part = _verified_before.get(known)
    if part is None:
        metadata = parse(content, Targets, where, fix)
        verify(delegator, role, metadata, where, fix)
        part = _verified_before[known] = Part(role, metadata, content)
        while len(_verified_before) > _VERIFIED_MAX:
            _verified_before.pop(next(iter(_verified_before)), None)
    return part


def no_repository(files: Files) -> FleetError:
    """The error where ``fleet init`` was not run, ``fleet.url`` is another place, or the timestamp was lost."""
    if files.has(metadata_path(ROOT_ROLE, 1)):
        return _lost(files, metadata_path(TIMESTAMP_ROLE, 0))
    return FleetError(
        f"there is no distribution repository at {files.name}",
        needed="metadata/timestamp.json there",
        fix="robot-assets fleet init   # or correct fleet.url in params.yaml",
    )


def _lost(files: Files, path: str) -> FleetError:
    return FleetError(f"{files.where(path)} is missing", needed="all published metadata and targets", fix=REPAIR)


def _compare(content: bytes, stated: MetaFile | TargetFile, where: str) -> None:
    try:
        stated.verify_length_and_hashes(content)
    except LengthOrHashMismatchError:
        raise FleetError(
            f"{where} is damaged or was altered: {len(content)} bytes with another hash than its metadata states",
            needed="the file as it was written",
            fix=REPAIR,
        ) from None


def _read(files: Files, path: str) -> bytes | None:
    try:
        return files.read(path)
    except FileNotFoundError:
        return None


def verified_part(files: Files, delegator: Root | Targets, role: str, version: int) -> Part | None:
    """Metadata of a role by version; None where it is missing, damaged, or not signed by the keys of its role."""
    content = _read(files, path := metadata_path(role, version))
    if content is None:
        return None
    try:
        metadata = parse(content, Targets, files.where(path), REPAIR)
    except FleetError:
        return None
    return Part(role, metadata, content) if is_signed(delegator, role, metadata) else None
