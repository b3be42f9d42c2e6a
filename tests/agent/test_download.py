"""Downloads of releases: resumed, verified, within the room that there is, and at the rate that is allowed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest

from robot_assets.agent.download import Damaged, Download, NoRoom, Throttle
from robot_assets.agent.transport import HttpTransport, Limits, Missing, TooLong, Unreachable
from robot_assets.release.bundle import parse_bundle
from tests.robots import http_repository as http
from tests.robots.world import bundle_of

ENGINE = os.urandom(700_000)
FILES = {
    "net/engine.bin": ENGINE,
    "net/reference.npz": b"answers",
    "net/copy of answers": b"answers",
    "net/deep/folder/x": b"x" * 70_000,
    "net/empty": b"",
}


@dataclass
class Source:
    """A server with the blobs of one release, and the download of that release."""

    server: http.HttpRepository
    folder: Path
    content: bytes

    @property
    def transport(self) -> HttpTransport:
        return HttpTransport(self.server.url, Limits(connect_s=2, gap_s=2))

    def download(self, most_bytes_s: float | None = None) -> Download:
        """As a process that has just started."""
        return Download(parse_bundle(self.content), self.content, self.folder, Throttle(most_bytes_s))

    def fetch(self, is_over: Callable[[], bool] = lambda: False) -> bool:
        return self.download().run(self.transport, {}, is_over)

    def blob(self, path: str) -> Path:
        return self.server.folder / "blobs" / sha256(FILES[path]).hexdigest()

    def found(self) -> dict[str, bytes]:
        return {
            path.relative_to(self.folder).as_posix(): path.read_bytes()
            for path in self.folder.rglob("*")
            if path.is_file()
        }


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Source]:
    blobs = tmp_path / "storage" / "blobs"
    blobs.mkdir(parents=True)
    for content in FILES.values():
        (blobs / sha256(content).hexdigest()).write_bytes(content)
    with http.serving(tmp_path / "storage") as server:
        yield Source(server, tmp_path / "downloads" / "x", bundle_of(FILES))


def complete(source: Source) -> dict[str, bytes]:
    return {**FILES, "bundle.json": source.content}


def test_a_release_arrives_as_its_bundle_says_and_nothing_beside_it(source: Source) -> None:
    download = source.download()
    download.reserve({}, 0)
    assert download.run(source.transport, {}, lambda: False)
    assert source.found() == complete(source)
    assert {path.name for path in source.folder.rglob("*") if path.is_dir()} == {"net", "deep", "folder"}


def test_a_download_that_is_cut_goes_on_where_it_was(source: Source) -> None:
    with source.server.attacked(f"blobs/{sha256(ENGINE).hexdigest()}", http.truncated(0.6)), pytest.raises(Unreachable):
        source.fetch()
    part = source.folder / ".part" / sha256(ENGINE).hexdigest()
    assert 0 < part.stat().st_size < len(ENGINE)
    source.server.asked.clear()
    assert source.fetch()
    engine = next(one for one in source.server.asked if one.path == f"blobs/{sha256(ENGINE).hexdigest()}")
    assert engine.has_range
    assert engine.sent < 0.5 * len(ENGINE)
    assert source.found() == complete(source)


def test_a_download_stops_when_it_is_told_to_and_goes_on_in_the_same_process(source: Source) -> None:
    download = source.download()
    rounds = 0
    while not download.run(source.transport, {}, lambda: True):
        rounds += 1
    assert rounds > 1
    assert source.found() == complete(source)


def test_what_a_power_loss_has_left_is_compared_before_it_is_used(source: Source) -> None:
    with source.server.attacked(f"blobs/{sha256(ENGINE).hexdigest()}", http.truncated(0.6)), pytest.raises(Unreachable):
        source.fetch()
    part = source.folder / ".part" / sha256(ENGINE).hexdigest()
    part.write_bytes(bytes(part.stat().st_size))
    assert source.fetch()
    assert source.found() == complete(source)


def test_other_bytes_are_refused(source: Source) -> None:
    source.blob("net/engine.bin").write_bytes(b"x" * len(ENGINE))
    with pytest.raises(Damaged, match="other bytes than its release says"):
        source.fetch()
    source.blob("net/engine.bin").write_bytes(ENGINE)
    assert source.fetch()


@pytest.mark.parametrize(
    ("content", "error"), [(ENGINE + b"x", TooLong), (ENGINE[:-1], Unreachable), (b"", Unreachable), (None, Missing)]
)
def test_a_file_of_another_size_is_refused(source: Source, content: bytes | None, error: type[Exception]) -> None:
    path = source.blob("net/engine.bin")
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(error):
        source.fetch()
    assert not (source.folder / "net/engine.bin").exists()


def test_files_of_another_release_are_not_downloaded_again(source: Source, tmp_path: Path) -> None:
    (tmp_path / "sets").mkdir()
    good, rotten = tmp_path / "sets" / "engine.bin", tmp_path / "sets" / "x"
    good.write_bytes(ENGINE)
    rotten.write_bytes(b"y" * 70_000)
    here = {sha256(ENGINE).hexdigest(): good, sha256(FILES["net/deep/folder/x"]).hexdigest(): rotten}
    assert source.download().run(source.transport, here, lambda: False)
    assert source.found() == complete(source)
    asked = {one.path for one in source.server.asked}
    assert f"blobs/{sha256(ENGINE).hexdigest()}" not in asked
    assert (source.folder / "net/engine.bin").stat().st_ino == good.stat().st_ino


def test_what_is_there_of_a_damaged_release_is_repaired(source: Source) -> None:
    assert source.fetch()
    (source.folder / "net/engine.bin").write_bytes(b"x" * len(ENGINE))
    (source.folder / "net/stray").write_bytes(b"x")
    (source.folder / "bundle.json").write_bytes(b"")
    source.server.asked.clear()
    assert source.fetch()
    assert source.found() == complete(source)
    assert len(source.server.asked) == 1


def test_room_is_checked_and_reserved_before_the_first_byte(source: Source) -> None:
    with pytest.raises(NoRoom, match="have to stay free") as caught:
        source.download().reserve({}, 1 << 50)
    assert caught.value.fix.startswith("df -h ")
    assert not source.folder.exists()
    source.download().reserve({}, 0)
    part = source.folder / ".part" / sha256(ENGINE).hexdigest()
    assert part.stat().st_size == 0
    if part.stat().st_blocks:  # where the file system can reserve
        assert part.stat().st_blocks * 512 >= len(ENGINE)
        source.download().reserve({}, 0)
    assert not source.server.asked


def test_a_release_that_is_here_needs_no_room(source: Source) -> None:
    assert source.fetch()
    source.download().reserve({}, 1 << 50)


def test_the_rate_is_limited() -> None:
    throttle = Throttle(1_000_000)
    before = time.monotonic()
    for _ in range(10):
        throttle.slow_down(10_000)
    assert time.monotonic() - before >= 0.09
