"""Grouping images into recording sessions by a rule."""

import os
import random
import signal
import unicodedata
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from robot_assets.core.errors import DataError
from robot_assets.data.importing.sessions import grouping
from robot_assets.data.importing.sessions.capture_time import capture_of
from robot_assets.data.importing.sessions.grouping import FOLDER, parse_rule, regrouped
from robot_assets.data.importing.sessions.proposals import proposals, splits_among
from robot_assets.data.source import Entry, Source


def entry(name: str, root: Path = Path("/source")) -> Entry:
    return Entry(name, root / name, lambda _width, _height: [])


def source_of(names: Sequence[str], root: Path = Path("/source"), splits: tuple[str, ...] = ()) -> Source:
    return Source(("ball",), tuple(entry(name, root) for name in sorted(names)), splits=splits)


def grouped(names: Sequence[str], rule: str) -> dict[str, str]:
    """Former -> new file name."""
    found = regrouped(source_of(names), parse_rule(rule))
    return {one.path.relative_to("/source").as_posix(): one.file_name for one in found.entries}


def session(file_name: str) -> str:
    return PurePosixPath(file_name).parent.as_posix()


def refusal(rule: str) -> DataError:
    with pytest.raises(DataError) as error:
        parse_rule(rule)
    assert error.value.needed
    assert error.value.fix
    return error.value


# Rules


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        ("folders", "did you mean folder?"),
        ("exif:5m", "did you mean exif-time:GAP?"),
        ("one-per-imge", "did you mean one-per-image?"),
        ("bag", "'bag' is unknown"),
        ("", "'' is unknown"),
        ("folder:x", "folder takes no value"),
        ("one-per-image:x", "one-per-image takes no value"),
        ("name", "REGEX is missing"),
        ("name:", "REGEX is missing"),
        ("exif-time", "GAP is missing"),
        ("file:", "CSV is missing"),
        ("name:bag", "'bag' has no group"),
        ("name:(bag", "'(bag' is not a regular expression: "),
        ("exif-time:5", "the gap is '5'"),
        ("exif-time:0s", "the gap is '0s'"),
        ("exif-time:-5m", "the gap is '-5m'"),
        ("exif-time:nanm", "the gap is 'nanm'"),
        ("exif-time:5 parsecs", "the gap is '5 parsecs'"),
        ("file:/no/such.csv", "/no/such.csv cannot be read: no such file"),
        ("file:~nobody-there/x.csv", "no user 'nobody-there'"),
        ("file:$NOT_SET_HERE/x.csv", "the variable NOT_SET_HERE is not set"),
        ("file:/tmp", "/tmp cannot be read: is a directory"),
    ],
)
def test_a_rule_that_is_none_is_refused_with_the_near_miss(rule: str, found: str) -> None:
    assert found in refusal(rule).found


@pytest.mark.parametrize(("gap", "seconds"), [("90s", 90), ("5m", 300), ("2h", 7200), ("1.5h", 5400), ("500ms", 0.5)])
def test_gaps_have_units(gap: str, seconds: float) -> None:
    assert parse_rule(f"exif-time:{gap}").gap_s == seconds


# By name


def test_the_first_group_is_the_session_and_folders_are_ignored() -> None:
    assert grouped(["train/bag1_001.jpg", "valid/bag1_002.jpg", "bag2_001.jpg"], r"name:^(bag\d)_") == {
        "train/bag1_001.jpg": "bag1/bag1_001.jpg",
        "valid/bag1_002.jpg": "bag1/bag1_002.jpg",
        "bag2_001.jpg": "bag2/bag2_001.jpg",
    }


def test_a_group_of_the_name_session_goes_before_the_first() -> None:
    assert grouped(["cam0-bag7.jpg"], r"name:(cam\d)-(?P<session>bag\d)") == {"cam0-bag7.jpg": "bag7/cam0-bag7.jpg"}


def test_an_expression_with_a_slash_matches_the_path() -> None:
    names = ["day1/left/000.jpg", "day1/right/000.jpg", "day2/left/000.jpg"]
    assert {session(new) for new in grouped(names, "name:^(day.)/").values()} == {"day1", "day2"}


def test_the_suffix_is_no_part_of_the_name() -> None:
    assert grouped(["a.jpg"], "name:(.*)$") == {"a.jpg": "a/a.jpg"}


