"""Thousands of artifacts are asked for again and again; what is lost in between is noticed."""

import os
import time
from pathlib import Path

import pytest

from robot_assets.core.errors import StoreError
from robot_assets.store import Store
from robot_assets.store.status import whole_in_cache
from tests.store.conftest import objects


@pytest.fixture
def two(store: Store, tmp_path: Path) -> list[str]:
    """Two artifacts of two files each, in a cache that has come to rest: from here on it is remembered."""
    digests = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        for part in ("weights", "manifest"):
            (folder / part).write_text(f"{part} of {name}")
        digests.append(store.add(folder).digest)
    time.sleep(1.1)
    return digests


def test_what_is_whole_is_found_again(store, two):
    for _ in range(2):
        assert whole_in_cache(store.cache, [*two, "0" * 32, "0" * 32 + ".dir"]) == set(two)
        assert whole_in_cache(store.cache, two[:1]) == {two[0]}
    assert whole_in_cache(store.cache, []) == set()


def test_a_lost_file_is_noticed_and_a_restored_one_too(store, two, tmp_path):
    assert whole_in_cache(store.cache, two) == set(two)
    content = (tmp_path / "one" / "weights").read_bytes()
    weights = next(path for path in objects(store.cache).values() if path.read_bytes() == content)
    weights.unlink()
    assert whole_in_cache(store.cache, two) == {two[1]}
    assert whole_in_cache(store.cache, two) == {two[1]}
    weights.write_bytes(content)
    assert whole_in_cache(store.cache, two) == set(two)


def test_what_is_added_later_is_found(store, two, tmp_path):
    assert whole_in_cache(store.cache, two) == set(two)
    (tmp_path / "three").write_text("three")
    three = store.add(tmp_path / "three").digest
    assert whole_in_cache(store.cache, [*two, three]) == {*two, three}


def test_a_damaged_listing_is_no_artifact(store, two):
    listing = objects(store.cache)[two[0]]
    os.chmod(listing, 0o644)
    listing.write_bytes(b"[]")
    assert whole_in_cache(store.cache, two) == {two[1]}


def test_no_cache_has_nothing_and_no_digest_is_refused(store, tmp_path):
    assert whole_in_cache(tmp_path / "nowhere", ["0" * 32]) == set()
    with pytest.raises(StoreError):
        whole_in_cache(store.cache, ["../../etc/passwd"])
