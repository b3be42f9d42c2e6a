"""Adding, reading and transferring artifacts, and the inputs that are refused."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path

import pytest

from robot_assets.core.errors import ObjectCorrupt, ObjectMissing, StoreError
from robot_assets.core.publishing import make_durable
from robot_assets.store import Store, open_store
from robot_assets.store.tree import tree_of
from tests.store.conftest import content, objects


def damage(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(b"?" * path.stat().st_size if path.stat().st_size else b"?")
    path.chmod(0o444)


def test_a_directory_round_trips_and_its_copy_may_be_edited(store: Store, folder: Path, tmp_path: Path) -> None:
    artifact = store.add(folder)
    store.get(artifact.digest, tmp_path / "out")
    assert content(tmp_path / "out") == content(folder)
    (tmp_path / "out" / "a").write_bytes(b"edited")
    (folder / "a").write_bytes(b"edited too")
    assert (store.open(artifact.digest) / "a").read_bytes() == b"a"


def test_a_file_round_trips(store: Store, folder: Path, tmp_path: Path) -> None:
    digest = store.add(folder / "sub" / "large.bin").digest
    store.get(digest, tmp_path / "out.bin")
    assert (tmp_path / "out.bin").read_bytes() == (folder / "sub" / "large.bin").read_bytes()
    assert store.open(digest).read_bytes() == (folder / "sub" / "large.bin").read_bytes()


def test_digest_of_stores_nothing(store: Store, folder: Path) -> None:
    artifact = store.digest_of(folder)
    assert not store.has(artifact.digest)
    assert store.add(folder) == artifact
    assert store.has(artifact.digest)


def test_get_replaces_a_directory_but_never_a_file_by_a_directory(store: Store, folder: Path, tmp_path: Path) -> None:
    digest = store.add(folder).digest
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").write_text("old")
    store.get(digest, tmp_path / "out")
    assert content(tmp_path / "out") == content(folder)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StoreError, match="in the way"):
        store.get(digest, tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_opening_twice_gives_the_same_files_and_undoes_edits(store: Store, folder: Path) -> None:
    digest = store.add(folder).digest
    path = store.open(digest)
    before = (path / "a").stat().st_ino
    assert (store.open(digest) / "a").stat().st_ino == before
    (path / "intruder").write_text("x")
    assert content(store.open(digest)) == content(folder)
    damage(path / "sub" / "large.bin")
    with pytest.raises(ObjectCorrupt):
        store.open(digest)
    store.add(folder)
    assert content(store.open(digest)) == content(folder)


@pytest.mark.parametrize("place", ["local", "s3"])
def test_an_artifact_is_transferred_through_a_remote_only_once(
    place: str, folder: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = str(tmp_path / "remote") if place == "local" else request.getfixturevalue("s3")
    here, there = Store(tmp_path / "here", url), Store(tmp_path / "there", url)
    digest = here.add(folder).digest
    assert here.push(digest) == 0
    assert there.has(digest)
    (folder / "one more").write_text("new")
    assert there.pull(digest) == len(objects(tmp_path / "here"))
    assert there.pull(digest) == 0
    second = Store(tmp_path / "here").add(folder).digest
    assert here.push(second) == 2
    assert content(there.open(second)) == content(folder)


def test_an_interrupted_push_resumes_where_it_stopped(shared: Store, folder: Path, tmp_path: Path) -> None:
    digest = shared.add(folder).digest
    remote = objects(tmp_path / "remote")
    lost = [oid for oid in remote if oid != digest][:3]
    for oid in [*lost, digest]:
        remote[oid].unlink()
    assert shared.push(digest) == 4


def test_a_damaged_cache_object_is_fetched_again(shared: Store, folder: Path, tmp_path: Path) -> None:
    digest = shared.add(folder).digest
    for path in objects(shared.cache).values():
        damage(path)
    shared.get(digest, tmp_path / "out")
    assert content(tmp_path / "out") == content(folder)
    for path in objects(shared.cache).values():
        damage(path)
    assert content(shared.open(digest)) == content(folder)


def test_a_damaged_object_without_an_intact_copy_is_named_and_adding_again_restores_it(
    store: Store, folder: Path, tmp_path: Path
) -> None:
    digest = store.add(folder).digest
    oid = store.digest_of(folder / "sub" / "large.bin").digest
    damage(objects(store.cache)[oid])
    with pytest.raises(ObjectCorrupt, match=oid):
        store.get(digest, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not store.has(digest)
    store.add(folder)
    assert content(store.open(digest)) == content(folder)


def test_a_damaged_remote_object_never_enters_the_cache(shared: Store, folder: Path, tmp_path: Path) -> None:
    digest = shared.add(folder).digest
    oid = shared.digest_of(folder / "sub" / "large.bin").digest
    damage(objects(tmp_path / "remote")[oid])
    other = Store(tmp_path / "other", shared.remote_url)
    with pytest.raises(ObjectCorrupt, match=f"remote/files/md5/{oid[:2]}/{oid[2:]}"):
        other.open(digest)
    assert oid not in objects(other.cache)


def test_a_damaged_cache_object_is_not_pushed(store: Store, folder: Path, tmp_path: Path) -> None:
    digest = store.add(folder).digest
    oid = store.digest_of(folder / "sub" / "large.bin").digest
    damage(objects(store.cache)[oid])
    with pytest.raises(ObjectCorrupt, match="not pushed"):
        Store(store.cache, str(tmp_path / "remote")).push(digest)
    assert {oid, digest}.isdisjoint(objects(tmp_path / "remote"))


def test_a_missing_object_is_reported_with_its_locations(shared: Store, store: Store) -> None:
    with pytest.raises(ObjectMissing, match=r"files/md5/00/0{30}"):
        store.open("0" * 32)
    with pytest.raises(ObjectMissing, match="remote/files/md5/00"):
        shared.open("0" * 32 + ".dir")
    assert not shared.has("0" * 32)
    with pytest.raises(StoreError, match="not a digest"):
        store.open("../../etc/passwd")


@pytest.mark.parametrize("relpath", ["../x", "/etc/x", "a/../../x", "a//b", "", ".", "a/\0", "\ud800"])
def test_a_listing_with_a_path_outside_the_directory_is_refused(relpath: str, store: Store, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x")
    md5 = store.add(tmp_path / "x").digest
    tree = tree_of([(relpath, md5)])
    path = store.cache / "files/md5" / tree.digest[:2] / tree.digest[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tree.payload)
    for read in (lambda: store.open(tree.digest), lambda: store.get(tree.digest, tmp_path / "deep" / "out")):
        with pytest.raises(StoreError, match="inside the directory"):
            read()
    assert not (tmp_path / "deep" / "x").exists()


@pytest.mark.parametrize(
    "payload", [b"{", b"{}", b"[]", b"[1]", json.dumps([{"relpath": "a", "md5": "short"}]).encode()]
)
def test_an_invalid_listing_is_refused(payload: bytes, store: Store, tmp_path: Path) -> None:
    (tmp_path / "listing").write_bytes(payload)
    digest = store.add(tmp_path / "listing").digest
    path = objects(store.cache)[digest]
    path.rename(path.with_name(path.name + ".dir"))
    with pytest.raises(StoreError, match="directory listing"):
        store.open(digest + ".dir")


def test_entries_that_an_artifact_cannot_contain_are_refused_by_name(
    store: Store, folder: Path, tmp_path: Path
) -> None:
    def refused(match: str) -> None:
        with pytest.raises(StoreError, match=match):
            store.add(folder)

    (folder / "link").symlink_to("a")
    refused("link is a symlink")
    (folder / "link").unlink()
    (folder / ".git").mkdir()
    refused(r"\.git is a file or folder that dvc skips")
    (folder / ".git").rmdir()
    odd = os.fsencode(folder) + b"/\xff.jpg"
    Path(os.fsdecode(odd)).write_bytes(b"")
    refused(r"\\xff.jpg' has a name that is not UTF-8")
    os.unlink(odd)
    os.mkfifo(folder / "pipe")
    refused("pipe is a device, pipe or socket")
    (folder / "pipe").unlink()
    with pytest.raises(StoreError, match="does not exist"):
        store.add(tmp_path / "nothing")
    (tmp_path / "void" / "deep").mkdir(parents=True)
    with pytest.raises(StoreError, match="without any file"):
        store.add(tmp_path / "void")
    store.add(folder)


@pytest.mark.parametrize("url", ["", "memory://x", "../outside", "http://x/y"])
def test_a_url_that_cannot_store_artifacts_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"store\.url"):
        open_store(url, tmp_path)


def test_a_relative_url_is_the_store_and_other_urls_are_remotes_with_a_cache(tmp_path: Path) -> None:
    assert open_store(".robot_assets/store", tmp_path) == Store(tmp_path / ".robot_assets/store")
    cache = tmp_path / ".robot_assets" / "cache"
    assert open_store("s3://bucket/x", tmp_path) == Store(cache, "s3://bucket/x")
    assert open_store("/mnt/share", tmp_path) == Store(cache, "/mnt/share")


def test_printed_texts_contain_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed_port = free.getsockname()[1]
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "me")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{closed_port}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    store = Store(tmp_path / "cache", "s3://me:hunter2@bucket/x?secret=hunter2")
    assert "hunter2" not in repr(store)
    with pytest.raises(StoreError) as caught:
        store.has("0" * 32)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("number", [1, 100])
def test_making_missing_files_durable_is_an_error_for_few_and_for_many(number: int, tmp_path: Path) -> None:
    make_durable([tmp_path] * number)
    with pytest.raises(FileNotFoundError):
        make_durable([tmp_path / "nothing"] * number)


def test_git_adds_nothing_of_a_store_in_a_project(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / "model").write_text("weights")
    open_store("artifacts/store", tmp_path).add(tmp_path / "model")
    status = subprocess.run(
        ["git", "-C", str(tmp_path), "status", "--porcelain", "-uall"], check=True, capture_output=True, text=True
    )
    assert status.stdout == "?? model\n"
