"""How the bad items of a source are shown: one line for each fault, causes first, outside text escaped."""

from pathlib import Path

import pytest

from robot_assets.core.label_issues import (
    CAUSE,
    CONSEQUENCE,
    LISTED,
    BadItem,
    LabelIssue,
    first_issues,
    grouped,
    printable,
)
from robot_assets.data.importing.importer import ImportRefused, import_dataset, quarantine_path
from tests.data.image_sources import encoded_image, write_yolo


def test_issues_with_one_fault_are_one_line_with_the_first_places() -> None:
    issues = [LabelIssue(f"{number:02}.txt", "missing label file", "restore it") for number in range(20)]
    assert first_issues(issues) == "\n    00.txt, 01.txt, 02.txt and 17 more: missing label file; restore it"


def test_the_fault_with_the_most_places_comes_first() -> None:
    rare, frequent = LabelIssue("a", "rare", "x"), [LabelIssue(f"z{number}", "frequent", "x") for number in range(2)]
    assert [found for _, found, _ in grouped([rare, *frequent])] == ["frequent", "rare"]


def test_a_cause_comes_before_what_follows_from_it() -> None:
    issues = [
        *(LabelIssue(f"annotations[{number}]", "its image is unknown", "x", CONSEQUENCE) for number in range(9)),
        LabelIssue("b.jpg", "damaged", "x"),
        LabelIssue("labels.json", "image ids are strings", "x", CAUSE),
    ]
    assert [found for _, found, _ in grouped(issues)] == ["image ids are strings", "damaged", "its image is unknown"]
    assert min(issues).found == "image ids are strings"


def test_issues_beyond_the_listed_lines_are_counted_as_issues() -> None:
    issues = [LabelIssue(f"{number:02}", f"fault {number:02}", "x") for number in range(LISTED + 5)]
    issues += [LabelIssue("again", f"fault {LISTED + 4}", "x")]
    text = first_issues(issues)
    assert len(text.splitlines()) - 1 == LISTED + 1
    assert text.endswith("and 5 more")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m.jpg", r"\x1b[31mred\x1b[0m.jpg"),
        ("a\nb\tc\r", r"a\nb\tc\r"),
        ("\u202egpj.exe", r"\u202egpj.exe"),
        ("a\u200bb\ufeff", r"a\u200bb\ufeff"),
        ("\x9b1m", r"\x9b1m"),
        ("caf\udce9.jpg", r"caf\xe9.jpg"),
        ("\ud800", r"\ud800"),
        ("\U000e0041", r"\U000e0041"),
        ("日本/écran [stop] 1.jpg", "日本/écran [stop] 1.jpg"),
    ],
)
def test_what_a_terminal_would_obey_or_hide_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown
    issue = LabelIssue(text, f"found {text}", f"fix {text}")
    assert str(issue) == f"{shown}: found {shown}; fix {shown}"
    assert BadItem(text, text, text).issue == LabelIssue(shown, shown, shown)
    assert str(issue).isprintable()


def test_names_with_escapes_reach_neither_the_message_nor_the_list(tmp_path: Path) -> None:
    source = write_yolo(tmp_path / "source", {"a": 3})
    for name in ("\x1b[31mred\x1b[0m", "\u202egpj", "zero\u200bwidth"):
        (source / "a" / f"{name}.jpg").write_bytes(encoded_image(name))
        (source / "a" / f"{name}.txt").write_text("")
    with pytest.raises(ImportRefused) as error:
        import_dataset("yolo", source, tmp_path / "raw")
    assert r"a/\x1b[31mred\x1b[0m.jpg" in error.value.found
    assert all(line.isprintable() for line in str(error.value).splitlines())
    listed = quarantine_path(tmp_path / "raw").read_text("utf-8")
    assert all(line.isprintable() for line in listed.splitlines())


def test_text_of_a_label_file_is_escaped(tmp_path: Path) -> None:
    source = write_yolo(tmp_path / "source", {"a": 3})
    (source / "a/001.txt").write_text("0 0.5 0.5 \x1b]0;title\x07 0.1\n")
    with pytest.raises(ImportRefused) as error:
        import_dataset("yolo", source, tmp_path / "raw")
    assert all(line.isprintable() for line in str(error.value).splitlines())


def test_the_folder_of_a_source_is_escaped(tmp_path: Path) -> None:
    source = write_yolo(tmp_path / "so\x1b[31murce", {"a": 3})
    (source / "a/000.txt").unlink()
    with pytest.raises(ImportRefused) as error:
        import_dataset("yolo", source, tmp_path / "raw")
    assert "\x1b" not in str(error.value)


def test_thirty_images_without_labels_are_one_line_and_all_in_the_file(tmp_path: Path) -> None:
    source = write_yolo(tmp_path / "source", {"a": 30})
    for label in list(source.glob("a/*.txt"))[:30]:
        label.write_text("0 9 9 9 9\n")
    with pytest.raises(ImportRefused) as error:
        import_dataset("yolo", source, tmp_path / "raw")
    assert "a/000.txt:1, a/001.txt:1, a/002.txt:1 and 27 more: " in error.value.found
    assert len(error.value.issues) == 30
