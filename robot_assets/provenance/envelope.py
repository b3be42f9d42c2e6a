"""DSSE envelopes: bytes with their type, signed together (https://github.com/secure-systems-lab/dsse)."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from robot_assets.provenance.errors import ProvenanceError
from robot_assets.provenance.public_key import PublicKey, Trust

if TYPE_CHECKING:
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer import CryptoSigner

PAYLOAD_TYPE = "application/vnd.in-toto+json"
_FIELDS = {"payload", "payloadType", "signatures"}


@dataclass(frozen=True)
class Signed:
    """The content of an envelope whose signature by a trusted key has been verified.

    Attributes:
        payload: Exactly the bytes that were signed.
        signer: The trusted key that signed them.
    """

    payload: bytes
    signer: PublicKey


def sign(payload: bytes, signer: CryptoSigner, payload_type: str = PAYLOAD_TYPE) -> bytes:
    """Put a payload into an envelope: one line of JSON, the same bytes for the same payload and key.

    Args:
        payload: An in-toto statement, or what ``payload_type`` says.
        signer: The key that signs it.
        payload_type: Signed with the payload, so that one kind of payload never passes for another.
    """
    from securesystemslib.dsse import Envelope

    envelope = Envelope(payload, payload_type, {})
    envelope.sign(signer)
    return json.dumps(envelope.to_dict(), sort_keys=True, separators=(",", ":")).encode() + b"\n"


def open_envelope(content: bytes, trust: Trust, payload_type: str = PAYLOAD_TYPE) -> Signed:
    """Return what a trusted key signed. The payload is not parsed before its signature has been verified.

    Args:
        content: An envelope as JSON.
        trust: Whose signatures count. One of them is enough; others are ignored.
        payload_type: The only type of payload that is accepted.

    Raises:
        ProvenanceError: It is not an envelope, has another type of payload, is not signed by a trusted key, or is not
            what that key signed.
    """
    envelope = _parsed(content)
    if envelope.payload_type != payload_type:
        raise _refused(f"the payload type {envelope.payload_type!r} is not known", f"the type {payload_type}")
    trusted = {key.key_id: key for key in trust.keys}
    candidates = [trusted[key_id] for key_id in envelope.signatures if key_id in trusted]
    for key in candidates:
        signature = bytes.fromhex(envelope.signatures[key.key_id].signature)
        if key.has_signed(envelope.pae(), signature):
            return Signed(envelope.payload, key)
    if candidates:
        raise _refused(
            f"the signature in the name of {trust.named(candidates[0])} does not match the payload: one of the two "
            "was altered",
            "exactly the bytes that were signed",
        )
    signers = ", ".join(f"key {key_id[:12]}" for key_id in envelope.signatures)
    found = f"signed by {signers}, which is not trusted here" if signers else "the envelope has no signature"
    raise _refused(found, f"a signature by {trust.described}")


def _parsed(content: bytes) -> Envelope:
    from securesystemslib.dsse import Envelope
    from securesystemslib.exceptions import Error

    try:
        document: Any = json.loads(content)
        if not isinstance(document, dict) or set(document) != _FIELDS:
            raise ValueError(f"needed exactly the fields {sorted(_FIELDS)}")
        texts = [document["payload"], *(signature["sig"] for signature in document["signatures"])]
        envelope = Envelope.from_dict(document)
        pieces = [envelope.payload, *(bytes.fromhex(one.signature) for one in envelope.signatures.values())]
        if any(text not in _encodings(piece) for text, piece in zip(texts, pieces, strict=True)):
            raise ValueError("its base64 was altered")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, Error) as error:
        raise _refused(
            f"this is not a DSSE envelope ({type(error).__name__}: {error})", "one envelope as JSON"
        ) from None
    if not isinstance(envelope.payload_type, str) or not all(isinstance(key, str) for key in envelope.signatures):
        raise _refused("this is not a DSSE envelope: a type or a key is not text", "one envelope as JSON")
    return envelope


def _encodings(content: bytes) -> tuple[str, str]:
    """The two forms that DSSE allows; others that decode to the same bytes only come from tampering."""
    return base64.standard_b64encode(content).decode(), base64.urlsafe_b64encode(content).decode()


def _refused(found: str, needed: str) -> ProvenanceError:
    return ProvenanceError(
        found,
        needed=needed,
        fix="get the engine again with `robot-assets engine get`; if its signer is one of yours, add its key "
        "(`robot-assets key show` where it was signed) to provenance.trusted_keys in params.yaml",
    )
