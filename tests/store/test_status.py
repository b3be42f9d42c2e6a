"""The cached status of artifacts is updated when objects are lost, restored or added."""

import os
import time
from pathlib import Path

import pytest

from robot_assets.core.errors import StoreError
from robot_assets.store import Store
from robot_assets.store.status import complete_in_cache
from tests.store.conftest import objects


@pytest.fixture
def two(store: Store, tmp_path: Path) -> list[str]:
    """Two artifacts of two files each, in a cache old enough for its status to be cached."""
    digests = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        for part in ("weights", "manifest"):
            (folder / part).write_text(f"{part} of {name}")
        digests.append(store.add(folder).digest)
    time.sleep(1.1)
    return digests


def test_complete_artifacts_are_found_repeatedly(store, two):
    for _ in range(2):
        assert complete_in_cache(store.cache, [*two, "0" * 32, "0" * 32 + ".dir"]) == set(two)
        assert complete_in_cache(store.cache, two[:1]) == {two[0]}
    assert complete_in_cache(store.cache, []) == set()


def test_a_lost_object_is_noticed_and_a_restored_one_too(store, two, tmp_path):
    assert complete_in_cache(store.cache, two) == set(two)
    content = (tmp_path / "one" / "weights").read_bytes()
    weights = next(path for path in objects(store.cache).values() if path.read_bytes() == content)
    weights.unlink()
    assert complete_in_cache(store.cache, two) == {two[1]}
    assert complete_in_cache(store.cache, two) == {two[1]}
    weights.write_bytes(content)
    assert complete_in_cache(store.cache, two) == set(two)


def test_an_artifact_added_later_is_found(store, two, tmp_path):
    assert complete_in_cache(store.cache, two) == set(two)
    (tmp_path / "three").write_text("three")
    three = store.add(tmp_path / "three").digest
    assert complete_in_cache(store.cache, [*two, three]) == {*two, three}


def test_an_artifact_with_a_damaged_listing_is_not_complete(store, two):
    listing = objects(store.cache)[two[0]]
    os.chmod(listing, 0o644)
    listing.write_bytes(b"[]")
    assert complete_in_cache(store.cache, two) == {two[1]}


def test_a_missing_cache_has_no_artifacts_and_an_invalid_digest_is_refused(store, tmp_path):
    assert complete_in_cache(tmp_path / "nowhere", ["0" * 32]) == set()
    with pytest.raises(StoreError):
        complete_in_cache(store.cache, ["../../etc/passwd"])
