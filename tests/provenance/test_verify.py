"""On a robot: only the engine that was built, signed and tested for such a machine passes."""

import base64
import json
import random
import shutil
import subprocess
import sys

import pytest
from securesystemslib.signer import CryptoSigner

from robot_assets.engines.load import load_manifest
from robot_assets.platforms.probe import probe
from robot_assets.provenance.envelope import sign
from robot_assets.provenance.errors import ProvenanceError
from robot_assets.provenance.keys import KEY_VARIABLE, create_key, signing_key
from robot_assets.provenance.public_key import Trust
from robot_assets.provenance.subjects import BUNDLE
from robot_assets.provenance.verify import verify
from robot_assets.runtime.manifest import save_manifest
from tests.alter import flip_bit
from tests.provenance.conftest import ENGINE, gate, with_head


@pytest.fixture
def signed(built):
    built.sign()
    built.sign_gates()
    return built


@pytest.fixture
def trust(signed):
    return signed.project.trust()


@pytest.fixture
def robot(signed, tmp_path):
    """The engine as a robot has it: writable files and the envelopes beside them."""
    folder = tmp_path / "robot"
    shutil.copytree(signed.engine, folder, copy_function=shutil.copyfile)
    write_bundle(folder, signed.project.store.attestations(signed.chain.head.version).values())
    return folder


def write_bundle(folder, envelopes):
    (folder / BUNDLE).write_bytes(b"".join(envelopes))


def answers(verification):
    return {check.name: check.passed for check in verification.checks}


def why(verification, name):
    [check] = [check for check in verification.checks if check.name == name]
    return check.why


def other_engine(signed, tmp_path):
    """Another engine of the same project: its directory, and its chain with its own version."""
    folder = tmp_path / "other"
    shutil.copytree(signed.engine, folder, copy_function=shutil.copyfile)
    manifest = load_manifest(folder)
    save_manifest(folder, manifest.model_copy(update={"threads": 2}))
    version = signed.project.store.add(folder).digest
    return folder, with_head(signed.chain, version=version)


def test_an_engine_that_was_built_signed_and_tested_passes(robot, trust):
    found = verify(robot, trust, probe())
    assert found.passed
    assert answers(found) == dict.fromkeys(("manifest", "signature", "files", "gates", "platform"), True)
    assert (found.asset, found.signed_by) == (ENGINE, str(trust.keys[0]))
    assert "the key of this checkout" in why(found, "signature")
    assert "accuracy and latency passed" in why(found, "gates")
    assert json.loads(json.dumps(found.as_json()))["passed"] is True


@pytest.mark.parametrize("name", ["engine.onnx", "manifest.json"])
@pytest.mark.parametrize("place", [0, 0.5, -1])
def test_one_altered_byte_of_a_file_is_detected_and_named(robot, trust, name, place):
    size = (robot / name).stat().st_size
    flip_bit(robot / name, int(size * place) if place > 0 else place)
    found = verify(robot, trust, probe())
    assert not found.passed
    assert why(found, "files").startswith(f"{name} was altered")
    assert answers(found)["signature"]


def test_one_altered_byte_of_the_envelopes_is_detected(robot, trust):
    bundle, platform = (robot / BUNDLE).read_bytes(), probe()
    places = random.Random(0).sample(range(len(bundle) - 1), 60)
    for place in (*places, bundle.index(b"\n")):
        (robot / BUNDLE).write_bytes(bundle)
        flip_bit(robot / BUNDLE, place)
        found = answers(verify(robot, trust, platform))
        assert not (found["signature"] and found["gates"]), place


def test_a_manifest_that_was_edited_and_sealed_again_is_detected(robot, trust):
    save_manifest(robot, load_manifest(robot).model_copy(update={"platform_fingerprint": "0" * 32}))
    found = verify(robot, trust, probe())
    assert answers(found) == {"manifest": True, "signature": True, "files": False, "gates": False, "platform": False}
    assert why(found, "files").startswith("manifest.json was altered")


