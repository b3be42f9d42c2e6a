"""A robot finds every difference between a release and what was signed, offline."""

from __future__ import annotations

import json
import os
import shutil
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from robot_assets.core.documents import write_json
from robot_assets.engines.load import load_manifest
from robot_assets.platforms.probe import probe
from robot_assets.provenance.public_key import Trust
from robot_assets.provenance.subjects import BUNDLE
from robot_assets.release.bundle import BUNDLE_FILE, BUNDLE_SIZE_MAX, REFERENCE
from robot_assets.release.errors import ReleaseError
from robot_assets.release.verifying import Verification, check_demanded, check_fingerprint, verify_release
from robot_assets.runtime.manifest import save_manifest
from tests.alter import flip_bit
from tests.small_release import OTHER_FINGERPRINT, SmallRelease, public_key, small_release, with_new_hashes

OTHER_SEED = bytes(range(2, 34))


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> SmallRelease:
    """A release of two engines that is copied, and never changed."""
    return small_release(tmp_path_factory.mktemp("release") / "release", models=("near", "far"))


@pytest.fixture
def release(original, tmp_path) -> SmallRelease:
    """A copy that a test may damage."""
    return replace(original, path=Path(shutil.copytree(original.path, tmp_path / "copy")))


def verify(release: SmallRelease, **options) -> Verification:
    return verify_release(release.path, release.trust, **options)


def failed(found: Verification) -> list[str]:
    """Names of the failed checks, each of which has a reason and a fix."""
    assert all(check.why for check in found.checks)
    assert all(bool(check.fix) == (not check.passed) for check in found.checks)
    return [check.name for check in found.failures]


def rewrite(release: SmallRelease, **changes) -> SmallRelease:
    """Change bundle.json alone, as somebody with the key of the releases could."""
    document = release.bundle.model_dump(mode="json")
    write_json(release.path / BUNDLE_FILE, {**document, **changes})
    return release


def rewrite_model(release: SmallRelease, **changes) -> SmallRelease:
    models = release.bundle.model_dump(mode="json")["models"]
    return rewrite(release, models=models | {"far": models["far"] | changes})


def test_a_whole_release_verifies(release):
    found = verify(release, group="robots", demanded={"latency_ms_p95_max": 10_000})
    assert found.passed, found.why
    assert found.require() == release.bundle
    assert {check.name for check in found.checks} >= {"bundle", "files", "platform", "far: signature", "near: decoder"}
    assert json.loads(json.dumps(found.as_json()))["passed"]


def test_verification_does_not_depend_on_where_a_release_is(release, tmp_path):
    shutil.move(release.path, tmp_path / "ein Ordner mit [Umlauten] äöü")
    assert verify_release(tmp_path / "ein Ordner mit [Umlauten] äöü", release.trust).passed


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_every_changed_byte_of_every_file_is_found(original, tmp_path_factory, data):
    file = data.draw(st.sampled_from(original.bundle.files))
    place = data.draw(st.integers(0, file.size - 1))
    bit = data.draw(st.integers(0, 7))
    path = original.path / file.path
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << bit
    before = path.read_bytes()
    try:
        path.write_bytes(content)
        assert failed(verify(original)) == ["files"]
    finally:
        path.write_bytes(before)


def test_every_missing_shortened_or_longer_file_is_found(original):
    for file in original.bundle.files:
        path = original.path / file.path
        before = path.read_bytes()
        for content in (before[:-1], b"", before + b"\n"):
            path.write_bytes(content)
            assert failed(verify(original)) == ["files"]
        path.unlink()
        assert failed(verify(original)) == ["files"]
        path.write_bytes(before)
    assert verify(original).passed


@pytest.mark.parametrize(
    "name", ["more", "near/more", "near/more/deep", ".hidden", "NOTICE", "near/__pycache__/x.pyc", "bundle.json.part"]
)
def test_a_file_more_is_found(release, name):
    (release.path / name).parent.mkdir(parents=True, exist_ok=True)
    (release.path / name).write_bytes(b"")
    assert failed(verify(release)) == ["files"]
    assert name.split("/")[-1] in verify(release).why


def test_an_empty_folder_more_is_found(release):
    (release.path / "near" / "empty").mkdir()
    assert failed(verify(release)) == ["files"]


