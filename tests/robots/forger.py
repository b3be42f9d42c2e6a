"""An attacker of a distribution repository, who can write every file of it and has the keys that were stolen."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Snapshot, TargetFile, Targets, Timestamp
from tuf.api.serialization.json import JSONSerializer

from robot_assets.fleet import layout
from robot_assets.fleet.assignments import Assignments
from robot_assets.provenance.keys import load_key


@dataclass
class Forger:
    """Writes metadata that is signed with the keys that it has.

    Attributes:
        folder: Of the repository.
        keys: Folder with ``ROLE.pem`` and ``root/root_1.pem``.
        stolen: Names of the keys that it has, such as ``releases`` or ``root_1``; for the others it signs with a key of
            its own, under the id of the real one.
    """

    folder: Path
    keys: Path
    stolen: frozenset[str]

    def path(self, role: str, version: int | None = None) -> Path:
        """File of a role's metadata; without a version its newest."""
        folder = self.folder / layout.METADATA
        if role == "timestamp":
            return folder / "timestamp.json"
        return folder / f"{version or self.version(role)}.{role}.json"

    def version(self, role: str) -> int:
        """The newest version that was written."""
        names = (self.folder / layout.METADATA).glob(f"*.{role}.json")
        return max(int(path.name.split(".")[0]) for path in names)

    def read(self, role: str) -> Metadata[Any]:
        """The newest metadata of a role."""
        return Metadata.from_file(str(self.path(role)))

    def write(self, role: str, metadata: Metadata[Any]) -> None:
        """Sign metadata and write it under its version."""
        ids = list(metadata.signatures)
        metadata.signatures.clear()
        for keyid in ids:
            signer = self._signer(keyid)
            signature = signer.sign(metadata.signed_bytes)
            signature.keyid = keyid
            metadata.signatures[keyid] = signature
        content = metadata.to_bytes(JSONSerializer(compact=True))
        self.path(role, metadata.signed.version).write_bytes(content)

    def _signer(self, keyid: str) -> CryptoSigner:
        for path in sorted(self.keys.rglob("*.pem")):
            if path.stem in self.stolen and (signer := load_key(path)).public_key.keyid == keyid:
                return signer
        return CryptoSigner.generate_ed25519()

    def edit(self, role: str, change: Callable[[Any], object], version: int | None = None) -> None:
        """Write the next version of a role's metadata, or ``version``, with a change."""
        metadata = self.read(role)
        change(metadata.signed)
        metadata.signed.version = metadata.signed.version + 1 if version is None else version
        self.write(role, metadata)

    def publish(self, *roles: str) -> None:
        """Name the newest metadata of ``roles`` in a new snapshot and timestamp."""
        self.edit("snapshot", lambda snapshot: self.refer(snapshot, roles))
        self.edit("timestamp", self.refer_snapshot)

    def refer(self, snapshot: Snapshot, roles: Iterable[str]) -> None:
        for role in roles:
            snapshot.meta[f"{role}.json"] = self._meta(role, snapshot.meta.get(f"{role}.json"))

    def refer_snapshot(self, timestamp: Timestamp) -> None:
        timestamp.snapshot_meta = self._meta("snapshot", timestamp.snapshot_meta)

    def _meta(self, role: str, like: MetaFile | None) -> MetaFile:
        content = self.path(role).read_bytes()
        length = len(content) if like and like.length else None
        hashes = {"sha256": hashlib.sha256(content).hexdigest()} if like and like.hashes else None
        return MetaFile(self.version(role), length, hashes)

    def target(self, role: str, path: str, content: bytes) -> None:
        """Write a target and name it in the metadata of ``role``, without publishing it."""
        target = TargetFile.from_data(path, content, ["sha256"])
        folder, name = (self.folder / layout.TARGETS / path).parent, Path(path).name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{target.hashes['sha256']}.{name}").write_bytes(content)

        def add(targets: Targets) -> None:
            targets.targets[path] = target

        self.edit(role, add)

    def assign(self, assignments: Assignments) -> None:
        """Publish assignments."""
        content = assignments.model_dump_json().encode()
        self.target(layout.ASSIGNMENTS_ROLE, layout.assignments_target(assignments.group), content)
        self.publish(layout.ASSIGNMENTS_ROLE)

    def release(self, group: str, version: str, files: dict[str, bytes], bundle: bytes) -> str:
        """Write blobs and a ``bundle.json``, and name it authentic; its sha256."""
        (self.folder / layout.BLOBS).mkdir(parents=True, exist_ok=True)
        for content in files.values():
            (self.folder / layout.blob(hashlib.sha256(content).hexdigest())).write_bytes(content)
        self.target(layout.RELEASES_ROLE, layout.release_target(group, version), bundle)
        self.publish(layout.RELEASES_ROLE)
        return hashlib.sha256(bundle).hexdigest()


def in_days(days: float) -> Callable[[Any], None]:
    """Set when metadata expires."""

    def change(signed: Any) -> None:
        signed.expires = datetime.now(UTC).replace(microsecond=0) + timedelta(days=days)

    return change
