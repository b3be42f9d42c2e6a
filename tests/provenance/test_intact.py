"""``lineage_intact`` passes while everything that an engine was made of is there, and names every fault."""

import json
import shutil
from pathlib import Path

import pytest

from robot_assets.provenance.envelope import sign
from robot_assets.provenance.intact import intact
from robot_assets.provenance.keys import create_key, signing_key
from robot_assets.provenance.public_key import Trust
from robot_assets.provenance.statements import provenance_statement
from robot_assets.provenance.subjects import Subject, read_subjects
from robot_assets.store import Store
from robot_assets.store.cache import Cache
from robot_assets.store.tree import parse_tree
from tests.alter import flip_bit
from tests.provenance.conftest import ENGINE, with_head


@pytest.fixture
def signed(built):
    built.sign()
    return built


@pytest.fixture
def trust(signed):
    return signed.project.trust()


def object_of(store, version, name):
    """Where the cache keeps a file of a directory."""
    cache = Cache(store.cache)
    entries = dict(parse_tree(Path(cache.path(version)).read_bytes(), version).entries)
    return Path(cache.path(entries[name]))


def changed_link(chain, asset, **changes):
    links = [link.model_copy(update=changes) if link.asset == asset else link for link in chain.links]
    return chain.model_copy(update={"links": tuple(links)})


def changed_record(chain, asset, **changes):
    [link] = [link for link in chain.links if link.asset == asset]
    return changed_link(chain, asset, record=link.record.model_copy(update=changes))


def test_an_engine_with_a_complete_lineage_is_intact(signed, trust):
    verdict = intact(signed.chain, signed.project.store, trust)
    assert verdict.passed
    assert verdict.fix == ""
    assert "all 8 versions" in verdict.summary
    assert verdict.facts["signed_by"] == str(trust.keys[0])
    assert json.dumps(verdict.facts)


@pytest.mark.parametrize("name", ["engine.onnx", "manifest.json"])
@pytest.mark.parametrize("place", [0, -1])
def test_one_altered_byte_of_the_engine_is_detected_and_named(signed, trust, name, place):
    path = object_of(signed.project.store, signed.chain.head.version, name)
    flip_bit(path, place)
    verdict = intact(signed.chain, signed.project.store, trust)
    assert not verdict.passed
    assert verdict.facts["altered"] == [f"{name} of {ENGINE} at {path}"]
    assert f"{name} of {ENGINE}" in verdict.summary
    assert "Do not use this engine" in verdict.fix


def test_an_altered_listing_of_the_engine_is_detected(signed, trust):
    flip_bit(Path(Cache(signed.project.store.cache).path(signed.chain.head.version)), 0)
    verdict = intact(signed.chain, signed.project.store, trust)
    assert not verdict.passed
    assert "the listing of" in verdict.summary


def test_an_artifact_that_the_store_has_lost_is_named(signed, trust):
    [onnx] = [link for link in signed.chain.links if link.asset == "small_detector/onnx"]
    object_of(signed.project.store, onnx.version, "model.onnx").unlink()
    verdict = intact(signed.chain, signed.project.store, trust)
    assert not verdict.passed
    assert verdict.facts["missing"] == ["small_detector/onnx"]
    assert "robot-assets build" in verdict.fix


def test_a_lost_file_of_the_engine_itself_is_named(signed, trust):
    object_of(signed.project.store, signed.chain.head.version, "engine.onnx").unlink()
    verdict = intact(signed.chain, signed.project.store, trust)
    assert not verdict.passed
    assert verdict.facts["missing"] == [ENGINE]


@pytest.mark.parametrize("is_dirty", [True, None])
def test_uncommitted_code_of_any_step_is_named(signed, trust, is_dirty):
    chain = changed_record(signed.chain, "small_detector/checkpoint", git_dirty=is_dirty)
    verdict = intact(chain, signed.project.store, trust)
    assert not verdict.passed
    assert verdict.facts["uncommitted"] == ["small_detector/checkpoint"]
    assert verdict.fix.startswith("Commit the code, then build small_detector/checkpoint again")


def test_an_engine_without_a_signature_is_not_intact(built):
    create_key(built.project.state / "keys" / "signing.pem")
    verdict = intact(built.chain, built.project.store, built.project.trust())
    assert not verdict.passed
    assert "no trusted signature" in verdict.summary
    assert verdict.facts["signed_by"] is None


def test_the_signature_of_a_stranger_does_not_count(signed, tmp_path):
    verdict = intact(signed.chain, signed.project.store, Trust((create_key(tmp_path / "stranger.pem"),)))
    assert not verdict.passed
    assert "which is not trusted here" in verdict.summary
    assert "provenance.trusted_keys" in verdict.fix


def test_bytes_with_the_signed_md5_and_another_sha256_are_detected(signed, trust):
    """As after a collision in md5: the listing matches, and the signed hash does not."""
    engine, *rest = read_subjects(signed.engine)
    forged = (Subject(engine.name, "0" * 64, engine.md5), *rest)
    payload = provenance_statement(signed.chain, forged)
    store = signed.project.store
    name = "provenance-5b1d2c33-92b763"
    store.attest(signed.chain.head.version, name, sign(payload, signing_key(signed.project.key)))
    verdict = intact(signed.chain, store, trust)
    assert not verdict.passed
    assert "engine.onnx was altered" in verdict.summary


def test_a_problem_of_the_audit_is_named_once(signed, trust):
    problem = "its bytes are no longer in the store"
    [onnx] = [link for link in signed.chain.links if link.asset == "small_detector/onnx"]
    object_of(signed.project.store, onnx.version, "model.onnx").unlink()
    chain = changed_link(signed.chain, "small_detector/onnx", problems=(problem,))
    verdict = intact(chain, signed.project.store, trust)
    assert not verdict.passed
    assert verdict.summary == f"small_detector/onnx: {problem}"
    assert verdict.facts["missing"] == ["small_detector/onnx"]


def test_a_problem_of_the_chain_alone_fails_the_check(signed, trust):
    verdict = intact(with_head(signed.chain, problems=("latency failed: too slow",)), signed.project.store, trust)
    assert not verdict.passed
    assert verdict.summary == f"{ENGINE}: latency failed: too slow"
    assert verdict.fix == f"`robot-assets audit {ENGINE}` shows the step that has the problem."


def test_an_engine_that_was_built_elsewhere_is_fetched_and_checked(signed, trust, tmp_path):
    store = signed.project.store
    remote = tmp_path / "remote"
    shutil.copytree(store.cache / "files", remote / "files")
    shutil.copytree(store.cache / "attestations", remote / "attestations")
    here = Store(tmp_path / "cache", str(remote))
    assert intact(signed.chain, here, trust).passed
    assert object_of(here, signed.chain.head.version, "engine.onnx").exists()