@pytest.mark.parametrize("inside", [True, False])
def test_a_link_to_the_right_bytes_is_not_the_file(release, tmp_path, inside):
    path = release.path / "near" / "engine.onnx"
    target = (release.path if inside else tmp_path) / "kept.onnx"
    path.rename(target)
    path.symlink_to(target)
    assert failed(verify(release)) == ["files"]
    assert "near/engine.onnx is a link or a device" in verify(release).why


def test_a_linked_folder_is_not_the_folder(release, tmp_path):
    (release.path / "near").rename(tmp_path / "near")
    (release.path / "near").symlink_to(tmp_path / "near")
    assert failed(verify(release)) == ["files"]


def test_a_linked_bundle_is_refused(release, tmp_path):
    (release.path / BUNDLE_FILE).rename(tmp_path / BUNDLE_FILE)
    (release.path / BUNDLE_FILE).symlink_to(tmp_path / BUNDLE_FILE)
    assert failed(verify(release)) == ["bundle"]


def test_a_pipe_or_a_socket_does_not_block_the_verification(release):
    path = release.path / "near" / "engine.onnx"
    path.unlink()
    os.mkfifo(path)
    assert failed(verify(release)) == ["files"]
    path.unlink()
    with socket.socket(socket.AF_UNIX) as listening, pytest.MonkeyPatch.context() as patch:
        patch.chdir(path.parent)
        listening.bind(path.name)
        assert failed(verify(release)) == ["files"]
    (release.path / BUNDLE_FILE).unlink()
    os.mkfifo(release.path / BUNDLE_FILE)
    assert failed(verify(release)) == ["bundle"]


def test_names_that_changed_places_are_found(release):
    near, far = (release.path / name / "engine.onnx" for name in ("near", "far"))
    content = near.read_bytes()
    near.write_bytes(far.read_bytes())
    far.write_bytes(content)
    assert failed(verify(release)) == ["files"]


def test_control_characters_in_a_name_do_not_reach_the_terminal(release):
    (release.path / "near" / "\x1b[2J\x07").write_bytes(b"")
    assert verify(release).why.isprintable()


@pytest.mark.parametrize("content", [b"", b"{}", b"\x00" * 10, b" " * (BUNDLE_SIZE_MAX + 1)])
def test_a_damaged_bundle_is_one_failed_check(release, content):
    (release.path / BUNDLE_FILE).write_bytes(content)
    found = verify(release)
    assert failed(found) == ["bundle"]
    with pytest.raises(ReleaseError, match="does not verify"):
        found.require()


def test_a_folder_that_is_not_there_is_one_failed_check(tmp_path, original):
    assert failed(verify_release(tmp_path / "nothing", original.trust)) == ["bundle"]


def test_a_release_of_another_group_is_refused(release):
    assert failed(verify(release, group="tractors")) == ["bundle"]


def test_a_signer_that_is_not_trusted_is_refused(release):
    found = verify_release(release.path, Trust((public_key(OTHER_SEED),)))
    assert {name.split(": ")[1] for name in failed(found)} == {"signature", "files", "gates", "budgets"}
    assert "trusted_keys in robot.yaml" in found.failures[0].fix


def test_engines_that_another_key_has_signed_are_refused(tmp_path):
    made = small_release(tmp_path / "release", key_seed=OTHER_SEED)
    assert "small: signature" in failed(verify_release(made.path, Trust((public_key(),))))


def test_an_engine_whose_gate_failed_is_refused(tmp_path):
    found = verify(small_release(tmp_path / "release", gates_passed=False))
    assert failed(found) == ["small: gates"]
    assert "accuracy failed" in found.why


def test_an_engine_without_the_results_of_a_gate_is_refused(release):
    path = release.path / "far" / BUNDLE
    kept = [line for line in path.read_bytes().splitlines(keepends=True) if not _is_about(line, "latency")]
    path.write_bytes(b"".join(kept))
    found = verify(with_new_hashes(release))
    assert failed(found) == ["far: gates", "far: budgets"]
    assert "latency was not evaluated" in found.why


def _is_about(line: bytes, gate: str) -> bool:
    import base64

    statement = json.loads(base64.b64decode(json.loads(line)["payload"]))
    return statement["predicate"].get("passedTests") == [gate]


