"""Attestations are stored beside the objects: complete, by digest, without affecting artifacts or DVC."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from robot_assets.core.errors import StoreError
from robot_assets.store import Store, write_pointer
from tests.store.conftest import Dvc, content, set_remote

DIGEST = "0123456789abcdef0123456789abcdef.dir"


def test_attestations_are_found_by_digest(store: Store) -> None:
    assert store.attestations(DIGEST) == {}
    store.attest(DIGEST, "provenance-1", b"one")
    store.attest(DIGEST, "gates-1", b"two")
    assert store.attestations(DIGEST) == {"gates-1": b"two", "provenance-1": b"one"}
    assert (store.cache / "attestations" / DIGEST / "gates-1.dsse.json").read_bytes() == b"two"
    assert store.attestations("f" * 32) == {}


def test_the_last_attestation_of_a_name_replaces_earlier_ones(store: Store) -> None:
    for statement in (b"one", b"two", b"two"):
        store.attest(DIGEST, "gates-1", statement)
    assert store.attestations(DIGEST) == {"gates-1": b"two"}


@pytest.mark.parametrize("place", ["local", "s3"])
def test_other_machines_read_attestations_from_the_remote(
    place: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = str(tmp_path / "remote") if place == "local" else request.getfixturevalue("s3")
    here, there = Store(tmp_path / "here", url), Store(tmp_path / "there", url)
    assert there.attestations(DIGEST) == {}
    here.attest(DIGEST, "provenance-1", b"one")
    here.attest(DIGEST, "gates-1", b"two")
    assert there.attestations(DIGEST) == {"gates-1": b"two", "provenance-1": b"one"}
    there.attest(DIGEST, "gates-1", b"three")
    assert here.attestations(DIGEST)["gates-1"] == b"three"
    assert not (tmp_path / "there" / "attestations" / DIGEST / "provenance-1.dsse.json").exists()


@pytest.mark.parametrize("name", ["", "a/b", "..", "Upper", "a.b", "a b", "ä", "a" * 101, "a\n"])
def test_an_invalid_name_is_refused(store: Store, name: str) -> None:
    with pytest.raises(StoreError, match="not a valid name of an attestation"):
        store.attest(DIGEST, name, b"signed")
    assert not (store.cache / "attestations").exists()


@pytest.mark.parametrize("digest", ["../up", "0123", "", "A" * 32])
def test_an_invalid_digest_is_refused(store: Store, digest: str) -> None:
    with pytest.raises(StoreError, match="not a digest"):
        store.attest(digest, "gates-1", b"signed")
    with pytest.raises(StoreError, match="not a digest"):
        store.attestations(digest)


def test_other_files_in_the_folder_are_ignored(shared: Store, tmp_path: Path) -> None:
    shared.attest(DIGEST, "gates-1", b"signed")
    for root in (shared.cache, tmp_path / "remote"):
        for name in (".gates-2.dsse.json.part", "README", "Bad Name.dsse.json"):
            (root / "attestations" / DIGEST / name).write_bytes(b"noise")
    assert shared.attestations(DIGEST) == {"gates-1": b"signed"}


def test_concurrent_writers_leave_one_complete_attestation(shared: Store, tmp_path: Path) -> None:
    contents = [bytes([65 + number]) * 50_000 for number in range(12)]
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda one: shared.attest(DIGEST, "gates-1", one), contents))
    assert shared.attestations(DIGEST)["gates-1"] in contents
    for root in (shared.cache, tmp_path / "remote"):
        assert [path.name for path in (root / "attestations" / DIGEST).iterdir()] == ["gates-1.dsse.json"]


def test_the_digest_of_an_artifact_does_not_depend_on_its_attestations(store: Store, folder: Path) -> None:
    artifact = store.add(folder)
    store.attest(artifact.digest, "provenance-1", b"signed")
    assert store.add(folder) == artifact
    assert content(store.open(artifact.digest)) == content(folder)


@pytest.mark.parametrize("place", ["local", "s3"])
def test_dvc_pull_and_gc_work_beside_attestations(
    place: str, folder: Path, dvc: Dvc, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = str(tmp_path / "remote") if place == "local" else request.getfixturevalue("s3")
    store = Store(tmp_path / "cache", url)
    artifact = store.add(folder)
    store.attest(artifact.digest, "provenance-1", b"signed")
    write_pointer(tmp_path / "dvc" / "folder.dvc", artifact)
    set_remote(tmp_path / "dvc", url)
    dvc("pull", "-q")
    assert content(tmp_path / "dvc" / "folder") == content(folder)
    dvc("gc", "--workspace", "--cloud", "--force", "-q")
    assert Store(tmp_path / "other", url).attestations(artifact.digest) == {"provenance-1": b"signed"}
