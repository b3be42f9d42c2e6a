"""Which reports of a group count, and why the others are refused."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner

from robot_assets.fleet import received
from robot_assets.fleet.errors import FleetError
from robot_assets.fleet.files import Files
from robot_assets.fleet.layout import report as report_path
from robot_assets.fleet.received import Reports, read_reports
from robot_assets.fleet.reports import LARGEST_BYTES, Report, State, sign_report
from robot_assets.provenance.keys import public_half

GROUP = "yard"
ROBOTS = ("mower_1", "mower_2", "mower_3")
SIGNERS = {robot: CryptoSigner.generate_ed25519() for robot in (*ROBOTS, "delivery_1")}
KEYS = {robot: public_half(signer) for robot, signer in SIGNERS.items()}
NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)


class Yard:
    """A repository in a folder, and the memo of who reads it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "repository"
        self.files = Files(str(self.folder))
        self.memo = folder / "memo"

    def put(self, robot: str, content: bytes, at: datetime = NOON, group: str = GROUP) -> Path:
        self.files.write(report_path(group, robot), content)
        path = self.folder / report_path(group, robot)
        os.utime(path, (at.timestamp(), at.timestamp()))
        return path

    def sends(self, robot: str, sequence: int = 1, at: datetime = NOON, **given) -> bytes:
        content = sign_report(report_of(robot, sequence, **given), SIGNERS[robot])
        self.put(robot, content, at)
        return content

    def read(self, keys=None) -> Reports:
        return read_reports(self.files, GROUP, ROBOTS, keys or KEYS, self.memo)


