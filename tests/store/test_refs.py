"""A name stands for one version, on every machine that shares the remote, and may come to stand for another."""

from __future__ import annotations

from pathlib import Path

import pytest

from robot_assets.core.errors import StoreError
from robot_assets.store import Store

NAME = "timing-caches/0f3c/latest"
ONE, TWO = "1" * 32, "2" * 32


def test_a_name_stands_for_what_it_was_bound_to_last(store: Store) -> None:
    assert store.bound(NAME) is None
    store.bind(NAME, ONE)
    store.bind(NAME, TWO)
    assert store.bound(NAME) == TWO
    assert store.bound("timing-caches/0f3c/other") is None


@pytest.mark.parametrize("place", ["local", "s3"])
def test_others_find_it_by_the_remote_which_holds(place: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    url = str(tmp_path / "remote") if place == "local" else request.getfixturevalue("s3")
    here, there = Store(tmp_path / "here", url), Store(tmp_path / "there", url)
    assert there.bound(NAME) is None
    here.bind(NAME, ONE)
    assert there.bound(NAME) == ONE
    there.bind(NAME, TWO)
    assert here.bound(NAME) == TWO


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../x", "a/../b", "Upper", "a//b", "a/b/c/d/e", "a\n"])
def test_what_could_leave_its_folder_is_no_name(store: Store, name: str) -> None:
    for attempt in (lambda: store.bind(name, ONE), lambda: store.bound(name)):
        with pytest.raises(StoreError, match="is no name of a version"):
            attempt()
    assert not store.cache.exists()


def test_only_a_digest_can_be_stood_for(store: Store) -> None:
    with pytest.raises(StoreError, match="is not a digest"):
        store.bind(NAME, "latest")
    assert store.bound(NAME) is None


def test_a_damaged_name_is_an_error_and_not_a_version(store: Store) -> None:
    store.bind(NAME, ONE)
    (store.cache / "names" / NAME).write_text("rubbish")
    with pytest.raises(StoreError, match="is not a digest"):
        store.bound(NAME)


def test_names_are_in_nobodys_way(store: Store, folder: Path) -> None:
    digest = store.add(folder).digest
    store.bind(NAME, digest)
    assert store.has(digest)
    assert store.open(digest).is_dir()
