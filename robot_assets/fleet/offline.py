"""What the root keys sign: the root, and ``targets``, which delegates. They are offline, and used a few times a year.

Whatever changes here is signed by the old keys as well, so that a robot with the old root and one with the new root
accept the same files at any moment, and the root, which switches them over, is written last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from tuf.api.metadata import Key, Root

from robot_assets.core.publishing import publishing_file
from robot_assets.core.text import plural
from robot_assets.fleet.draft import Draft, Place, expected_key
from robot_assets.fleet.errors import FleetError
from robot_assets.fleet.keys import has_key
from robot_assets.fleet.metadata import (
    PATHS,
    ROOT_ROLE,
    SNAPSHOT_ROLE,
    TARGETS_ROLE,
    TIMESTAMP_ROLE,
    keys_of,
    metadata_path,
    new_root,
    new_targets,
    signed_bytes,
)
from robot_assets.fleet.seen import keep_seen

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner

EXAMPLE = "--root-key root_1.pem --root-key root_2.pem"


def require_threshold(root: Root, signers: Sequence[CryptoSigner], command: str) -> None:
    """Raise FleetError unless enough of ``signers`` are keys of the root.

    Args:
        root: The present root.
        signers: Private keys that were given.
        command: The command that needs them.
    """
    role = root.roles[ROOT_ROLE]
    known = [signer for signer in signers if signer.public_key.keyid in role.keyids]
    if len(known) < role.threshold:
        others = len(signers) - len(known)
        stray = f", and {plural(others, 'key')} that the root does not have" if others else ""
        raise FleetError(
            f"{plural(len(known), 'root key')} of {role.threshold} that are needed{stray}",
            needed=f"private keys of {role.threshold} of {', '.join(keyid[:8] for keyid in role.keyids)}",
            fix=f"{command} {EXAMPLE}",
        )


def write_targets(draft: Draft, signers: Sequence[CryptoSigner], changed: Mapping[str, Key] | None = None) -> None:
    """Write the next ``targets``, with other keys for some delegated roles. Robots see it after ``publish``."""
    present = draft.published.targets
    delegated = {role: keys_of(present, role)[0] for role in PATHS} | dict(changed or {})
    version = draft.free_version(TARGETS_ROLE, draft.parts[TARGETS_ROLE].version)
    draft.write_part(TARGETS_ROLE, new_targets(version, delegated, draft.now), signers)


def next_root(
    root: Root,
    now: datetime,
    online: Mapping[str, Key] | None = None,
    offline: Sequence[Key] = (),
    threshold: int | None = None,
) -> Root:
    """The root after ``root``, with other keys where they are given."""
    present = {role: keys_of(root, role)[0] for role in (SNAPSHOT_ROLE, TIMESTAMP_ROLE)}
    keys = offline or keys_of(root, ROOT_ROLE)
    needed = threshold or root.roles[ROOT_ROLE].threshold
    return new_root(root.version + 1, keys, needed, {**present, **(online or {})}, now)


def write_root(draft: Draft, root: Root, signers: Sequence[CryptoSigner]) -> None:
    """Write the next root to the repository, then to the project. Robots follow it at their next poll."""
    content = signed_bytes(root, signers)
    draft.write_new(metadata_path(ROOT_ROLE, root.version), content)
    keep_seen(draft.place.keys, {ROOT_ROLE: root.version})
    trust_root(draft.place, content)


def trust_root(place: Place, content: bytes) -> None:
    """Make a root the one that the project trusts. Raises FleetError."""
    with place.files.explained("writing"), publishing_file(place.root) as staging:
        staging.write_bytes(content)


def trust_newest(draft: Draft) -> None:
    """Make the newest root of the repository the one that the project trusts. Raises FleetError."""
    trust_root(draft.place, draft.place.files.read(metadata_path(ROOT_ROLE, draft.published.root.version)))


def publication_signers(draft: Draft, lost: str = "") -> dict[str, list[CryptoSigner]]:
    """The keys of snapshot and timestamp.

    Args:
        draft: The next state.
        lost: A role that gets a new key, whose present one need not be here.

    Raises:
        FleetError: A key is missing.
    """
    keys, root = draft.place.keys, draft.published.root
    needed = {role: role != lost or has_key(keys, role) for role in (SNAPSHOT_ROLE, TIMESTAMP_ROLE)}
    return {role: [expected_key(keys, role, root)] if is_needed else [] for role, is_needed in needed.items()}
