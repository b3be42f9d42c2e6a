"""Killed processes, a full disk, concurrent writers: an object under a final name is always correct."""

from __future__ import annotations

import hashlib
import os
import random
import resource
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from robot_assets.core.errors import StoreError
from robot_assets.store import Store
from tests.store.conftest import content, objects

_ADD = """
import sys
from pathlib import Path
from robot_assets.store import Store
store = Store(Path(sys.argv[1]), sys.argv[4])
print("go", flush=True)
digest = store.add(Path(sys.argv[2])).digest
store.open(digest)
store.get(digest, Path(sys.argv[3]))
"""


@pytest.fixture
def many(tmp_path: Path) -> Path:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(300):
        (folder / f"{number:04d}").write_bytes(os.urandom(3000))
    (folder / "large").write_bytes(os.urandom(6 << 20))
    return folder


def assert_every_object_is_its_hash(root: Path) -> None:
    for oid, path in objects(root).items():
        assert hashlib.md5(path.read_bytes()).hexdigest() == oid.removesuffix(".dir"), path


def test_a_process_killed_at_any_moment_leaves_only_complete_objects(many: Path, tmp_path: Path) -> None:
    expected = content(many)
    chance = random.Random(0)
    remote = str(tmp_path / "remote")
    for attempt in range(8):
        if attempt % 4 == 0:
            shutil.rmtree(tmp_path / "store", ignore_errors=True)
            shutil.rmtree(remote, ignore_errors=True)
        out = tmp_path / "out"
        shutil.rmtree(out, ignore_errors=True)
        with subprocess.Popen(
            [sys.executable, "-c", _ADD, tmp_path / "store", many, out, remote], stdout=subprocess.PIPE
        ) as process:
            process.stdout.readline()
            time.sleep(chance.uniform(0, 0.5))
            process.kill()
        assert_every_object_is_its_hash(tmp_path / "store")
        assert_every_object_is_its_hash(Path(remote))
        assert not out.exists() or content(out) == expected
    store = Store(tmp_path / "store", remote)
    digest = store.add(many).digest
    assert content(store.open(digest)) == expected
    assert not list((store.cache / "batches").iterdir())


def test_a_full_disk_is_reported_and_a_rerun_with_space_succeeds(many: Path, tmp_path: Path) -> None:
    mount = tmp_path / "tiny"
    mount.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", mount], capture_output=True)
    if done.returncode:
        check_with_limited_file_size(many, tmp_path)
        return
    try:
        store = Store(mount / "store")
        with pytest.raises(StoreError, match="no space left"):
            store.add(many)
        assert_every_object_is_its_hash(store.cache)
        assert not list((store.cache / "batches").iterdir())
        roomy = Store(tmp_path / "roomy")
        digest = roomy.add(many).digest
        with pytest.raises(StoreError, match="no space left"):
            roomy.get(digest, mount / "out")
        assert not (mount / "out").exists()
        subprocess.run(["mount", "-o", "remount,size=64m", mount], check=True)
        assert store.add(many).digest == digest
        roomy.get(digest, mount / "out")
        assert content(mount / "out") == content(many)
    finally:
        subprocess.run(["umount", mount], check=True)


def check_with_limited_file_size(many: Path, tmp_path: Path) -> None:
    """The same check without the right to mount: a file size limit that is reached in the middle of a write."""
    store = Store(tmp_path / "store")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4 << 20, before[1]))
    try:
        with pytest.raises(StoreError, match="no space left"):
            store.add(many)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert_every_object_is_its_hash(store.cache)
    assert store.has(store.add(many).digest)


def test_one_artifact_can_be_added_and_opened_concurrently(many: Path, tmp_path: Path) -> None:
    expected = content(many)
    failures: list[BaseException] = []

    def work() -> None:
        store = Store(tmp_path / "store", str(tmp_path / "remote"))
        try:
            assert content(store.open(store.add(many).digest)) == expected
        except BaseException as error:
            failures.append(error)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures
    assert_every_object_is_its_hash(tmp_path / "store")