def test_images_that_do_not_match_have_one_finding_in_common() -> None:
    found = regrouped(source_of(["bag1_0.jpg", "x.jpg", "y.jpg"]), parse_rule(r"name:^(bag\d)"))
    assert [one.place for one in found.issues] == ["x.jpg", "y.jpg"]
    assert {(one.found, one.fix) for one in found.issues} == {
        (r"--sessions 'name:^(bag\\d)' does not match the name", "correct the expression, or rename the file")
    }
    assert [one.file_name for one in found.entries] == ["bag1/bag1_0.jpg"]


@pytest.mark.parametrize("rule", ["name:(z)", "name:(z?)", "name:(z)?", "exif-time:5m"])
def test_a_rule_that_fits_no_image_is_refused_with_the_names(rule: str) -> None:
    with pytest.raises(DataError, match=r"of 2 images: a\.jpg, b\.jpg"):
        grouped(["a.jpg", "b.jpg"], rule)


def test_an_expression_that_never_ends_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouping, "MATCHING_MAX_S", 0.2)
    with pytest.raises(DataError) as error:
        grouped(["robot0_20260101_000_front_left.jpg"], r"name:^((\w+)*)*#")
    assert "takes more than 0.2 s; it was at robot0_20260101_000_front_left.jpg" in error.value.found
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_files_of_equal_names_in_one_session_keep_their_folder() -> None:
    found = grouped(["left/1.jpg", "right/1.jpg", "1.jpg", "left/2.jpg"], "name:^(.)")
    assert found["left/1.jpg"] == "1/left_1.jpg"
    assert found["right/1.jpg"] == "1/right_1.jpg"
    assert found["1.jpg"] == "1/1.jpg"
    assert found["left/2.jpg"] == "2/2.jpg"


@given(
    names=st.sets(
        st.lists(st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=5), min_size=1)
        .map("/".join)
        .filter(lambda name: not {".", ".."} & set(name.split("/"))),
        max_size=8,
    ),
    rule=st.sampled_from(["name:(?s)(.)", "name:(?s)^(.*)/", "name:(?s)(.)$", "one-per-image"]),
    order=st.randoms(use_true_random=False),
)
def test_sessions_are_safe_paths_files_are_unique_and_no_image_is_lost(
    names: set[str], rule: str, order: random.Random
) -> None:
    shuffled = sorted(names)
    order.shuffle(shuffled)
    entries = tuple(Entry(name, Path("/source") / name, lambda _w, _h: []) for name in [*shuffled, "x/x"])
    names = {*names, "x/x"}
    found = regrouped(Source((), entries), parse_rule(rule))
    moved = [one.file_name for one in found.entries]
    assert len(moved) + len(found.issues) == len(names)
    assert len({name.casefold() for name in moved}) == len(moved)
    for name in moved:
        parts = name.split("/")
        assert len(parts) == 2
        assert parts[0] not in ("", ".", "..")
        assert not parts[0].startswith(".")
        assert parts[0].isprintable()
        assert "\\" not in parts[0]
        assert len(parts[0].encode()) <= 120
    again = regrouped(Source((), tuple(sorted(entries, key=lambda one: one.file_name))), parse_rule(rule))
    assert [one.file_name for one in again.entries] == moved


def test_sessions_that_would_become_one_folder_stay_apart() -> None:
    found = grouped(["a:b 1.jpg", "a*b 1.jpg", "a_b 1.jpg"], r"name:^(\S+)")
    assert len({session(new) for new in found.values()}) == 3
    assert session(found["a_b 1.jpg"]) == "a_b"


def test_two_unicode_forms_of_a_session_are_one_session() -> None:
    names = [unicodedata.normalize(form, f"Übung_{number}.jpg") for number, form in enumerate(("NFC", "NFD"))]
    assert {session(new) for new in grouped(names, "name:^(.*)_").values()} == {"Übung"}


def test_long_sessions_are_cut_and_stay_apart() -> None:
    found = grouped([f"{'x' * 150}{letter}.jpg" for letter in "ab"], "name:(.*)")
    assert len({session(new) for new in found.values()}) == 2
    assert all(len(session(new)) <= 100 for new in found.values())


# By folder, and one per image


def test_folders_are_kept_as_they_are() -> None:
    found = source_of(["d1/r1/0.jpg", "0.jpg"])
    assert regrouped(found, FOLDER) == found


def test_splits_of_an_export_are_named_as_no_recordings() -> None:
    found = regrouped(source_of(["train/0.jpg", "valid/0.jpg"], splits=("train", "valid")), FOLDER)
    assert found.notes[0].startswith("train, valid: splits of the export, used as sessions.")
    assert "leakage" in found.notes[0]
    assert "--sessions" in found.notes[0]


