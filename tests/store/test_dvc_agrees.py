"""The store writes the same bytes as ``dvc``, and each reads the other's data."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.meta import Meta
from dvc_data.hashfile.tree import Tree as DvcTree
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_assets.store import Store, read_lock, read_pointer, write_pointer
from robot_assets.store.tree import parse_tree, tree_of
from tests.store.conftest import Dvc, content, objects, set_remote

_STEP = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=8)
_PATHS = st.lists(_STEP.filter(lambda step: step not in (".", "..")), min_size=1, max_size=3).map("/".join)


@settings(deadline=None)
@given(st.dictionaries(_PATHS, st.binary(min_size=16, max_size=16).map(bytes.hex), min_size=1, max_size=12))
def test_a_listing_has_the_bytes_and_the_digest_of_dvc_data(entries: dict[str, str]) -> None:
    reference = DvcTree()
    for relpath, md5 in entries.items():
        reference.add(tuple(relpath.split("/")), Meta(), HashInfo("md5", md5))
    reference.digest()
    ours = tree_of(entries.items())
    assert ours.payload == reference.as_bytes()
    assert ours.digest == reference.oid


def test_a_listing_reads_back_as_written() -> None:
    tree = tree_of([("b/c", "0" * 32), ("a", "1" * 32)])
    assert parse_tree(tree.payload, tree.digest) == tree


def test_dvc_add_gives_the_same_digests_pointers_and_objects(
    store: Store, folder: Path, dvc: Dvc, tmp_path: Path
) -> None:
    repository = tmp_path / "dvc"
    tool = repository / "tool.sh"
    tool.write_bytes(b"#!/bin/sh\n")
    tool.chmod(0o755)
    (repository / "123").write_bytes(b"x" * 10)
    os.rename(folder, repository / "my folder: ü")
    names = ["my folder: ü", "tool.sh", "123"]
    artifacts = {name: store.add(repository / name) for name in names}
    dvc("add", "-q", *names)
    for name, artifact in artifacts.items():
        pointer = tmp_path / f"{name}.dvc"
        write_pointer(pointer, artifact)
        assert pointer.read_bytes() == (repository / f"{name}.dvc").read_bytes()
        assert read_pointer(pointer).digest == artifact.digest
    theirs, ours = objects(repository / ".dvc" / "cache"), objects(store.cache)
    assert {oid: path.read_bytes() for oid, path in ours.items()} == {
        oid: path.read_bytes() for oid, path in theirs.items()
    }
    assert {path.stat().st_mode & 0o777 for path in ours.values()} == {0o444}


@pytest.mark.parametrize("place", ["local", "s3"])
def test_dvc_pulls_what_we_pushed(
    place: str, folder: Path, dvc: Dvc, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = str(tmp_path / "remote") if place == "local" else request.getfixturevalue("s3")
    artifact = Store(tmp_path / "cache", url).add(folder)
    write_pointer(tmp_path / "dvc" / "folder.dvc", artifact)
    set_remote(tmp_path / "dvc", url)
    dvc("pull", "-q")
    assert content(tmp_path / "dvc" / "folder") == content(folder)


@pytest.mark.parametrize("place", ["local", "s3"])
def test_we_read_what_dvc_pushed(
    place: str, folder: Path, dvc: Dvc, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = str(tmp_path / "remote") if place == "local" else request.getfixturevalue("s3")
    expected = content(folder)
    os.rename(folder, tmp_path / "dvc" / "folder")
    dvc("add", "-q", "folder")
    set_remote(tmp_path / "dvc", url)
    dvc("push", "-q")
    digest = read_pointer(tmp_path / "dvc" / "folder.dvc").digest
    store = Store(tmp_path / "cache", url)
    assert store.has(digest)
    assert content(store.open(digest)) == expected


def test_the_lock_file_of_a_dvc_stage_has_our_digest(store: Store, dvc: Dvc, tmp_path: Path) -> None:
    dvc("stage", "add", "-q", "-n", "make", "-o", "out", "mkdir out && echo made > out/file")
    dvc("repro", "-q")
    assert read_lock(tmp_path / "dvc" / "dvc.lock") == {"out": store.digest_of(tmp_path / "dvc" / "out").digest}


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("- 1", "mapping"),
        ("outs: []", "outs"),
        ("outs: [{md5: abc, hash: md5, path: x}]", "md5"),
        ("outs: [{md5: abcdefabcdefabcdefabcdefabcdefab, path: x}]", "hash"),
        ("outs: [{md5: abcdefabcdefabcdefabcdefabcdefab, hash: md5, path: ../x}]", "path"),
        ("outs: [{md5: abcdefabcdefabcdefabcdefabcdefab, hash: md5, path: /etc/x}]", "path"),
        ("outs: [{md5: abcdefabcdefabcdefabcdefabcdefab, hash: md5, size: -1, path: x}]", "size"),
        ("outs: !!python/object/apply:os.getcwd []", "YAML"),
        ("outs: [", "YAML"),
    ],
)
def test_an_invalid_pointer_is_refused_with_the_field(text: str, place: str, tmp_path: Path) -> None:
    from robot_assets.core.errors import StoreError

    (tmp_path / "x.dvc").write_text(text)
    with pytest.raises(StoreError, match=place):
        read_pointer(tmp_path / "x.dvc")
