"""Cached hashes save time and are never wrong."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from robot_assets.core.errors import StoreError
from robot_assets.store import Store
from robot_assets.store.scan import scan
from robot_assets.store.state import load_state, save_state

SECOND = 1_000_000_000


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large.bin"
    path.write_bytes(os.urandom(5 << 20))
    return path


def cached_hashes(folder: Path, path: Path, after_s: float) -> dict[str, str]:
    """The hashes cached when a file was read ``after_s`` seconds after its last change."""
    files = scan(path)
    save_state(folder, path, files, {"": "0" * 32}, files[0].ctime_ns + int(after_s * SECOND))
    return load_state(folder, path, files)


def test_the_hash_of_a_file_at_rest_is_cached(large: Path, tmp_path: Path) -> None:
    assert cached_hashes(tmp_path / "state", large, after_s=3) == {"": "0" * 32}


def test_the_hash_of_a_file_read_within_two_seconds_of_its_last_change_is_not_cached(
    large: Path, tmp_path: Path
) -> None:
    assert cached_hashes(tmp_path / "state", large, after_s=1.9) == {}


def test_the_hash_of_a_file_from_the_future_is_not_cached(large: Path, tmp_path: Path) -> None:
    os.utime(large, (4_000_000_000, 4_000_000_000))
    assert cached_hashes(tmp_path / "state", large, after_s=3) == {}


def test_an_edit_that_keeps_size_and_mtime_is_detected(large: Path, tmp_path: Path) -> None:
    assert cached_hashes(tmp_path / "state", large, after_s=3)
    before = large.stat()
    with large.open("r+b") as stream:
        stream.write(b"edited")
    os.utime(large, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert load_state(tmp_path / "state", large, scan(large)) == {}


def test_a_damaged_state_file_is_ignored(large: Path, tmp_path: Path) -> None:
    assert cached_hashes(tmp_path / "state", large, after_s=3)
    (state,) = (tmp_path / "state").iterdir()
    for payload in (b"", b"\0" * 100, state.read_bytes()[:-1]):
        state.write_bytes(payload)
        assert load_state(tmp_path / "state", large, scan(large)) == {}


def test_an_edit_right_after_adding_gives_the_new_digest(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(600):
        (folder / str(number)).write_bytes(b"%6d" % number)
    first = store.add(folder)
    for number in range(600):
        (folder / str(number)).write_bytes(b"%6d" % (number + 1))
    assert store.add(folder).digest == store.digest_of(folder).digest == Store(tmp_path / "fresh").add(folder).digest
    assert store.add(folder).digest != first.digest


def test_files_with_cached_hashes_are_stored_again_when_their_objects_are_gone(
    store: Store, large: Path, tmp_path: Path
) -> None:
    digest = store.add(large).digest
    files = scan(large)
    save_state(store.cache / "state", large, files, {"": digest}, files[0].ctime_ns + 3 * SECOND)
    (store.cache / "files/md5" / digest[:2] / digest[2:]).unlink()
    assert store.add(large).digest == digest
    assert store.has(digest)


def test_a_file_that_is_written_to_while_it_is_read_is_refused(store: Store, large: Path) -> None:
    from robot_assets.store.scan import Scanned
    from robot_assets.store.storing import _hashing_reader, _read_stable

    def writing_meanwhile(file: Scanned, handle: int) -> str:
        with large.open("ab") as stream:
            stream.write(b"more")
        return _hashing_reader(file, handle)

    with pytest.raises(StoreError, match="changed while it was read"):
        _read_stable(scan(large)[0], writing_meanwhile)
