"""A receipt spares an add that has nothing to do, and no other."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from robot_assets.store import Store
from robot_assets.store.add_memo import leave_receipt, redeem
from robot_assets.store.cache import Cache
from robot_assets.store.scan import scan
from tests.store.conftest import content, objects

SECOND = 1_000_000_000


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Just enough files to be worth a receipt."""
    folder = tmp_path / "many"
    (folder / "sub").mkdir(parents=True)
    for number in range(500):
        (folder / "sub" / f"{number:03d}").write_bytes(b"%6d" % number)
    return folder


def leave(cache: Cache, path: Path, digest: str, rested_s: float = 3, lost: str | None = None) -> None:
    """Leave a receipt as if the files had been read ``rested_s`` seconds after their last change."""
    files = scan(path)
    oids = list(objects(cache.root))
    if lost is not None:
        objects(cache.root)[lost].unlink()
    read_ns = max(file.ctime_ns for file in files) + int(rested_s * SECOND)
    time.sleep(0.02)  # the clock of the file system ticks
    leave_receipt(cache, path, files, digest, oids, read_ns)


def redeemed(store: Store, path: Path) -> str | None:
    return redeem(Cache(store.cache), path, scan(path))


def added(store: Store, path: Path) -> str:
    """Add, and leave a receipt that is good."""
    digest = store.add(path).digest
    leave(Cache(store.cache), path, digest)
    assert redeemed(store, path) == digest
    return digest


def test_adding_files_at_rest_leaves_a_receipt_and_the_next_add_comes_to_the_same(store: Store, many: Path) -> None:
    time.sleep(2.1)
    artifact = store.add(many)
    assert redeemed(store, many) == artifact.digest
    assert store.add(many) == store.digest_of(many) == artifact


def test_a_receipt_for_one_file_comes_to_the_same(store: Store, tmp_path: Path) -> None:
    tool = tmp_path / "tool"
    tool.write_bytes(os.urandom(5 << 20))
    artifact = store.add(tool)
    added(store, tool)
    assert store.add(tool) == artifact
    tool.chmod(0o755)
    assert redeemed(store, tool) is None
    assert store.add(tool).is_executable


def edit_unseen(folder: Path) -> None:
    before = (folder / "sub" / "007").stat()
    (folder / "sub" / "007").write_bytes(b"edited")
    os.utime(folder / "sub" / "007", ns=(before.st_atime_ns, before.st_mtime_ns))


CHANGES: dict[str, Callable[[Path], object]] = {
    "edited, size and mtime as before": edit_unseen,
    "added": lambda folder: (folder / "new").write_bytes(b"new"),
    "removed": lambda folder: (folder / "sub" / "007").unlink(),
    "renamed": lambda folder: (folder / "sub" / "007").rename(folder / "sub" / "bond"),
    "folder renamed": lambda folder: (folder / "sub").rename(folder / "bus"),
    "swapped": lambda folder: (folder / "sub" / "008").replace(folder / "sub" / "007"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_changed_directory_is_added_anew(
    change: Callable[[Path], object], store: Store, many: Path, tmp_path: Path
) -> None:
    before = added(store, many)
    change(many)
    assert redeemed(store, many) is None
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
def test_what_the_cache_lost_is_stored_again(lose: Callable[[Path, str], object], store: Store, many: Path) -> None:
    digest = added(store, many)
    lose(store.cache, digest)
    assert redeemed(store, many) is None
    assert store.add(many).digest == digest
    assert content(store.open(digest)) == content(many)


def test_a_damaged_receipt_is_none(store: Store, many: Path) -> None:
    digest = added(store, many)
    (receipt,) = (store.cache / "receipts").iterdir()
    whole = receipt.read_bytes()
    for payload in (b"", whole[:-1], whole + b" 1", whole.replace(digest.encode(), b"0" * 32 + b".dir"), b"\xff \xff"):
        receipt.write_bytes(payload)
        assert redeemed(store, many) is None
        assert store.add(many).digest == digest


def test_no_receipt_for_files_that_had_just_changed(store: Store, many: Path) -> None:
    leave(Cache(store.cache), many, store.add(many).digest, rested_s=1.9)
    assert redeemed(store, many) is None


def test_no_receipt_for_a_cache_that_lost_an_object_meanwhile(store: Store, many: Path) -> None:
    digest = store.add(many).digest
    leave(Cache(store.cache), many, digest, lost=store.digest_of(many / "sub" / "007").digest)
    assert redeemed(store, many) is None


def test_no_receipt_while_the_objects_change(store: Store, many: Path) -> None:
    """A loss in the same tick of the clock as the last arrival would leave the folder's ctime as it is."""

    class Busy(Cache):
        def folders(self) -> list[tuple[str, int, int]]:
            return [(name, inode, time.time_ns() + SECOND) for name, inode, _ in super().folders()]

    leave(Busy(store.cache), many, store.add(many).digest)
    (receipt,) = (store.cache / "receipts").iterdir()
    assert receipt.read_bytes() == b""
    assert redeemed(store, many) is None