def test_one_session_per_image_says_what_that_means() -> None:
    found = regrouped(source_of(["d/a.jpg", "d/a.png", "e/a.jpg"]), parse_rule("one-per-image"))
    assert len({session(one.file_name) for one in found.entries}) == 3
    assert "scores on val and test are higher than they will be on new recordings (leakage)" in found.notes[0]


# By capture time


def photo(
    path: Path, time: datetime | None, *, camera: str = "", fraction: str = "", offset: str = "", serial: str = ""
) -> None:
    image = Image.new("RGB", (8, 8))
    exif = Image.Exif()
    if camera:
        exif[0x010F], exif[0x0110] = "Maker", camera
    details = exif.get_ifd(0x8769)
    if time:
        details[0x9003] = f"{time:%Y:%m:%d %H:%M:%S}"
    for tag, value in ((0x9291, fraction), (0x9011, offset), (0xA431, serial)):
        if value:
            details[tag] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, exif=exif)


START = datetime(2025, 1, 14, 10, 0, 0)


def timed(root: Path, names: Sequence[str], rule: str, splits: tuple[str, ...] = ()) -> dict[str, list[str]]:
    """Session -> former names."""
    sessions: dict[str, list[str]] = {}
    for one in regrouped(source_of(names, root, splits), parse_rule(rule)).entries:
        sessions.setdefault(session(one.file_name), []).append(one.path.relative_to(root).as_posix())
    return sessions


def test_a_longer_gap_starts_a_session(tmp_path: Path) -> None:
    minutes = {"c.jpg": 0, "a.jpg": 5, "b.jpg": 10, "d.jpg": 16}
    for name, minute in minutes.items():
        photo(tmp_path / name, START + timedelta(minutes=minute))
    assert timed(tmp_path, [*minutes], "exif-time:5m") == {
        "20250114-100000": ["a.jpg", "b.jpg", "c.jpg"],
        "20250114-101600": ["d.jpg"],
    }


def test_cameras_and_folders_have_sessions_of_their_own(tmp_path: Path) -> None:
    for number, (folder, camera, serial) in enumerate([("d1", "A", "1"), ("d1", "A", "2"), ("d2", "A", "1")]):
        photo(tmp_path / folder / f"{number}.jpg", START, camera=camera, serial=serial)
    found = timed(tmp_path, ["d1/0.jpg", "d1/1.jpg", "d2/2.jpg"], "exif-time:5m")
    assert found == {
        "d1_Maker-A-1_20250114-100000": ["d1/0.jpg"],
        "d1_Maker-A-2_20250114-100000": ["d1/1.jpg"],
        "d2_20250114-100000": ["d2/2.jpg"],
    }


def test_a_recording_continues_over_the_splits_of_an_export(tmp_path: Path) -> None:
    for number, name in enumerate(["train/a.jpg", "valid/b.jpg"]):
        photo(tmp_path / name, START + timedelta(seconds=number))
    names = ["train/a.jpg", "valid/b.jpg"]
    assert [*timed(tmp_path, names, "exif-time:1m", ("train", "valid"))] == ["20250114-100000"]


def test_fractions_of_a_second_and_offsets_from_utc_count(tmp_path: Path) -> None:
    photo(tmp_path / "a.jpg", START, fraction="25", offset="+02:00")
    capture = capture_of(tmp_path / "a.jpg")
    assert capture is not None
    assert capture.time == START + timedelta(hours=-2, milliseconds=250)


def test_images_without_a_time_have_one_finding_in_common(tmp_path: Path) -> None:
    photo(tmp_path / "a.jpg", START)
    photo(tmp_path / "b.jpg", None)
    (tmp_path / "c.jpg").write_bytes(b"no image")
    found = regrouped(source_of(["a.jpg", "b.jpg", "c.jpg"], tmp_path), parse_rule("exif-time:5m"))
    assert [one.place for one in found.issues] == ["b.jpg", "c.jpg"]
    assert {one.found for one in found.issues} == {"no capture time (EXIF DateTimeOriginal)"}


def test_any_bytes_of_a_header_give_a_time_or_none(tmp_path: Path) -> None:
    photo(tmp_path / "a.jpg", START, camera="A", fraction="5", offset="+01:00", serial="7")
    whole = (tmp_path / "a.jpg").read_bytes()
    chance = random.Random(0)
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 6)):
            damaged[chance.randrange(2, 300)] = chance.randrange(256)
        (tmp_path / "b.jpg").write_bytes(damaged[: chance.randint(1, len(damaged))])
        capture_of(tmp_path / "b.jpg")


