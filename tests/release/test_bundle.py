"""``bundle.json`` comes from outside: whatever its bytes are, it is parsed or refused with a reason."""

from __future__ import annotations

import json
import re
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_assets.release.bundle import BUNDLE_FILE, BUNDLE_SIZE_MAX, REFERENCE, Bundle, parse_bundle
from robot_assets.release.errors import ReleaseError

SHA256 = "0" * 64
MODEL = {
    "asset": "small/engine/cpu",
    "version": "0" * 32 + ".dir",
    "folder": "small",
    "task": "detection",
    "decoder": "boxes",
    "budgets": {"latency_ms_p95_max": 40.0},
    "tolerance_share": 0.01,
}


def document(*paths: str, **changes: object) -> dict[str, object]:
    names = [f"small/{REFERENCE}", *paths]
    return {
        "format": 1,
        "group": "yard",
        "target": "cpu",
        "platform": {"architecture": "x86_64"},
        "platform_fingerprint": "1" * 32,
        "models": {"small": MODEL},
        "files": [{"path": path, "sha256": SHA256, "size": 3} for path in names],
        **changes,
    }


def parse(given: dict[str, object]) -> Bundle:
    return parse_bundle(json.dumps(given).encode())


def refusal(content: bytes) -> str:
    with pytest.raises(ReleaseError) as caught:
        parse_bundle(content)
    assert caught.value.fix
    return caught.value.found


def test_a_bundle_is_read_as_it_was_written():
    bundle = parse(document("small/engine.onnx", "NOTICE"))
    assert bundle.size_bytes == 9
    assert parse_bundle(bundle.model_dump_json().encode()) == bundle


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("../engine.onnx", "not a path inside the release"),
        ("small/../../engine.onnx", "not a path inside the release"),
        ("small/..", "not a path inside the release"),
        ("/etc/passwd", "not a path inside the release"),
        ("small//engine.onnx", "not a path inside the release"),
        ("small/./engine.onnx", "not a path inside the release"),
        ("small/", "not a path inside the release"),
        ("small\\..\\engine.onnx", "other characters"),
        ("C:engine.onnx", "other characters"),
        ("small/engine\n.onnx", "other characters"),
        ("small/engine\x00", "other characters"),
        ("small/engine\x1b[2J", "other characters"),
        ("small/engine\u202e.onnx", "other characters"),
        ("small/engine ", "file systems drop"),
        ("small/engine.", "file systems drop"),
        (BUNDLE_FILE, "the name of the file itself"),
        ("Bundle.JSON", "the name of the file itself"),
        ("other/engine.onnx", "in no folder of a model"),
        (f"small/{REFERENCE}", "is there twice"),
        (f"small/{REFERENCE.upper()}", "differ in case alone"),
        ("SMALL/engine.onnx", "in no folder of a model"),
        (f"small/{REFERENCE}/engine.onnx", "a file and a folder"),
        ("small", "a file and a folder"),
        ("", "length 1 or more"),
        ("a" * 256, "length 255 or less"),
    ],
)
def test_a_path_that_leaves_the_release_or_collides_is_refused(path, why):
    found = refusal(json.dumps(document(path)).encode())
    assert why in found
    assert found.isprintable()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"models": {}}, "models: needed at least one entry"),
        ({"models": {"small": MODEL | {"folder": ".."}}}, "models.small.folder"),
        ({"models": {"small": MODEL | {"folder": "other"}}}, "needed the name of the model"),
        ({"models": {"other": MODEL | {"folder": "other"}}}, f"other/{REFERENCE} is not among the files"),
        ({"models": {"small": MODEL | {"version": "new"}}}, "models.small.version"),
        ({"models": {"small": MODEL | {"tolerance_share": 2}}}, "models.small.tolerance_share: needed 1.0 or less"),
        ({"models": {"small": MODEL | {"install": "sh"}}}, "models.small.install: unknown key"),
        ({"files": [{"path": f"small/{REFERENCE}", "sha256": "abc", "size": 1}]}, "files.0.sha256"),
        ({"files": [{"path": f"small/{REFERENCE}", "sha256": SHA256, "size": -1}]}, "files.0.size: needed 0 or more"),
        ({"files": [{"path": f"small/{REFERENCE}", "sha256": SHA256, "size": 2**62}]}, "files.0.size"),
        ({"format": 2}, "format: needed 1"),
        ({"more": 1}, "more: unknown key"),
        ({"more\x1b[2J": 1}, "more\\x1b[2J: unknown key"),
        ({"group": None}, "group: needed a string"),
        ({"group": "../yard"}, "group: needed text like"),
        ({"target": "cpu\n"}, "target: needed text like"),
        ({"platform_fingerprint": "this"}, "platform_fingerprint: needed text like"),
    ],
)
def test_a_value_that_is_not_valid_is_named(changes, why):
    assert why in refusal(json.dumps(document(**changes)).encode())


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 200_000, "not JSON"),
        (b'{"format": ' + b"9" * 5_000 + b"}", "not JSON"),
        (b'{"group": "a", "group": "b"}', "the key 'group' is there twice"),
        (b"[]", "needed a mapping"),
        (b" " * (BUNDLE_SIZE_MAX + 1), "at most 1048576 are read"),
    ],
    ids=["empty", "not UTF-8", "deep", "a long number", "a key twice", "a list", "endless"],
)
def test_bytes_that_are_no_bundle_are_refused(content, why):
    assert why in refusal(content)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_budget_has_to_be_a_finite_number(number):
    text = json.dumps(document()).replace("40.0", number)
    assert "budgets.latency_ms_p95_max: needed a finite number" in refusal(text.encode())


@settings(max_examples=300)
@given(place=st.integers(0, 10**6), byte=st.integers(0, 255))
def test_no_byte_makes_it_fail_in_another_way(place, byte):
    content = bytearray(json.dumps(document("small/engine.onnx")).encode())
    content[place % len(content)] = byte
    with suppress(ReleaseError):
        bundle = parse_bundle(bytes(content))
        assert all(re.fullmatch(r"small/[ -~]+", file.path) for file in bundle.files)


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_other_bytes_are_refused(content):
    refusal(content)
