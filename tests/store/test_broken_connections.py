"""Connections to a real S3 server break within a large object: bytes that have arrived are not transferred again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from robot_assets.core.errors import StoreError
from robot_assets.store import Store, remote, transfer
from tests.store.conftest import content, objects
from tests.store.cutting_proxy import cutting

LARGE = 40 << 20


@pytest.fixture
def packed(tmp_path: Path, s3: str) -> tuple[str, Path]:
    """A packed data set of one large file and some small ones, on the remote."""
    folder = tmp_path / "packed"
    folder.mkdir()
    (folder / "images.bin").write_bytes(os.urandom(LARGE + 12_345))
    (folder / "empty").write_bytes(b"")
    for number in range(20):
        (folder / f"{number}.json").write_text(f"{number}")
    return Store(tmp_path / "here", s3).add(folder).digest, folder


@pytest.mark.parametrize("cut_after", [6_000_000, 4_400_000])
def test_a_large_object_arrives_over_connections_that_all_break_in_less_than_twice_its_bytes(
    packed, s3_server, s3, tmp_path, monkeypatch, cut_after
):
    digest, folder = packed
    monkeypatch.setattr(remote, "_RETRY_DELAYS_S", (0.01,) * 5)
    with cutting(s3_server, cut_after) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        there = Store(tmp_path / "there", s3)
        assert content(there.open(digest)) == content(folder)
    assert proxy.cuts > 2
    print(f"{proxy.cuts} cuts; {proxy.carried / LARGE:.2f} times the object's size was transferred")
    assert LARGE < proxy.carried < 2 * LARGE


def test_over_intact_connections_each_byte_is_transferred_once(packed, s3_server, s3, tmp_path, monkeypatch):
    digest, folder = packed
    with cutting(s3_server, 0, cuts=0) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        assert content(Store(tmp_path / "there", s3).open(digest)) == content(folder)
    assert LARGE < proxy.carried < 1.05 * LARGE


def test_a_remote_whose_connections_always_break_is_an_error_and_leaves_no_partial_object(
    packed, s3_server, s3, tmp_path, monkeypatch
):
    digest, folder = packed
    monkeypatch.setattr(remote, "_RETRY_DELAYS_S", (0.01,))
    there = Store(tmp_path / "there", s3)
    with cutting(s3_server, 200_000) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        with pytest.raises(StoreError, match=r"reading s3://.* failed"):
            there.open(digest)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    assert max((path.stat().st_size for path in objects(there.cache).values()), default=0) < LARGE
    assert not list((there.cache / "batches").iterdir())
    assert content(there.open(digest)) == content(folder)


def test_an_object_is_assembled_from_parts_of_any_size(packed, s3, tmp_path, monkeypatch):
    digest, folder = packed
    monkeypatch.setattr(transfer, "_PART_BYTES", 7_654_321)
    assert content(Store(tmp_path / "there", s3).open(digest)) == content(folder)
