"""Signing after a build: doing it twice changes nothing, and the private key stays where it is."""

import base64
import shutil

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from robot_assets.core.errors import StoreError
from robot_assets.platforms.probe import probe
from robot_assets.provenance.delivery import deliver
from robot_assets.provenance.errors import ProvenanceError
from robot_assets.provenance.intact import intact
from robot_assets.provenance.keys import KEY_VARIABLE, create_key, key_path, trust_of
from robot_assets.provenance.signing import sign_engine, sign_gates
from robot_assets.provenance.verify import verify
from tests.provenance.conftest import Workshop, gate, project_at, with_head


def said(workshop):
    return workshop.project.store.attestations(workshop.chain.head.version)


def test_signing_again_changes_nothing(workshop):
    for _ in range(2):
        sign_engine(workshop.project, workshop.chain)
        sign_gates(workshop.project, workshop.chain)
        first = said(workshop)
    assert list(first) == ["gate-accuracy-5b1d2c33", "gate-latency-5b1d2c33", "provenance-5b1d2c33"]
    assert said(workshop) == first


def test_signing_leaves_the_version_of_the_engine_alone(workshop):
    sign_engine(workshop.project, workshop.chain)
    assert workshop.project.store.add(workshop.engine).digest == workshop.chain.head.version


def test_gates_that_end_at_the_same_time_do_not_sign_over_each_other(workshop):
    sign_engine(workshop.project, workshop.chain)
    sign_gates(workshop.project, with_head(workshop.chain, gates=()))
    assert list(said(workshop)) == ["provenance-5b1d2c33"]
    for one in (gate("latency"), gate("accuracy")):
        sign_gates(workshop.project, with_head(workshop.chain, gates=(one,)))
    found = verify(workshop.engine, trust_of(workshop.project), probe(), workshop.project.store)
    assert found.passed


def test_a_run_with_any_id_gets_a_name(workshop):
    record = workshop.chain.head.record.model_copy(update={"run_id": "Nightly/2026 03"})
    sign_engine(workshop.project, with_head(workshop.chain, record=record))
    assert list(said(workshop)) == ["provenance-nightly-"]


def test_what_the_store_lacks_or_nobody_recorded_is_not_signed(workshop):
    with pytest.raises(StoreError):
        sign_engine(workshop.project, with_head(workshop.chain, version="0" * 32 + ".dir"))
    with pytest.raises(ProvenanceError, match="nothing is recorded"):
        sign_engine(workshop.project, with_head(workshop.chain, record=None))
    assert said(workshop) == {}


def test_a_key_that_others_can_read_signs_nothing(workshop):
    create_key(key_path(workshop.project))
    key_path(workshop.project).chmod(0o644)
    with pytest.raises(ProvenanceError, match="others than its owner"):
        sign_engine(workshop.project, workshop.chain)
    assert said(workshop) == {}


@pytest.mark.parametrize("where", ["of the checkout", "named"])
def test_the_private_key_is_in_no_store_no_engine_and_no_answer(stocked, tmp_path, monkeypatch, where):
    if where == "named":
        create_key(tmp_path / "secrets" / "signing.pem")
        monkeypatch.setenv(KEY_VARIABLE, str(tmp_path / "secrets" / "signing.pem"))
    project = project_at(tmp_path / "project", url=str(tmp_path / "remote"))
    shutil.copytree(stocked.project.root / ".robot_assets/store/files", project.state / "cache/files")
    workshop = Workshop(project, stocked.chain)
    sign_engine(project, workshop.chain)
    sign_gates(project, workshop.chain)
    deliver(workshop.engine, tmp_path / "robot", project.store)
    verdict = intact(workshop.chain, project.store, trust_of(project))

    key = key_path(project)
    private = load_pem_private_key(key.read_bytes(), None)
    seed = private.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    forms = [seed, seed.hex().encode(), base64.b64encode(seed)[:40], key.read_bytes().splitlines()[1], b"PRIVATE KEY"]
    written = [path for path in tmp_path.rglob("*") if path.is_file() and path != key]
    assert {path.relative_to(tmp_path).parts[0] for path in written} >= {"project", "remote", "robot"}
    leaks = [path for path in written if any(form in path.read_bytes() for form in forms)]
    assert leaks == []
    assert not any(form.decode("latin-1") in repr((verdict, project, trust_of(project))) for form in forms)