# By table


def table(tmp_path: Path, text: str) -> str:
    path = tmp_path / "sessions.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return f"file:{path}"


@pytest.mark.parametrize(
    "text",
    [
        "d1/a.jpg,morning\nd1/b.jpg,noon\n",
        "path,session\nd1/a.jpg,morning\nd1/b.jpg,noon\n",
        "session;frame;file_name\nmorning;1;d1/a.jpg\nnoon;2;d1/b.jpg\n",
        "\ufeffPath\tSession\r\nd1\\a.jpg\tmorning\r\n\r\n./d1/b.jpg\tnoon\r\n",
        'a.jpg,"morning"\nb.jpg,noon',
        "images/d1/a.jpg,morning\n/source/images/d1/b.jpg,noon\n",
    ],
)
def test_a_table_assigns_sessions(tmp_path: Path, text: str) -> None:
    entries = tuple(
        Entry(f"d1/{name}", Path(f"/source/images/d1/{name}"), lambda _w, _h: []) for name in ("a.jpg", "b.jpg")
    )
    found = regrouped(Source((), entries), parse_rule(table(tmp_path, text)))
    assert [one.file_name for one in found.entries] == ["morning/a.jpg", "noon/b.jpg"]
    assert not found.issues


def test_unknown_rows_are_a_note_and_images_without_a_row_are_findings(tmp_path: Path) -> None:
    rule = table(tmp_path, "a.jpg,x\nold1.jpg,x\nold2.jpg,x\n")
    found = regrouped(source_of(["a.jpg", "b.jpg", "c.jpg"]), parse_rule(rule))
    assert found.notes == (f"2 rows of {tmp_path}/sessions.csv without an image in the source: old1.jpg, old2.jpg",)
    assert [one.place for one in found.issues] == ["b.jpg", "c.jpg"]
    rows = "which has 2 rows of no image: old1.jpg, old2.jpg"
    assert {one.found for one in found.issues} == {f"no row in {tmp_path}/sessions.csv, {rows}"}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "has no row"),
        ("path,session\n", "has no row"),
        ("a.jpg\n", "sessions.csv:1: 'a.jpg' is not a path and a session"),
        ("a.jpg,x\nb.jpg,\n", "sessions.csv:2: 'b.jpg,' is not a path and a session"),
        ("a.jpg,x\na.jpg,y\n", "sessions.csv:2: a.jpg is in session 'y', and in 'x' above"),
        ('a.jpg,"x\n', "sessions.csv:1: "),
    ],
)
def test_a_row_that_cannot_be_right_is_named_with_its_line(tmp_path: Path, text: str, found: str) -> None:
    assert found in refusal(table(tmp_path, text)).found


def test_a_table_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    (tmp_path / "sessions.csv").write_bytes("a.jpg,잔디\n".encode("cp949"))
    assert "is not UTF-8 text" in refusal(f"file:{tmp_path}/sessions.csv").found


def test_a_file_name_that_several_images_have_is_ambiguous(tmp_path: Path) -> None:
    rule = parse_rule(table(tmp_path, "a.jpg,x\n"))
    with pytest.raises(DataError, match=r"a\.jpg fits 2 images: d1/a\.jpg, d2/a\.jpg"):
        regrouped(source_of(["d1/a.jpg", "d2/a.jpg"]), rule)
    assert len(regrouped(source_of(["a.jpg", "d2/a.jpg"]), rule).entries) == 1


# Proposals


def proposed(names: Sequence[str]) -> dict[str, int]:
    """Rule -> sessions; every proposal gives what it announces, for every image."""
    found = proposals({name: Path("/source") / name for name in names})
    for one in found:
        result = regrouped(source_of(names), parse_rule(one.rule))
        assert not result.issues
        assert len({session(moved.file_name) for moved in result.entries}) == one.sessions
    return {one.rule: one.sessions for one in found}


@pytest.mark.parametrize(
    ("pattern", "sessions"),
    [
        ("bag{bag}_{frame:06}.jpg", 4),
        ("bag{bag}-frame{frame:06}.jpg", 4),
        ("2025-01-1{bag}_{frame:04}.png", 4),
        ("2025011{bag}_1015{frame:02}.png", 4),
        ("robot{bag}_mp4-{frame}_jpg.rf.0a1b2c3d{frame:02}e{bag}.jpg", 4),
        ("robot{bag}.{frame}.rf.AbC{frame}d{bag}.jpg", 4),
        ("{frame:06}_arena{bag}.jpg", 4),
        ("{frame:06} arena {bag}x.jpg", 4),
    ],
)
def test_a_rule_is_proposed_for_names_with_a_recording_and_a_frame_number(pattern: str, sessions: int) -> None:
    names = [pattern.format(bag=bag, frame=frame) for bag in range(4) for frame in range(6)]
    rules = proposed(names)
    assert sessions in [count for rule, count in rules.items() if rule.startswith("name:")]
    assert [*rules][-1] == "one-per-image"


