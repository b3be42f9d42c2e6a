"""A ref points at one digest, on every machine that shares the remote, and can be changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from robot_assets.core.errors import StoreError
from robot_assets.store import Store

NAME = "timing-caches/0f3c/latest"
ONE, TWO = "1" * 32, "2" * 32


def test_a_ref_points_at_the_digest_it_was_set_to_last(store: Store) -> None:
    assert store.get_ref(NAME) is None
    store.set_ref(NAME, ONE)
    store.set_ref(NAME, TWO)
    assert store.get_ref(NAME) == TWO
    assert store.get_ref("timing-caches/0f3c/other") is None


@pytest.mark.parametrize("place", ["local", "s3"])
def test_machines_share_refs_through_the_remote(place: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    url = str(tmp_path / "remote") if place == "local" else request.getfixturevalue("s3")
    here, there = Store(tmp_path / "here", url), Store(tmp_path / "there", url)
    assert there.get_ref(NAME) is None
    here.set_ref(NAME, ONE)
    assert there.get_ref(NAME) == ONE
    there.set_ref(NAME, TWO)
    assert here.get_ref(NAME) == TWO


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../x", "a/../b", "Upper", "a//b", "a/b/c/d/e", "a\n"])
def test_an_invalid_name_is_refused(store: Store, name: str) -> None:
    for attempt in (lambda: store.set_ref(name, ONE), lambda: store.get_ref(name)):
        with pytest.raises(StoreError, match="is not a valid name of a ref"):
            attempt()
    assert not store.cache.exists()


def test_a_ref_can_only_point_at_a_digest(store: Store) -> None:
    with pytest.raises(StoreError, match="is not a digest"):
        store.set_ref(NAME, "latest")
    assert store.get_ref(NAME) is None


def test_a_damaged_ref_is_an_error(store: Store) -> None:
    store.set_ref(NAME, ONE)
    (store.cache / "names" / NAME).write_text("rubbish")
    with pytest.raises(StoreError, match="is not a digest"):
        store.get_ref(NAME)


def test_artifacts_work_beside_refs(store: Store, folder: Path) -> None:
    digest = store.add(folder).digest
    store.set_ref(NAME, digest)
    assert store.has(digest)
    assert store.open(digest).is_dir()