def test_an_added_and_a_missing_file_are_named(robot, trust):
    (robot / "NOTICE").write_text("made by somebody else")
    (robot / "engine.onnx").unlink()
    found = verify(robot, trust, probe())
    assert not found.passed
    assert "NOTICE was added and is not signed; engine.onnx is missing" in why(found, "files")
    assert "missing" in why(found, "manifest")


def test_a_link_among_the_files_is_refused(robot, trust, tmp_path):
    (robot / "engine.onnx").rename(tmp_path / "engine.onnx")
    (robot / "engine.onnx").symlink_to(tmp_path / "engine.onnx")
    with pytest.raises(ProvenanceError, match="neither a file nor a directory"):
        verify(robot, trust, probe())


def test_the_signature_of_a_stranger_does_not_count(robot, tmp_path):
    stranger = Trust((create_key(tmp_path / "stranger.pem"),))
    found = verify(robot, stranger, probe())
    assert answers(found) == {"manifest": True, "signature": False, "files": False, "gates": False, "platform": True}
    assert "which is not trusted here" in why(found, "signature")
    assert found.asset is None


def test_an_engine_without_a_signature_does_not_pass(robot, trust):
    (robot / BUNDLE).unlink()
    found = verify(robot, trust, probe())
    assert not found.passed
    assert why(found, "signature").startswith("no signed provenance")


def test_the_envelopes_of_another_engine_do_not_count(signed, robot, trust, tmp_path):
    other, chain = other_engine(signed, tmp_path)
    signed.sign(chain)
    signed.sign_gates(chain)
    shutil.copyfile(robot / BUNDLE, other / BUNDLE)
    found = verify(other, trust, probe())
    assert answers(found) | {"files": True, "gates": True} == dict.fromkeys(answers(found), True)
    assert "manifest.json was altered: its sha256" in why(found, "files")
    assert f"the signed engine is {ENGINE} {signed.chain.head.version}" in why(found, "files")


def test_gates_of_another_engine_do_not_count(signed, robot, trust, tmp_path):
    _, chain = other_engine(signed, tmp_path)
    signed.sign_gates(chain)
    mine = signed.project.store.attestations(signed.chain.head.version)
    theirs = signed.project.store.attestations(chain.head.version)
    write_bundle(robot, [mine["provenance-5b1d2c33-92b763"], theirs["gate-accuracy-5b1d2c33-92b763"]])
    found = verify(robot, trust, probe())
    assert answers(found) | {"gates": True} == dict.fromkeys(answers(found), True)
    assert not found.passed


def test_other_lines_beside_good_envelopes_are_skipped(signed, robot, trust):
    other_tool = sign(
        b'{"_type":"https://in-toto.io/Statement/v1","subject":[],"predicateType":"https://spdx.dev/Document"}',
        signing_key(signed.project.key),
    )
    stranger = sign((robot / "manifest.json").read_bytes(), CryptoSigner.generate_ed25519())
    bundle = (robot / BUNDLE).read_bytes()
    write_bundle(robot, [b"not an envelope\n\n", other_tool, stranger, bundle])
    assert verify(robot, trust, probe()).passed


@pytest.mark.parametrize(
    "payload",
    [
        b"{}",
        b"[]",
        b"\xff",
        b'{"_type":"https://in-toto.io/Statement/v1","subject":[],"predicateType":"https://slsa.dev/provenance/v2"}',
        b'{"_type":"https://in-toto.io/Statement/v1","subject":[],"predicateType":"https://slsa.dev/provenance/v1"}',
    ],
)
def test_a_signed_payload_that_is_not_known_is_refused(signed, robot, trust, payload):
    write_bundle(robot, [sign(payload, signing_key(signed.project.key))])
    found = verify(robot, trust, probe())
    assert not found.passed
    assert why(found, "signature").startswith("a signed statement")


def test_provenance_of_another_builder_is_refused(signed, robot, trust):
    envelope = signed.project.store.attestations(signed.chain.head.version)["provenance-5b1d2c33-92b763"]
    payload = base64.b64decode(json.loads(envelope)["payload"])
    payload = payload.replace(b"urn:robot-assets:builder:v1", b"urn:somebody:else")
    write_bundle(robot, [sign(payload, signing_key(signed.project.key))])
    found = verify(robot, trust, probe())
    assert "is not ours" in why(found, "signature")