def test_the_fewest_sessions_are_first_so_that_cameras_of_one_recording_stay_together() -> None:
    names = [f"bag{bag}_{camera}_{frame:04}.jpg" for bag in range(4) for camera in ("l", "r") for frame in range(5)]
    assert [*proposed(names).values()] == [4, 8, 40]


def test_frame_numbers_alone_give_no_sessions() -> None:
    assert [*proposed([f"frame_{number:05}.jpg" for number in range(60)])] == ["one-per-image"]
    assert [*proposed([f"{number:03}.jpg" for number in range(300)])] == ["one-per-image"]
    assert [*proposed([f"{1736848102 + number}.jpg" for number in range(0, 9000, 100)])] == ["one-per-image"]


def test_augmented_copies_of_roboflow_stay_together() -> None:
    names = [f"frame_{frame:03}_jpg.rf.{copy}{frame}ab.jpg" for frame in range(9) for copy in "cde"]
    assert proposed(names) == {r"name:^(.+)\.rf\.\w+$": 9}


def test_capture_times_are_proposed_where_all_images_have_them(tmp_path: Path) -> None:
    for hour in range(3):
        for frame in range(3):
            photo(tmp_path / f"{hour}{frame}.jpg", START + timedelta(hours=hour, seconds=frame))
    names = sorted(os.listdir(tmp_path))
    found = proposals({name: tmp_path / name for name in names})
    assert [(one.rule, one.sessions) for one in found] == [("exif-time:30m", 3), ("one-per-image", 9)]
    photo(tmp_path / "99.jpg", None)
    more = proposals({name: tmp_path / name for name in [*names, "99.jpg"]})
    assert [one.rule for one in more] == ["one-per-image"]


def test_folders_with_the_names_of_splits_are_recognized() -> None:
    assert splits_among(["train", "valid", "test"]) == ("test", "train", "valid")
    assert splits_among(["train2017", "val2017"]) == ("train2017", "val2017")
    assert splits_among(["train/d1", "val/d2"]) == ("train", "val")
    assert splits_among(["train", "day2"]) == ()
    assert splits_among(["."]) == ()
    assert splits_among([]) == ()
    assert splits_among(["a/train", "a/valid", "b/train", "b/valid"]) == ("a/train", "a/valid", "b/train", "b/valid")
    assert splits_among(["obj_train_data", "obj_valid_data"]) == ("obj_train_data", "obj_valid_data")
    assert splits_among(["a/train", "b/test"]) == ()


def test_splits_of_several_exports_side_by_side_are_named_as_no_recordings() -> None:
    names = [f"{export}/{split}/0.jpg" for export in "ab" for split in ("train", "valid")]
    (note,) = regrouped(source_of(names), FOLDER).notes
    assert note.startswith("a/train, a/valid, b/train, b/valid: splits of the export, used as sessions")


def test_a_table_whose_rows_fit_no_image_shows_its_rows(tmp_path: Path) -> None:
    text = "path,session\nC:\\Users\\kim\\set\\0.jpg,day1\n"
    with pytest.raises(DataError) as error:
        regrouped(source_of(["day1/0.jpg"]), parse_rule(table(tmp_path, text)))
    assert error.value.found.endswith("its rows are such as C:/Users/kim/set/0.jpg")


def test_rows_of_no_image_are_shown_beside_images_without_a_row(tmp_path: Path) -> None:
    rule = parse_rule(table(tmp_path, "path,session\na.jpg,day1\nb.jgp,day1\n"))
    (issue,) = regrouped(source_of(["a.jpg", "b.jpg"]), rule).issues
    assert issue.found.endswith("sessions.csv, which has 1 row of no image: b.jgp")


def test_a_table_of_a_spreadsheet_in_utf16_is_read(tmp_path: Path) -> None:
    path = tmp_path / "sessions.csv"
    path.write_bytes("path\tsession\na.jpg\t잔디\n".encode("utf-16"))
    assert parse_rule(f"file:{path}").rows == {"a.jpg": "잔디"}
