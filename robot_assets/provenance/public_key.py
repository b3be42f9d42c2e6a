"""Public keys as one line of text, and whose signatures count. Light to import: params.yaml is parsed with it."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from robot_assets.provenance.errors import ProvenanceError

if TYPE_CHECKING:
    from securesystemslib.signer import SSlibKey

_PREFIX = "ed25519:"
_KEY_BYTES = 32
_FEWEST_BYTE_VALUES = 8
"""A real key has at least this many different bytes; a template's zeros are a weak key with which anybody can sign."""


@dataclass(frozen=True)
class PublicKey:
    """The public half of an ed25519 key pair.

    Attributes:
        raw: The 32 bytes of RFC 8032.
    """

    raw: bytes

    def __str__(self) -> str:
        """The line that ``provenance.trusted_keys`` in params.yaml takes."""
        return _PREFIX + base64.b64encode(self.raw).decode()

    @cached_property
    def key_id(self) -> str:
        """The id of the key in a signature: 64 hexadecimal digits, by securesystemslib's own rule."""
        return str(self.as_sslib().keyid)

    def has_signed(self, content: bytes, signature: bytes) -> bool:
        """Whether ``signature`` is this key's signature of ``content``."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, content)
        except InvalidSignature:
            return False
        return True

    def as_sslib(self) -> SSlibKey:
        """The key in the form with which securesystemslib verifies."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from securesystemslib.signer import SSlibKey

        return SSlibKey.from_crypto(Ed25519PublicKey.from_public_bytes(self.raw))


@dataclass(frozen=True)
class Trust:
    """Whose signatures count.

    Attributes:
        keys: The trusted keys.
        is_of_checkout: Whether params.yaml names no key, so that the key of this checkout counts.
    """

    keys: tuple[PublicKey, ...]
    is_of_checkout: bool = False

    def named(self, key: PublicKey) -> str:
        """``key``, for the middle of a sentence."""
        return f"the key of this checkout, {key}" if self.is_of_checkout else str(key)

    @property
    def described(self) -> str:
        """The trusted keys, for the middle of a sentence."""
        if self.keys:
            return " or ".join(self.named(key) for key in self.keys)
        return "a trusted key: params.yaml names none, and this checkout has none of its own"


def parse_public_key(line: str) -> PublicKey:
    """Read ``ed25519:`` followed by the 32 public bytes in base64 or hexadecimal digits.

    Raises:
        ProvenanceError: It is something else, such as another kind of key, a truncated one, or a placeholder.
    """
    text = line.strip()
    raw = _decoded(text.removeprefix(_PREFIX)) if text.startswith(_PREFIX) else None
    if raw is None or len(raw) != _KEY_BYTES:
        raise _refused("is a private key" if "PRIVATE" in line else "is not a public key", line)
    if len(set(raw)) < _FEWEST_BYTE_VALUES:
        raise _refused("is a placeholder, not a key", line)
    return PublicKey(raw)


def _decoded(text: str) -> bytes | None:
    if re.fullmatch(r"[0-9a-fA-F]{64}", text):
        return bytes.fromhex(text)
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def _refused(what: str, line: str) -> ProvenanceError:
    # a private key that was pasted here by mistake must not get into a log
    shown = repr(line) if len(line) <= 80 and "PRIVATE" not in line else "the given text"
    return ProvenanceError(
        f"{shown} {what}",
        needed="ed25519: followed by the 32 bytes of a public key in base64 or hexadecimal digits",
        fix="run `robot-assets key show` where engines are signed, and use the line that it prints",
    )
