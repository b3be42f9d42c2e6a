"""The signing key: an ed25519 pair in a PEM file that only its owner can read.

The file is the one that ``$ROBOT_ASSETS_SIGNING_KEY`` names, else one in the state folder of the checkout, created
when the first engine is signed. The private half is only ever in this file and in the memory of the signing process:
no store, log, metadata or error text contains it.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from robot_assets.core.errors import RobotAssetsError
from robot_assets.core.os_errors import system_error
from robot_assets.core.paths import expanded
from robot_assets.provenance.errors import ProvenanceError
from robot_assets.provenance.public_key import PublicKey, Trust, parse_public_key

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner

KEY_VARIABLE = "ROBOT_ASSETS_SIGNING_KEY"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_LARGEST_BYTES = 16_384


@dataclass(frozen=True)
class KeyLocation:
    """Where a checkout has its signing key, whether or not the file exists yet.

    Attributes:
        path: The PEM file.
        is_named: Whether a person named the file; such a key is never created.
    """

    path: Path
    is_named: bool = False


def key_location(root: Path, state: Path) -> KeyLocation:
    """Where the signing key of a checkout is.

    Args:
        root: Folder of the checkout; a relative path in $ROBOT_ASSETS_SIGNING_KEY starts there.
        state: Its state folder.
    """
    named = os.environ.get(KEY_VARIABLE)
    return KeyLocation(root / _expanded(named), is_named=True) if named else KeyLocation(state / "keys" / "signing.pem")


def _expanded(named: str) -> str:
    try:
        return expanded(named)
    except ValueError as error:
        raise ProvenanceError(
            f"{KEY_VARIABLE} is {error}",
            needed="a path",
            fix=f"export {KEY_VARIABLE}=/path   # or: unset {KEY_VARIABLE}",
        ) from None


def signing_key(location: KeyLocation) -> CryptoSigner:
    """The key to sign with; created now where there is none and none is named.

    Raises:
        ProvenanceError: The named file does not exist, or the key cannot be used.
    """
    if not location.is_named and not location.path.exists():
        with contextlib.suppress(FileExistsError):  # another run of this checkout was quicker
            _write_new(location.path)
    return load_key(location.path)


def trust_of(trusted_keys: Iterable[str], location: KeyLocation) -> Trust:
    """Whose signatures count: the trusted keys, else the key of the checkout, if it has one.

    Args:
        trusted_keys: Lines of ``provenance.trusted_keys`` in params.yaml.
        location: Where the key of the checkout is.

    Raises:
        ProvenanceError: A line is not a key, or the key of the checkout cannot be used.
    """
    keys = tuple(parse_public_key(line) for line in trusted_keys)
    if keys:
        return Trust(keys)
    own = (public_half(load_key(location.path)),) if location.path.exists() else ()
    return Trust(own, is_of_checkout=True)


def create_key(path: Path) -> PublicKey:
    """Create a key pair and write it to ``path``, whole or not at all, readable by its owner alone.

    Raises:
        ProvenanceError: The file exists, or it cannot be written.
    """
    try:
        return public_half(_write_new(path))
    except FileExistsError:
        raise ProvenanceError(
            f"{path} exists",
            needed="a new path: a replaced key is lost, and nothing can be signed with it again",
            fix="robot-assets key create --out NEW_PATH",
        ) from None


def load_key(path: Path) -> CryptoSigner:
    """Read a private key.

    Args:
        path: A PEM file with one unencrypted ed25519 key (PKCS8).

    Raises:
        ProvenanceError: There is none, others than its owner may read or write it, or it is not such a key.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from securesystemslib.signer import CryptoSigner

    content = _read_private(path)
    try:
        private = load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # the library's message may quote the file
        raise _unusable(path, "does not hold a private key that opens without a passphrase") from None
    if not isinstance(private, Ed25519PrivateKey):
        raise _unusable(path, "holds a key of another kind than ed25519")
    return CryptoSigner(private)


def public_half(signer: CryptoSigner) -> PublicKey:
    """The public key of ``signer``."""
    return PublicKey(bytes.fromhex(signer.public_key.keyval["public"]))


def _read_private(path: Path) -> bytes:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise ProvenanceError(
            f"no signing key at {path}",
            needed=f"a private key there, or {KEY_VARIABLE} set to the path of one",
            fix="robot-assets key create",
        ) from None
    except OSError as error:
        raise _unusable(path, f"cannot be read: {error.strerror}") from None
    try:
        facts = os.fstat(handle)
        if not stat.S_ISREG(facts.st_mode):
            raise _unusable(path, "is not a file")
        if facts.st_mode & _OTHERS and not _is_mounted_secret(handle, facts):
            raise ProvenanceError(
                f"{path} has mode {stat.S_IMODE(facts.st_mode):04o}: others than its owner can read or write it",
                needed="a private key that only its owner can read",
                fix=f"chmod 600 {path}   # and create a new key if others may have read this one",
            )
        return os.read(handle, _LARGEST_BYTES)
    finally:
        os.close(handle)


def _is_mounted_secret(handle: int, facts: os.stat_result) -> bool:
    """Whether the file is a Kubernetes secret, mounted for a process that is not root.

    Such a file always belongs to root. Another user reads it through its group, the ``fsGroup`` of the pod, on a
    read-only mount. A file of root that a group may read is not a secret anywhere else.
    """
    is_for_group_alone = facts.st_mode & _OTHERS == stat.S_IRGRP
    is_of_root = facts.st_uid == 0 and os.geteuid() != 0
    is_read_only = bool(os.fstatvfs(handle).f_flag & os.ST_RDONLY)
    return is_for_group_alone and is_of_root and is_read_only and facts.st_gid in {os.getegid(), *os.getgroups()}


def _write_new(path: Path) -> CryptoSigner:
    """Create a key and link it to its name, so that no name has half a key and no key is replaced."""
    from securesystemslib.signer import CryptoSigner

    signer = CryptoSigner.generate_ed25519()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, staging = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)  # mode 0600
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(signer.private_bytes)
                stream.flush()
                os.fsync(stream.fileno())
            os.link(staging, path)
        finally:
            os.unlink(staging)
    except OSError as error:
        if isinstance(error, FileExistsError) and os.path.lexists(path):
            raise
        reason = system_error(error) or error
        if not isinstance(reason, RobotAssetsError):
            raise _unusable(path, f"cannot be written: {error}") from None
        found = f"the key {path} cannot be written: {reason.found}"
        raise ProvenanceError(found, needed=reason.needed, fix=reason.fix) from None
    return signer


def _unusable(path: Path, what: str) -> ProvenanceError:
    return ProvenanceError(
        f"{path} {what}",
        needed="a PEM file with one unencrypted ed25519 private key (PKCS8), readable by its owner alone",
        fix=f"robot-assets key create --out NEW_PATH && export {KEY_VARIABLE}=NEW_PATH",
    )
