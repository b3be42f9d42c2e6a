"""Signing after a build: repeating it changes nothing, and the private key stays in its file."""

import base64
import shutil

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from robot_assets.core.errors import StoreError
from robot_assets.platforms.probe import probe
from robot_assets.provenance.delivery import deliver
from robot_assets.provenance.errors import ProvenanceError
from robot_assets.provenance.intact import intact
from robot_assets.provenance.keys import KEY_VARIABLE, create_key
from robot_assets.provenance.verify import verify
from tests.provenance.conftest import BuiltProject, gate, project_at, with_head


def test_signing_again_changes_nothing(built):
    for _ in range(2):
        built.sign()
        built.sign_gates()
        first = built.statements
    names = ["gate-accuracy-5b1d2c33", "gate-latency-5b1d2c33", "provenance-5b1d2c33"]
    assert list(first) == [f"{name}-92b763" for name in names]
    assert built.statements == first


def test_signing_leaves_the_version_of_the_engine_alone(built):
    built.sign()
    assert built.project.store.add(built.engine).digest == built.chain.head.version


def test_gates_that_end_at_the_same_time_do_not_overwrite_each_other(built):
    built.sign()
    built.sign_gates(with_head(built.chain, gates=()))
    assert list(built.statements) == ["provenance-5b1d2c33-92b763"]
    for one in (gate("latency"), gate("accuracy")):
        built.sign_gates(with_head(built.chain, gates=(one,)))
    found = verify(built.engine, built.project.trust(), probe(), built.project.store)
    assert found.passed


def test_a_run_id_with_other_characters_gives_a_valid_name(built):
    record = built.chain.head.record.model_copy(update={"run_id": "Nightly/2026 03"})
    built.sign(with_head(built.chain, record=record))
    assert list(built.statements) == ["provenance-nightly--92b763"]


def test_engines_of_two_targets_with_equal_bytes_are_both_signed_in_one_run(built):
    twin = with_head(built.chain, asset="small_detector/engine/twin")
    for chain in (built.chain, twin):
        built.sign(chain)
        built.sign_gates(chain)
    assert len(built.statements) == 6


def test_an_engine_without_bytes_or_without_a_record_is_not_signed(built):
    with pytest.raises(StoreError):
        built.sign(with_head(built.chain, version="0" * 32 + ".dir"))
    with pytest.raises(ProvenanceError, match="there is no record"):
        built.sign(with_head(built.chain, record=None))
    assert built.statements == {}


def test_a_key_that_others_can_read_signs_nothing(built):
    create_key(built.project.key.path)
    built.project.key.path.chmod(0o644)
    with pytest.raises(ProvenanceError, match="others than its owner"):
        built.sign()
    assert built.statements == {}


@pytest.mark.parametrize("where", ["of the checkout", "named"])
def test_the_private_key_is_in_no_store_no_engine_and_no_verdict(stocked, tmp_path, monkeypatch, where):
    if where == "named":
        create_key(tmp_path / "secrets" / "signing.pem")
        monkeypatch.setenv(KEY_VARIABLE, str(tmp_path / "secrets" / "signing.pem"))
    project = project_at(tmp_path / "project", url=str(tmp_path / "remote"))
    shutil.copytree(stocked.project.root / ".robot_assets/store/files", project.state / "cache/files")
    built = BuiltProject(project, stocked.chain)
    built.sign()
    built.sign_gates()
    deliver(built.engine, tmp_path / "robot", project.store)
    verdict = intact(built.chain, project.store, project.trust())

    key = project.key.path
    private = load_pem_private_key(key.read_bytes(), None)
    seed = private.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    forms = [seed, seed.hex().encode(), base64.b64encode(seed)[:40], key.read_bytes().splitlines()[1], b"PRIVATE KEY"]
    written = [path for path in tmp_path.rglob("*") if path.is_file() and path != key]
    assert {path.relative_to(tmp_path).parts[0] for path in written} >= {"project", "remote", "robot"}
    leaks = [path for path in written if any(form in path.read_bytes() for form in forms)]
    assert leaks == []
    assert not any(form.decode("latin-1") in repr((verdict, project, project.trust())) for form in forms)
