"""The key that signs: an ed25519 pair in a PEM file that only its owner can read.

Where it lies: at ``$ROBOT_ASSETS_SIGNING_KEY`` when that is set, else in the state folder of the checkout, where
one is made the first time that an engine is signed. Its private half leaves that file for the memory of the
process that signs, and for nothing else: no store, log, metadata or error text ever holds it.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from robot_assets.pipeline.project import Project
from robot_assets.provenance.errors import ProvenanceError
from robot_assets.provenance.public_key import PublicKey, Trust, parse_public_key

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner

KEY_VARIABLE = "ROBOT_ASSETS_SIGNING_KEY"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_LARGEST_BYTES = 16_384


def key_path(project: Project) -> Path:
    """Where the signing key of ``project`` lies, or would lie."""
    named = os.environ.get(KEY_VARIABLE)
    return project.root / named if named else project.state / "keys" / "signing.pem"


def signing_key(project: Project) -> CryptoSigner:
    """The key to sign with; made now where the checkout has none and none is named.

    Raises:
        ProvenanceError: $ROBOT_ASSETS_SIGNING_KEY names a file that is not there, or the key cannot be used.
    """
    path = key_path(project)
    if not path.exists() and not os.environ.get(KEY_VARIABLE):
        with contextlib.suppress(FileExistsError):  # another run of this checkout was quicker
            _write_new(path)
    return load_key(path)


def trust_of(project: Project) -> Trust:
    """Who may sign: the keys that params.yaml names, else the key of this checkout, if it has one.

    Raises:
        ProvenanceError: The key of this checkout cannot be used.
    """
    lines = project.params.provenance.trusted_keys
    if lines:
        return Trust(tuple(parse_public_key(line) for line in lines))
    path = key_path(project)
    return Trust((public_half(load_key(path)),) if path.exists() else (), is_of_checkout=True)


def create_key(path: Path) -> PublicKey:
    """Make a key pair and write it to ``path``, whole or not at all, for its owner alone.

    Raises:
        ProvenanceError: Something is there already, or it cannot be written.
    """
    try:
        return public_half(_write_new(path))
    except FileExistsError:
        raise ProvenanceError(
            f"{path} is there already",
            needed="a new place: whoever loses a key can never again sign as it",
            fix="give another --out, or move the old key away first",
        ) from None


def load_key(path: Path) -> CryptoSigner:
    """Read a private key.

    Args:
        path: A PEM file with one unencrypted ed25519 key (PKCS8).

    Raises:
        ProvenanceError: There is none, others than its owner may read or write it, or it is no such key.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from securesystemslib.signer import CryptoSigner

    content = _read_private(path)
    try:
        private = load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # what the library says may quote the file
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
                fix=f"chmod 600 {path}   (and make a new key if others may have read this one)",
            )
        return os.read(handle, _LARGEST_BYTES)
    finally:
        os.close(handle)


def _is_mounted_secret(handle: int, facts: os.stat_result) -> bool:
    """Whether this is how Kubernetes hands a secret to a process that is not root.

    Such a file is always root's. For another user to read it at all, its group has to: the pod's own (``fsGroup``), on
    a mount that nobody can write to. On any other machine a root's file that a group may read is no secret.
    """
    is_for_group_alone = facts.st_mode & _OTHERS == stat.S_IRGRP
    is_of_root = facts.st_uid == 0 and os.geteuid() != 0
    is_read_only = bool(os.fstatvfs(handle).f_flag & os.ST_RDONLY)
    return is_for_group_alone and is_of_root and is_read_only and facts.st_gid in {os.getegid(), *os.getgroups()}


def _write_new(path: Path) -> CryptoSigner:
    """Make a key and link it to its name: no name ever holds half a key, and no key is ever replaced."""
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
    except FileExistsError:
        raise
    except OSError as error:
        raise _unusable(path, f"cannot be written: {error.strerror}") from None
    return signer


def _unusable(path: Path, what: str) -> ProvenanceError:
    return ProvenanceError(
        f"{path} {what}",
        needed="a PEM file with one unencrypted ed25519 private key (PKCS8), readable by its owner alone",
        fix="robot-assets key create --out NEW_PATH, and point " + KEY_VARIABLE + " at it",
    )
