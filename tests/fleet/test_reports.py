"""A report opens for the key of its robot alone, and says what is wrong otherwise."""

import base64
import json

import pytest
from securesystemslib.signer import CryptoSigner

from robot_assets.core.errors import RobotAssetsError
from robot_assets.fleet.errors import FleetError
from robot_assets.fleet.reports import LARGEST_BYTES, PAYLOAD_TYPE, Failure, Report, State, open_report, sign_report
from robot_assets.provenance.envelope import open_envelope, sign
from robot_assets.provenance.errors import ProvenanceError
from robot_assets.provenance.keys import public_half
from robot_assets.provenance.public_key import Trust

REPORT = Report(
    robot="delivery_07",
    group="delivery",
    sequence=41,
    at="2026-11-27T10:00:00Z",
    state=State.COMMITTED,
    running="0123abcd.dir",
    healthy_s=12.5,
    why="the robot moves",
    failed=(Failure(release="4567cdef.dir", reason="p95 of 31 ms, needed 20 ms"),),
    proven=("0123abcd.dir",),
    fingerprint="ab" * 8,
    platform={"soc": "tegra234", "dla_cores": 2, "jetpack": None},
    agent="0.1.0",
)


@pytest.fixture(scope="module")
def signer():
    return CryptoSigner.generate_ed25519()


@pytest.fixture(scope="module")
def key(signer):
    return public_half(signer)


def signed(signer, document, payload_type=PAYLOAD_TYPE):
    payload = document if isinstance(document, bytes) else json.dumps(document).encode()
    return sign(payload, signer, payload_type)


def fields(**changed):
    return {**json.loads(REPORT.model_dump_json()), **changed}


def test_a_report_arrives_as_it_was_sent(signer, key):
    content = sign_report(REPORT, signer)
    assert open_report(content, key) == REPORT
    assert content == sign_report(REPORT, signer)
    assert content.count(b"\n") == 1


def test_another_robots_key_is_refused(signer):
    other = public_half(CryptoSigner.generate_ed25519())
    with pytest.raises(FleetError, match="which is not trusted here") as refused:
        open_report(sign_report(REPORT, signer), other)
    assert str(other) in refused.value.needed


def test_every_altered_byte_is_refused(signer, key):
    content = sign_report(REPORT, signer).rstrip()
    for place in range(len(content)):
        altered = bytearray(content)
        altered[place] ^= 1
        with pytest.raises(FleetError):
            open_report(bytes(altered), key)


def test_an_altered_payload_is_named_as_such(signer, key):
    document = json.loads(sign_report(REPORT, signer))
    document["payload"] = base64.b64encode(
        REPORT.model_copy(update={"sequence": 42}).model_dump_json().encode()
    ).decode()
    with pytest.raises(FleetError, match="does not match the payload"):
        open_report(json.dumps(document).encode(), key)


def test_a_statement_never_passes_for_a_report_nor_the_reverse(signer, key):
    with pytest.raises(FleetError, match=r"payload type 'application/vnd\.in-toto\+json' is not known"):
        open_report(sign(REPORT.model_dump_json().encode(), signer), key)
    with pytest.raises(ProvenanceError, match=r"payload type 'application/vnd\.robot-assets\.report\+json'"):
        open_envelope(sign_report(REPORT, signer), Trust((key,)))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"payload": 1}', b"[" * 60_000])
def test_other_bytes_are_refused(key, content):
    with pytest.raises(FleetError, match="not a DSSE envelope"):
        open_report(content, key)


@pytest.mark.parametrize("cut", [1, 100, 300])
def test_a_report_that_is_cut_is_refused(signer, key, cut):
    with pytest.raises(FleetError, match="not a DSSE envelope"):
        open_report(sign_report(REPORT, signer)[: -cut - 1], key)


def test_a_large_report_is_refused_before_it_is_parsed(key):
    with pytest.raises(FleetError, match="has 1000000 bytes") as refused:
        open_report(b" " * 1_000_000, key)
    assert refused.value.needed == f"at most {LARGEST_BYTES} bytes"


def test_a_report_that_nobody_would_accept_is_not_signed(signer):
    with pytest.raises(FleetError, match="the signed report of delivery_07 has"):
        sign_report(REPORT.model_copy(update={"why": "x" * LARGEST_BYTES}), signer)


@pytest.mark.parametrize("found", [2, 0, "1", None, [1]])
def test_an_unknown_format_is_named(signer, key, found):
    with pytest.raises(FleetError, match="the report has format") as refused:
        open_report(signed(signer, fields(format=found, other=1)), key)
    assert refused.value.needed == "format 1"


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        (fields(sequence=-1), "sequence: needed 0 or more"),
        (fields(sequence="7"), "sequence: needed a whole number"),
        (fields(state="flying"), "state: needed"),
        (fields(healthy_s=-1.0), "healthy_s: needed 0.0 or more"),
        (fields(mood="good"), "mood: unknown key"),
        ({"format": 1}, "robot: missing"),
        ([], "needed"),
        (b"{", "not JSON"),
        (b'{"healthy_s": NaN}', "not JSON|needed"),
        (b"[" * 20_000, "not JSON|needed"),
    ],
)
def test_a_signed_payload_that_is_no_report_is_refused(signer, key, document, problem):
    with pytest.raises(FleetError, match=problem):
        open_report(signed(signer, document), key)


def test_the_error_has_its_three_parts(key):
    with pytest.raises(RobotAssetsError) as refused:
        open_report(b"", key)
    assert refused.value.found
    assert refused.value.needed
    assert "robot-assets fleet enroll" in refused.value.fix
