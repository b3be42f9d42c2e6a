"""An envelope opens for exactly what a trusted key has signed."""

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner

from robot_assets.provenance.envelope import PAYLOAD_TYPE, open_envelope, sign
from robot_assets.provenance.errors import ProvenanceError
from robot_assets.provenance.keys import public_half
from robot_assets.provenance.public_key import Trust

PAYLOAD = b'{"_type":"https://in-toto.io/Statement/v1"}'


@pytest.fixture
def signer():
    return CryptoSigner.generate_ed25519()


@pytest.fixture
def trust(signer):
    return Trust((public_half(signer),))


def changed(envelope, **fields):
    return json.dumps({**json.loads(envelope), **fields}).encode()


def test_it_opens_and_names_its_signer(signer, trust):
    opened = open_envelope(sign(PAYLOAD, signer), trust)
    assert opened.payload == PAYLOAD
    assert opened.signer == public_half(signer)


def test_the_same_payload_and_key_give_the_same_bytes(signer):
    assert sign(PAYLOAD, signer) == sign(PAYLOAD, signer)
    assert sign(PAYLOAD, signer).count(b"\n") == 1


def test_any_ed25519_library_verifies_it(signer, trust):
    document = json.loads(sign(PAYLOAD, signer))
    encoded = b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(PAYLOAD), PAYLOAD)
    [signature] = document["signatures"]
    Ed25519PublicKey.from_public_bytes(trust.keys[0].raw).verify(base64.b64decode(signature["sig"]), encoded)


def test_every_altered_byte_is_refused(signer, trust):
    envelope = sign(PAYLOAD, signer).rstrip()
    for place in range(len(envelope)):
        altered = bytearray(envelope)
        altered[place] ^= 1
        with pytest.raises(ProvenanceError):
            open_envelope(bytes(altered), trust)


def test_an_altered_payload_is_named_as_such(signer, trust):
    other = base64.b64encode(PAYLOAD.replace(b"v1", b"v2")).decode()
    with pytest.raises(ProvenanceError, match="does not match the payload"):
        open_envelope(changed(sign(PAYLOAD, signer), payload=other), trust)


def test_a_key_that_is_not_trusted_is_refused(trust):
    with pytest.raises(ProvenanceError, match=r"signed by key [0-9a-f]{12}, which is not trusted"):
        open_envelope(sign(PAYLOAD, CryptoSigner.generate_ed25519()), trust)


def test_no_signature_counts_where_no_key_is_known(signer):
    with pytest.raises(ProvenanceError, match=r"a signature by a trusted key: params\.yaml names none"):
        open_envelope(sign(PAYLOAD, signer), Trust((), is_of_checkout=True))


def test_an_unknown_payload_type_is_refused_even_when_a_trusted_key_signed_it(signer, trust):
    envelope = Envelope(PAYLOAD, "application/vnd.other+json", {})
    envelope.sign(signer)
    with pytest.raises(ProvenanceError, match=r"payload type 'application/vnd\.other\+json' is not known"):
        open_envelope(json.dumps(envelope.to_dict()).encode(), trust)


def test_a_relabelled_payload_type_is_refused(signer, trust):
    envelope = Envelope(PAYLOAD, "application/vnd.other+json", {})
    envelope.sign(signer)
    with pytest.raises(ProvenanceError, match="does not match"):
        open_envelope(changed(json.dumps(envelope.to_dict()), payloadType=PAYLOAD_TYPE), trust)


def test_another_signer_in_the_name_of_a_trusted_key_is_refused(signer, trust):
    document = json.loads(sign(PAYLOAD, CryptoSigner.generate_ed25519()))
    document["signatures"][0]["keyid"] = trust.keys[0].key_id
    with pytest.raises(ProvenanceError, match="in the name of"):
        open_envelope(json.dumps(document).encode(), trust)


def test_one_trusted_signature_among_others_is_enough(signer, trust):
    envelope = Envelope(PAYLOAD, PAYLOAD_TYPE, {})
    envelope.sign(CryptoSigner.generate_ed25519())
    envelope.sign(signer)
    assert open_envelope(json.dumps(envelope.to_dict()).encode(), trust).signer == trust.keys[0]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"payload": "", "payloadType": "", "signatures": []}',
        b'{"payload": 1, "payloadType": "", "signatures": []}',
        b'{"payload": "", "payloadType": 1, "signatures": []}',
        b'{"payload": "", "payloadType": "", "signatures": {}}',
        b'{"payload": "", "payloadType": "", "signatures": [[]]}',
        b'{"payload": "", "payloadType": "", "signatures": [{"keyid": [], "sig": ""}]}',
        b'{"payload": "", "payloadType": "", "signatures": [{"keyid": "a", "sig": "*"}]}',
        b'{"payload": "", "payloadType": "", "signatures": [], "more": 1}',
    ],
    ids=range(14),
)
def test_anything_but_an_envelope_is_refused(content, trust):
    with pytest.raises(ProvenanceError):
        open_envelope(content, trust)


def test_an_envelope_without_a_signature_is_refused(signer, trust):
    with pytest.raises(ProvenanceError, match="the envelope has no signature"):
        open_envelope(changed(sign(PAYLOAD, signer), signatures=[]), trust)