@pytest.mark.parametrize(
    ("first", "second", "expected"), [(True, False, False), (False, True, True)], ids=["worse", "better"]
)
def test_the_newest_gate_results_count(signed, trust, first, second, expected):
    for passed, hour in ((second, "10"), (first, "09")):  # signed in any order
        late = gate("latency", passed=passed, run_id=f"{hour}aaaaaa", at=f"2026-03-01T{hour}:00:00+00:00")
        signed.sign_gates(with_head(signed.chain, gates=(gate("accuracy"), late)))
    found = verify(signed.engine, trust, probe(), signed.project.store)
    assert answers(found)["gates"] is expected
    if not expected:
        assert "latency failed" in why(found, "gates")


def test_a_gate_that_was_not_evaluated_is_named(built):
    built.sign()
    built.sign_gates(with_head(built.chain, gates=(gate("accuracy"),)))
    found = verify(built.engine, built.project.trust(), probe(), built.project.store)
    assert not found.passed
    assert "latency was not evaluated" in why(found, "gates")


def test_another_machine_is_refused_and_the_differences_are_named(robot, trust):
    elsewhere = probe().model_copy(update={"architecture": "riscv64", "cpu_features": ()})
    found = verify(robot, trust, elsewhere)
    assert answers(found) | {"platform": True} == dict.fromkeys(answers(found), True)
    assert not found.passed
    assert "architecture is riscv64, it was built for" in why(found, "platform")


def test_an_engine_in_the_store_needs_no_file_beside_it(signed, trust):
    assert verify(signed.engine, trust, probe(), signed.project.store).passed


def test_the_envelopes_of_a_copy_are_found_in_the_store_by_its_bytes(signed, robot, trust):
    (robot / BUNDLE).unlink()
    assert verify(robot, trust, probe(), signed.project.store).passed


def test_one_altered_byte_in_the_store_is_detected_and_named(signed, trust):
    path = signed.engine / "engine.onnx"
    flip_bit(path, 100)
    found = verify(path.parent, trust, probe(), signed.project.store)
    assert not found.passed
    assert why(found, "files").startswith("engine.onnx was altered")


def test_a_file_of_an_engine_names_the_engine(robot, trust):
    assert verify(robot / "engine.onnx", trust, probe()).passed


def test_a_file_out_of_its_directory_is_not_enough(robot, trust, tmp_path):
    (tmp_path / "alone").mkdir()
    shutil.copyfile(robot / "engine.onnx", tmp_path / "alone" / "engine.onnx")
    found = verify(tmp_path / "alone" / "engine.onnx", trust, probe())
    assert not any(answers(found).values())
    with pytest.raises(ProvenanceError, match="no engine at"):
        verify(tmp_path / "nowhere", trust, probe())


def test_after_a_rotation_both_keys_count_while_both_are_trusted(signed, robot, trust, tmp_path, monkeypatch):
    new = create_key(tmp_path / "new.pem")
    monkeypatch.setenv(KEY_VARIABLE, str(tmp_path / "new.pem"))
    other, chain = other_engine(signed, tmp_path)
    signed.sign(chain)
    signed.sign_gates(chain)
    write_bundle(other, signed.project.store.attestations(chain.head.version).values())
    both = Trust((*trust.keys, new))
    assert [answers(verify(folder, both, probe()))["signature"] for folder in (robot, other)] == [True, True]
    assert [answers(verify(folder, Trust((new,)), probe()))["signature"] for folder in (robot, other)] == [False, True]


def test_a_robot_needs_neither_dagster_nor_torch_nor_a_network(robot, trust, repository):
    code = f"""
import sys
for name in ("dagster", "torch", "torchao", "dvc", "fsspec", "s3fs"):
    sys.modules[name] = None
def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "subprocess.Popen"):
        raise PermissionError(event)
sys.addaudithook(refuse)
from robot_assets.cli.main import main
sys.argv = ["robot-assets", "verify", {str(robot)!r}, "--trusted", {str(trust.keys[0])!r}]
main()
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=robot.anchor, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("yes") == 6