def report_of(robot: str, sequence: int = 1, **given) -> Report:
    fields = {
        "group": GROUP,
        "at": NOON.isoformat(),
        "state": State.COMMITTED,
        "running": "a" * 32 + ".dir",
        "fingerprint": "f" * 32,
    }
    return Report(robot=robot, sequence=sequence, **{**fields, **given})


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    return Yard(tmp_path)


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Every content whose signature was verified."""
    opened: list[bytes] = []

    def open_report(content, key):
        opened.append(content)
        return verify(content, key)

    verify = received.open_report
    monkeypatch.setattr(received, "open_report", open_report)
    return opened


def test_a_group_that_nobody_has_reported_to_has_no_reports(yard):
    assert yard.read() == Reports()


def test_a_signed_report_counts_from_when_the_storage_received_it(yard):
    yard.sends("mower_1", at=NOON + timedelta(minutes=3))
    found = yard.read()
    assert found.received["mower_1"].report == report_of("mower_1")
    assert found.received["mower_1"].received_at == NOON + timedelta(minutes=3)
    assert (found.refused, found.remarks) == ({}, {})


def test_a_report_of_a_robot_that_is_not_enrolled_is_refused(yard):
    yard.put("stranger", sign_report(report_of("stranger"), CryptoSigner.generate_ed25519()))
    assert yard.read().refused == {
        "stranger.json": "stranger is not enrolled; needed robot-assets fleet enroll stranger"
    }


def test_a_robot_of_another_group_is_refused(yard):
    yard.sends("delivery_1")
    assert yard.read().refused["delivery_1.json"].startswith("delivery_1 is not a robot of the group yard")


def test_a_wrong_signature_is_refused_and_the_others_count(yard):
    yard.sends("mower_1")
    yard.put("mower_2", sign_report(report_of("mower_2"), SIGNERS["mower_1"]))
    found = yard.read()
    assert set(found.received) == {"mower_1"}
    assert "the report is refused: signed by key" in found.refused["mower_2.json"]


def test_a_report_of_another_robot_is_refused(yard):
    yard.put("mower_1", sign_report(report_of("mower_2"), SIGNERS["mower_1"]))
    assert "it is a report of mower_2; needed one of mower_1" in yard.read().refused["mower_1.json"]


def test_a_report_of_another_group_is_refused(yard):
    yard.sends("mower_1", group="street")
    assert "it is a report of a robot of the group street" in yard.read().refused["mower_1.json"]


@pytest.mark.parametrize("content", [b"", b"{", b"\x00" * 64, b"null", b"[]", b"\xff\xfe"])
def test_what_is_no_report_is_refused(yard, content):
    yard.put("mower_1", content)
    found = yard.read()
    assert list(found.refused) == ["mower_1.json"]
    assert found.received == {}


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_report_that_was_cut_off_is_refused(yard, share):
    content = yard.sends("mower_1")
    yard.put("mower_1", content[: int(len(content) * share)])
    assert list(yard.read().refused) == ["mower_1.json"]


def test_a_report_that_is_too_large_is_not_read(yard, monkeypatch):
    yard.put("mower_1", b"x" * (LARGEST_BYTES + 1))
    monkeypatch.setattr(yard.files, "read", None)
    assert "65537 bytes; needed a report of at most 65536 bytes" in yard.read().refused["mower_1.json"]


def test_a_refused_file_does_not_replace_the_report_before_it(yard):
    yard.sends("mower_1", sequence=4)
    yard.read()
    yard.put("mower_1", b"{", at=NOON + timedelta(hours=1))
    found = yard.read()
    assert found.received["mower_1"].report.sequence == 4
    assert found.received["mower_1"].received_at == NOON
    assert list(found.refused) == ["mower_1.json"]
    assert yard.read() == found


def test_an_older_report_that_was_put_back_is_refused(yard):
    old = yard.sends("mower_1", sequence=4)
    yard.read()
    yard.sends("mower_1", sequence=5, at=NOON + timedelta(minutes=5), running=None)
    yard.read()
    yard.put("mower_1", old, at=NOON + timedelta(minutes=9))
    found = yard.read()
    assert found.received["mower_1"].report.sequence == 5
    assert "its number is 4, and number 5 was received before" in found.refused["mower_1.json"]
    assert "robot-assets fleet enroll mower_1" in found.refused["mower_1.json"]


def test_the_same_report_again_is_as_old_as_before(yard, verified):
    content = yard.sends("mower_1")
    first = yard.read()
    yard.put("mower_1", content, at=NOON + timedelta(days=1))
    assert yard.read() == first
    assert verified == [content]


def test_a_removed_report_and_an_older_one_after_it_are_recognized(yard):
    old = yard.sends("mower_1", sequence=4)
    yard.sends("mower_1", sequence=5)
    yard.read()
    (yard.folder / report_path(GROUP, "mower_1")).unlink()
    assert yard.read().received == {}
    yard.put("mower_1", old, at=NOON + timedelta(minutes=9))
    assert "number 5 was received before" in yard.read().refused["mower_1.json"]


def test_a_robot_with_a_new_key_begins_anew(yard):
    yard.sends("mower_1", sequence=40)
    yard.read()
    signer = CryptoSigner.generate_ed25519()
    yard.put("mower_1", sign_report(report_of("mower_1", 1), signer), at=NOON + timedelta(minutes=1))
    found = yard.read({**KEYS, "mower_1": public_half(signer)})
    assert found.received["mower_1"].report.sequence == 1
    assert found.refused == {}


def test_unchanged_reports_are_neither_read_nor_verified_again(yard, verified, monkeypatch):
    contents = [yard.sends(robot) for robot in ROBOTS]
    yard.put("mower_3", b"{", at=NOON)
    first = yard.read()
    assert set(verified) == {*contents[:2], b"{"}
    monkeypatch.setattr(yard.files, "read", None)
    assert yard.read() == first
    received._loaded.clear()  # as in another process, which has the file of the memo alone
    assert yard.read() == first
    assert len(verified) == 3


def test_a_memo_that_cannot_be_read_costs_time_alone(yard):
    yard.sends("mower_1")
    first = yard.read()
    [memo] = yard.memo.rglob("reports.json")
    memo.write_text("{")
    assert yard.read() == first


def test_a_state_folder_that_cannot_be_written_is_no_error(yard):
    yard.memo.write_text("a file where the folder should be")
    old = yard.sends("mower_1", sequence=4)
    assert set(yard.read().received) == {"mower_1"}
    yard.sends("mower_1", sequence=5, at=NOON + timedelta(minutes=5))
    yard.read()
    yard.put("mower_1", old, at=NOON + timedelta(minutes=9))
    assert "number 5 was received before" in yard.read().refused["mower_1.json"]


def test_repositories_do_not_share_a_memo(yard, tmp_path):
    yard.sends("mower_1", sequence=9)
    yard.read()
    other = Yard(tmp_path / "other")
    other.memo = yard.memo
    other.sends("mower_1", sequence=1)
    assert other.read().received["mower_1"].report.sequence == 1


@pytest.mark.parametrize("days", [3, 29_220])
def test_a_report_from_the_future_counts_and_is_remarked(yard, days):
    yard.sends("mower_1", **{"at": NOON})
    at = (NOON + timedelta(days=days)).isoformat()
    yard.put("mower_2", sign_report(report_of("mower_2", at=at), SIGNERS["mower_2"]))
    found = yard.read()
    assert set(found.received) == {"mower_1", "mower_2"}
    assert found.remarks == {"mower_2": f"its clock is {days} days ahead"}


def test_a_clock_that_is_behind_or_no_time_is_no_error(yard):
    yard.put("mower_1", sign_report(report_of("mower_1", at="1970-01-01T00:00:00"), SIGNERS["mower_1"]))
    yard.put("mower_2", sign_report(report_of("mower_2", at="\x1b[2Jnoon"), SIGNERS["mower_2"]))
    found = yard.read()
    assert set(found.received) == {"mower_1", "mower_2"}
    assert list(found.remarks) == ["mower_2"]
    assert "\x1b" not in found.remarks["mower_2"]


@pytest.mark.parametrize(
    "name", ["notes.txt", "a/b.json", "Mower.json", "-x.json", "\x1b[31m.json", "a" * 200 + ".json"]
)
def test_other_files_in_the_folder_are_named(yard, name):
    path = yard.folder / "reports" / GROUP / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}")
    [(shown, reason)] = yard.read().refused.items()
    assert "\x1b" not in shown
    assert len(shown) < 120
    assert "needed" in reason


def test_a_repository_that_cannot_be_reached_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FleetError):
        read_reports(Files(str(tmp_path / "file")), GROUP, ROBOTS, KEYS)
