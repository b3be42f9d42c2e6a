"""Files of a repository, in a folder and in a bucket: the same promises, and errors that name the fix."""

from __future__ import annotations

import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from robot_assets.fleet import files as files_module
from robot_assets.fleet.errors import FleetError
from robot_assets.fleet.files import CHUNK_BYTES, Files
from tests.store.test_remote_errors import refusing


@pytest.fixture(params=["folder", "bucket", "other protocol"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Files:
    if request.param == "folder":
        return Files(str(tmp_path / "repository"))
    if request.param == "other protocol":  # one whose puts show half-written files
        return Files(f"memory://{tmp_path}/repository")
    return Files(request.getfixturevalue("bucket"))


def test_what_is_written_is_read_listed_and_removed(files: Files) -> None:
    files.write("reports/yard/mower_1.json", b"first")
    files.write("reports/yard/mower_1.json", b"second")
    assert files.read("reports/yard/mower_1.json") == b"second"
    assert files.has("reports/yard/mower_1.json")
    assert files.size("reports/yard/mower_1.json") == 6
    files.remove("reports/yard/mower_1.json")
    files.remove("reports/yard/mower_1.json")
    assert not files.has("reports/yard/mower_1.json")
    assert files.listing("reports") == []


def test_a_listing_has_the_times_of_the_storage_and_tags_that_change(files: Files) -> None:
    files.write("reports/yard/b.json", b"1")
    files.write("reports/yard/a.json", b"12")
    files.write("other/c.json", b"")
    first = files.listing("reports")
    assert [(one.path, one.size) for one in first] == [("reports/yard/a.json", 2), ("reports/yard/b.json", 1)]
    assert all(abs(one.modified_at - datetime.now(UTC)) < timedelta(minutes=5) for one in first)
    files.write("reports/yard/a.json", b"21")
    assert files.listing("reports")[0].tag != first[0].tag
    assert files.listing("nowhere") == []


def test_a_file_is_read_from_any_byte_in_chunks(files: Files) -> None:
    content = os.urandom(CHUNK_BYTES + 1000)
    files.write("blobs/1", content)
    chunks = list(files.read_from("blobs/1", 500))
    assert len(chunks) == 2
    assert b"".join(chunks) == content[500:]
    assert list(files.read_from("blobs/1", len(content))) == []


def test_a_missing_file_is_not_found(files: Files) -> None:
    with pytest.raises(FileNotFoundError):
        files.read("metadata/timestamp.json")
    with pytest.raises(FileNotFoundError):
        list(files.read_from("metadata/timestamp.json", 0))
    assert files.size("metadata/timestamp.json") is None


def test_of_concurrent_writers_of_a_new_file_one_succeeds(files: Files) -> None:
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda number: files.write_new("locks/1", str(number).encode()), range(8)))
    assert done.count(True) == 1
    assert files.read("locks/1") == str(done.index(True)).encode()


def test_a_file_of_any_size_is_uploaded(files: Files, tmp_path: Path) -> None:
    source = tmp_path / "engine"
    source.write_bytes(os.urandom(3 * CHUNK_BYTES))
    files.upload(source, "blobs/1")
    assert files.read("blobs/1") == source.read_bytes()


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "a/../../b", "a//b", "", "a/./b", "a\\b", "a\0b"])
def test_a_path_cannot_lead_out_of_the_repository(tmp_path: Path, path: str) -> None:
    files = Files(str(tmp_path / "repository"))
    for operation in (files.read, files.has, files.remove, lambda one: files.write(one, b"")):
        with pytest.raises(FleetError, match="leads out of the repository"):
            operation(path)


def test_half_written_files_are_not_listed_and_do_not_stay(tmp_path: Path) -> None:
    files = Files(str(tmp_path))
    files.write("reports/a", b"1")
    with pytest.raises(FleetError, match=r"no such folder|No such file"):
        files.upload(tmp_path / "nothing", "reports/b")
    assert sorted(path.name for path in (tmp_path / "reports").iterdir()) == ["a"]
    (tmp_path / "reports" / ".a.1.part").touch()
    assert [one.path for one in files.listing("reports")] == ["reports/a"]


def test_a_disk_without_hard_links_has_new_files_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    files = Files(str(tmp_path))
    assert files.write_new("metadata/2.snapshot.json", b"1")
    assert files.read("metadata/2.snapshot.json") == b"1"
    with pytest.raises(FleetError):
        files.write_new("metadata/2.snapshot.json", b"2")
    assert files.read("metadata/2.snapshot.json") == b"1"


def test_a_file_in_the_place_of_the_repository_is_named(tmp_path: Path) -> None:
    (tmp_path / "repository").write_text("a file")
    with pytest.raises(FleetError) as caught:
        Files(str(tmp_path / "repository")).write("metadata/timestamp.json", b"")
    assert "file" in caught.value.found
    assert "store.url" not in str(caught.value)


def test_credentials_are_never_shown() -> None:
    files = Files("sftp://robot:secret@host/fleet")
    assert "secret" not in files.name
    assert "secret" not in repr(files)
    assert "secret" not in files.where("metadata/timestamp.json")
    with pytest.raises(FleetError) as caught:
        Files("nothing://robot:secret@host/fleet").has("a")
    assert "secret" not in str(caught.value)
    assert caught.value.fix == "set fleet.url in params.yaml"


def test_a_storage_that_forbids_is_not_a_missing_file(tmp_path: Path, aws: pytest.MonkeyPatch) -> None:
    with refusing(403, "AccessDenied") as url:
        aws.setenv("AWS_ENDPOINT_URL", url)
        files = Files("s3://bucket/fleet")
        for operation in (files.read, files.has, files.listing, lambda one: files.write_new(one, b"")):
            with pytest.raises(FleetError, match=r"do not allow this \(403\)"):
                operation("metadata")


def test_a_storage_that_hangs_is_an_error(aws: pytest.MonkeyPatch) -> None:
    aws.setattr(files_module, "READ_TIMEOUT_S", 0.2)
    with _silent() as port:
        aws.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        with pytest.raises(FleetError, match="cannot be reached"):
            Files("s3://bucket/fleet").read("metadata/timestamp.json")


class _silent:
    """A server that accepts connections and never answers."""

    def __enter__(self) -> int:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.accepted: list[socket.socket] = []
        self.thread = threading.Thread(target=self._accept)
        self.thread.start()
        return int(self.socket.getsockname()[1])

    def _accept(self) -> None:
        while True:
            try:
                self.accepted.append(self.socket.accept()[0])
            except OSError:
                return

    def __exit__(self, *_: object) -> None:
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join()
        for one in self.accepted:
            one.close()