def test_an_engine_without_statements_is_refused(release):
    (release.path / "far" / BUNDLE).write_bytes(b"")
    assert failed(verify(with_new_hashes(release)))[0] == "far: signature"


@pytest.mark.parametrize("name", ["engine.onnx", "manifest.json"])
def test_an_altered_engine_is_refused_though_the_bundle_has_its_hash(release, name):
    flip_bit(release.path / "far" / name)
    assert "far: files" in failed(verify(with_new_hashes(release)))


def test_a_file_more_in_an_engine_is_refused_though_the_bundle_has_it(release):
    (release.path / "far" / "more.bin").write_bytes(b"\x00")
    assert "far: files" in failed(verify(with_new_hashes(release)))


def test_engines_in_the_place_of_one_another_are_refused(release):
    near, far, kept = (release.path / name for name in ("near", "far", "kept"))
    near.rename(kept)
    far.rename(near)
    kept.rename(far)
    models = release.bundle.model_dump(mode="json")["models"]
    swapped = {
        "near": models["far"] | {"folder": "near"},
        "far": models["near"] | {"folder": "far"},
    }
    made = with_new_hashes(release)
    rewrite(made, models=swapped)
    assert failed(verify(made)) == ["far: identity", "near: identity"]


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"version": "0" * 32 + ".dir"}, "far: identity"),
        ({"asset": "far/engine/orin"}, "far: identity"),
        ({"task": "detection"}, "far: identity"),
        ({"decoder": "boxes"}, "far: identity"),
        ({"budgets": {"latency_ms_p95_max": 1.0}}, "far: budgets"),
    ],
)
def test_what_the_bundle_states_of_an_engine_has_to_be_signed(release, changes, check):
    assert failed(verify(rewrite_model(release, **changes))) == [check]


def test_a_release_for_another_target_is_refused(release):
    assert failed(verify(rewrite(release, target="orin"))) == ["far: identity", "near: identity"]


def test_a_release_for_another_device_is_refused(tmp_path):
    made = small_release(tmp_path / "release", wrong_fingerprint=True)
    found = verify(made)
    assert failed(found) == ["platform", "small: platform"]
    assert "onnxruntime is " in found.why
    assert not check_fingerprint(made.bundle, probe()).passed


def test_a_bundle_cannot_claim_another_device_than_its_engines(tmp_path):
    made = small_release(tmp_path / "release", wrong_fingerprint=True)
    rewrite(made, platform=probe().as_json(), platform_fingerprint=probe().fingerprint)
    assert failed(verify(made)) == ["small: identity", "small: platform"]


def test_the_device_can_be_another_one_than_this_machine(original):
    other = probe().model_copy(update={"onnxruntime": "1.0.0"})
    assert "platform" in failed(verify(original, platform=other))


def test_an_engine_of_another_decoder_is_refused(tmp_path):
    made = small_release(tmp_path / "release", decoder_code="0" * 32)
    found = verify(made)
    assert failed(found) == ["small: decoder"]
    assert "0" * 32 in found.why


def test_budgets_that_are_looser_than_demanded_are_refused(release):
    demanded = {"latency_ms_p95_max": 5_000.0, "engine_size_mib_max": None}
    found = verify(release, demanded=demanded)
    assert failed(found) == ["far: budgets", "near: budgets"]
    assert "latency_ms_p95_max was 10000 (demanded: 5000 or less)" in found.why
    before_download = check_demanded(release.bundle, demanded)
    assert before_download.why.startswith("far: latency_ms_p95_max was 10000")


def test_a_manifest_that_somebody_has_sealed_again_is_refused(release):
    folder = release.path / "far"
    save_manifest(folder, load_manifest(folder).model_copy(update={"threads": 64}))
    assert "far: files" in failed(verify(with_new_hashes(release)))


def test_reference_answers_are_no_part_of_the_engine(release):
    flip_bit(release.path / "far" / REFERENCE)
    assert verify(with_new_hashes(release)).passed  # their hash is that of bundle.json, which the releases role signs


def test_the_other_fingerprint_is_not_the_one_of_this_machine():
    assert probe().fingerprint != OTHER_FINGERPRINT
