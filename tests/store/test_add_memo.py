"""A memo of ``add`` is used only while files and objects are unchanged."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from robot_assets.store import Store
from robot_assets.store.add_memo import recall_digest, remember_digest
from robot_assets.store.cache import Cache
from robot_assets.store.scan import scan
from tests.store.conftest import content, objects

SECOND = 1_000_000_000


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Just enough files to be memoized."""
    folder = tmp_path / "many"
    (folder / "sub").mkdir(parents=True)
    for number in range(500):
        (folder / "sub" / f"{number:03d}").write_bytes(b"%6d" % number)
    return folder


def remember(cache: Cache, path: Path, digest: str, rested_s: float = 3, lost: str | None = None) -> None:
    """Write a memo as if the files had been read ``rested_s`` seconds after their last change."""
    files = scan(path)
    oids = list(objects(cache.root))
    if lost is not None:
        objects(cache.root)[lost].unlink()
    read_ns = max(file.ctime_ns for file in files) + int(rested_s * SECOND)
    time.sleep(0.02)  # the clock of the file system ticks
    remember_digest(cache, path, files, digest, oids, read_ns)


def recalled(store: Store, path: Path) -> str | None:
    return recall_digest(Cache(store.cache), path, scan(path))


def added(store: Store, path: Path) -> str:
    """Add, and write a valid memo."""
    digest = store.add(path).digest
    remember(Cache(store.cache), path, digest)
    assert recalled(store, path) == digest
    return digest


def test_adding_files_at_rest_writes_a_memo_that_the_next_add_uses(store: Store, many: Path) -> None:
    time.sleep(2.1)
    artifact = store.add(many)
    assert recalled(store, many) == artifact.digest
    assert store.add(many) == store.digest_of(many) == artifact


def test_a_memo_works_for_a_single_file_and_its_execute_bit(store: Store, tmp_path: Path) -> None:
    tool = tmp_path / "tool"
    tool.write_bytes(os.urandom(5 << 20))
    artifact = store.add(tool)
    added(store, tool)
    assert store.add(tool) == artifact
    tool.chmod(0o755)
    assert recalled(store, tool) is None
    assert store.add(tool).is_executable


def edit_keeping_size_and_mtime(folder: Path) -> None:
    before = (folder / "sub" / "007").stat()
    (folder / "sub" / "007").write_bytes(b"edited")
    os.utime(folder / "sub" / "007", ns=(before.st_atime_ns, before.st_mtime_ns))


CHANGES: dict[str, Callable[[Path], object]] = {
    "edited, same size and mtime": edit_keeping_size_and_mtime,
    "added": lambda folder: (folder / "new").write_bytes(b"new"),
    "removed": lambda folder: (folder / "sub" / "007").unlink(),
    "renamed": lambda folder: (folder / "sub" / "007").rename(folder / "sub" / "bond"),
    "folder renamed": lambda folder: (folder / "sub").rename(folder / "bus"),
    "swapped": lambda folder: (folder / "sub" / "008").replace(folder / "sub" / "007"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_changed_directory_is_added_again(
    change: Callable[[Path], object], store: Store, many: Path, tmp_path: Path
) -> None:
    before = added(store, many)
    change(many)
    assert recalled(store, many) is None
    after = store.add(many)
    assert after.digest != before
    assert after == Store(tmp_path / "fresh").add(many)


LOSSES: dict[str, Callable[[Path, str], object]] = {
    "an object": lambda cache, digest: next(path for oid, path in objects(cache).items() if oid != digest).unlink(),
    "the listing": lambda cache, digest: objects(cache)[digest].unlink(),
    "the end of the listing": lambda cache, digest: os.truncate(objects(cache)[digest], 10),
    "a folder of objects": lambda cache, digest: shutil.rmtree(next((cache / "files/md5").iterdir())),
    "all objects": lambda cache, digest: shutil.rmtree(cache / "files"),
}


@pytest.mark.parametrize("lose", LOSSES.values(), ids=LOSSES.keys())
def test_lost_objects_are_stored_again(lose: Callable[[Path, str], object], store: Store, many: Path) -> None:
    digest = added(store, many)
    lose(store.cache, digest)
    assert recalled(store, many) is None
    assert store.add(many).digest == digest
    assert content(store.open(digest)) == content(many)


def test_a_damaged_memo_is_ignored(store: Store, many: Path) -> None:
    digest = added(store, many)
    (memo,) = (store.cache / "receipts").iterdir()
    valid = memo.read_bytes()
    for payload in (b"", valid[:-1], valid + b" 1", valid.replace(digest.encode(), b"0" * 32 + b".dir"), b"\xff \xff"):
        memo.write_bytes(payload)
        assert recalled(store, many) is None
        assert store.add(many).digest == digest


def test_files_changed_within_two_seconds_are_not_memoized(store: Store, many: Path) -> None:
    remember(Cache(store.cache), many, store.add(many).digest, rested_s=1.9)
    assert recalled(store, many) is None


def test_nothing_is_memoized_when_the_cache_lost_an_object_meanwhile(store: Store, many: Path) -> None:
    digest = store.add(many).digest
    remember(Cache(store.cache), many, digest, lost=store.digest_of(many / "sub" / "007").digest)
    assert recalled(store, many) is None


def test_nothing_is_memoized_while_object_folders_change(store: Store, many: Path) -> None:
    """Losing an object in the same clock tick as the last addition would leave the folder's ctime unchanged."""

    class Busy(Cache):
        def folders(self) -> list[tuple[str, int, int]]:
            return [(name, inode, time.time_ns() + SECOND) for name, inode, _ in super().folders()]

    remember(Busy(store.cache), many, store.add(many).digest)
    (memo,) = (store.cache / "receipts").iterdir()
    assert memo.read_bytes() == b""
    assert recalled(store, many) is None
