"""Importing YOLO labels, and the faults that are refused by name."""

import io
import os
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from robot_assets.core.errors import DataError
from robot_assets.data.importing.importer import import_dataset, quarantine_path
from tests.data.image_sources import CLASSES, GOOD_LABEL, encoded_image, read_labels, tree_bytes, write_yolo


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_yolo(tmp_path / "source", {"day1/r2": 3, "day2/r4": 2})


def refused(source: Path, out: Path) -> str:
    """The error for ``source``; checks that nothing is left at or beside ``out``."""
    with pytest.raises(DataError) as error:
        import_dataset("yolo", source, out)
    assert not out.exists()
    assert not list(out.parent.glob(f".{out.name}*"))
    assert not quarantine_path(out).exists()
    assert error.value.fix
    return error.value.found


def test_images_are_imported_byte_for_byte_with_their_session_classes_and_notice(source: Path, tmp_path: Path) -> None:
    summary = import_dataset("yolo", source, tmp_path / "raw")
    assert (summary.images, summary.annotations, summary.sessions, summary.clipped) == (5, 12, 2, 0)
    assert summary.classes == {"ball": 5, "human": 5, "goal post": 2}
    raw = tmp_path / "raw"
    assert (raw / "NOTICE").read_text() == (source / "NOTICE").read_text()
    copied = (raw / "images" / "day1" / "r2" / "000.jpg").read_bytes()
    assert copied == (source / "day1" / "r2" / "000.jpg").read_bytes()
    document = read_labels(raw)
    assert [c["name"] for c in document["categories"]] == list(CLASSES)
    assert document["images"][0] == {
        "id": 1, "file_name": "day1/r2/000.jpg", "width": 64, "height": 48, "session": "day1/r2"
    }  # fmt: skip
    assert document["annotations"][0]["bbox"] == [24.0, 18.0, 16.0, 12.0]


def test_an_empty_label_file_is_an_image_without_objects(source: Path, tmp_path: Path) -> None:
    (source / "day1/r2/001.txt").write_text("\n")
    assert import_dataset("yolo", source, tmp_path / "raw").images == 5


def test_two_imports_have_the_same_bytes_independently_of_the_order_of_files(source: Path, tmp_path: Path) -> None:
    shuffled = tmp_path / "shuffled"
    for name, content in reversed(tree_bytes(source).items()):
        (shuffled / name).parent.mkdir(parents=True, exist_ok=True)
        (shuffled / name).write_bytes(content)
    import_dataset("yolo", source, tmp_path / "one")
    import_dataset("yolo", shuffled, tmp_path / "two")
    assert tree_bytes(tmp_path / "one") == tree_bytes(tmp_path / "two")


def test_the_mirrored_layout_is_supported(source: Path, tmp_path: Path) -> None:
    mirrored = tmp_path / "mirrored"
    for name, content in tree_bytes(source).items():
        folder = "labels" if name.endswith(".txt") else "images" if name.endswith(".jpg") else ""
        (mirrored / folder / name).parent.mkdir(parents=True, exist_ok=True)
        (mirrored / folder / name).write_bytes(content)
    (mirrored / "obj.names").unlink()
    (mirrored / "data.yaml").write_text("names: {0: ball, 1: human, 2: goal post}\n")
    import_dataset("yolo", source, tmp_path / "one")
    import_dataset("yolo", mirrored, tmp_path / "two")
    assert tree_bytes(tmp_path / "one") == tree_bytes(tmp_path / "two")


@pytest.mark.parametrize(
    ("label", "found"),
    [
        ("0 0.5 0.5 0.25\n", "4 columns, needed 5"),
        ("0 0.1 0.1 0.2 0.1 0.2 0.2\n", "a polygon (segmentation) row"),
        ("0 0.1 0.1 0.2 0.1 0.2 0.2 0.3\n", "8 columns, needed 5"),
        ("3 0.5 0.5 0.25 0.25\n", "unknown class id '3', needed 0 to 2"),
        ("-1 0.5 0.5 0.25 0.25\n", "unknown class id '-1'"),
        ("0.0 0.5 0.5 0.25 0.25\n", "unknown class id '0.0'"),
        ("99999999999999999999 0.5 0.5 0.25 0.25\n", "unknown class id"),
        ("0 nan 0.5 0.25 0.25\n", "NaN or infinite"),
        ("0 0.5 inf 0.25 0.25\n", "NaN or infinite"),
        ("0 0.5 0.5 1e999 0.25\n", "NaN or infinite"),
        ("0 half 0.5 0.25 0.25\n", "not numbers"),
        ("0 0.5 0.5 0 0.25\n", "box of 0x12 px"),
        ("0 0.5 0.5 -0.25 0.25\n", "box of -16x12 px"),
        ("0 0.95 0.5 0.25 0.25\n", "label outside the image: 4.8 px past the edge of 64x48"),
        ("0 1.5 0.5 0.25 0.25\n", "label outside the image"),
    ],
)
def test_a_bad_line_is_named_with_its_file_and_number(source: Path, tmp_path: Path, label: str, found: str) -> None:
    (source / "day1/r2/001.txt").write_text(GOOD_LABEL + label)
    message = refused(source, tmp_path / "raw")
    assert "day1/r2/001.txt:3: " in message
    assert found in message


def test_a_tiny_overshoot_is_clipped_and_counted(source: Path, tmp_path: Path) -> None:
    (source / "day1/r2/001.txt").write_text("0 0.5 0.5 1.03 0.5\n")
    summary = import_dataset("yolo", source, tmp_path / "raw")
    assert summary.clipped == 1
    bboxes = [a["bbox"] for a in read_labels(tmp_path / "raw")["annotations"] if a["image_id"] == 2]
    assert bboxes == [[0.0, 12.0, 64, 24.0]]


def test_a_duplicate_box_is_named(source: Path, tmp_path: Path) -> None:
    (source / "day1/r2/001.txt").write_text(GOOD_LABEL + GOOD_LABEL)
    assert "day1/r2/001.jpg: duplicate box: 24, 18, 16, 12 px" in refused(source, tmp_path / "raw")


def test_a_missing_label_file_is_named(source: Path, tmp_path: Path) -> None:
    (source / "day1/r2/001.txt").unlink()
    assert "day1/r2/001.txt: missing label file" in refused(source, tmp_path / "raw")


def test_a_label_without_its_image_is_named(source: Path, tmp_path: Path) -> None:
    (source / "day1/r2/001.jpg").unlink()
    assert "day1/r2/001.txt: a label without its image" in refused(source, tmp_path / "raw")


def test_two_images_with_one_label_file_are_named(source: Path, tmp_path: Path) -> None:
    (source / "day1/r2/001.png").write_bytes(encoded_image("other", format="PNG"))
    assert "shares day1/r2/001.txt with another image" in refused(source, tmp_path / "raw")


def test_label_text_that_is_not_utf8_is_named(source: Path, tmp_path: Path) -> None:
    (source / "day1/r2/001.txt").write_bytes(b"0 0.5 0.5 0.25 0.25 \xff\n")
    assert "day1/r2/001.txt: label text that is not UTF-8" in refused(source, tmp_path / "raw")


def bomb() -> bytes:
    """A PNG of a few hundred bytes that claims 30,000 x 30,000 pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


def depth() -> bytes:
    buffer = io.BytesIO()
    Image.new("I;16", (64, 48)).save(buffer, "PNG")
    return buffer.getvalue()


def rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), "red").save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


def gif() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48)).save(buffer, "GIF")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (encoded_image("x")[:-300], "the image is damaged"),
        (encoded_image("x", format="PNG")[:-300], "the image is damaged"),
        (encoded_image("x")[:40], "damaged"),
        (b"", "the image has zero bytes"),
        (b"not an image", "the content is neither JPEG nor PNG"),
        (gif(), "the content is neither JPEG nor PNG"),
        (bomb(), "decompression bomb"),
        (depth(), "pixel mode I;16, needed 8 bits per channel"),
        (rotated(), "EXIF orientation 6"),
    ],
    ids=["cut_jpeg", "cut_png", "cut_header", "empty", "text", "gif", "bomb", "depth", "rotated"],
)
def test_a_bad_image_is_named(source: Path, tmp_path: Path, content: bytes, found: str) -> None:
    (source / "day1/r2/001.jpg").write_bytes(content)
    message = refused(source, tmp_path / "raw")
    assert "day1/r2/001.jpg: " in message
    assert found in message


def test_an_image_in_another_format_is_named(source: Path, tmp_path: Path) -> None:
    (source / "day1/r2/extra.gif").write_bytes(gif())
    assert "day1/r2/extra.gif: not a JPEG or PNG image" in refused(source, tmp_path / "raw")


def test_a_symlinked_file_is_named_and_not_followed(source: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(encoded_image("secret"))
    (source / "day1/r2/link.jpg").symlink_to(secret)
    (source / "day1/r2/link.txt").write_text(GOOD_LABEL)
    assert "day1/r2/link.jpg: a symlink" in refused(source, tmp_path / "raw")


def test_a_symlinked_folder_is_named_and_not_followed(source: Path, tmp_path: Path) -> None:
    write_yolo(tmp_path / "elsewhere", {"day9": 1})
    (source / "day3").symlink_to(tmp_path / "elsewhere" / "day9")
    assert "day3: a symlink" in refused(source, tmp_path / "raw")


def test_a_symlink_loop_is_not_followed(source: Path, tmp_path: Path) -> None:
    (source / "loop").symlink_to(source)
    assert "loop: a symlink" in refused(source, tmp_path / "raw")


def test_a_pipe_is_named_and_not_opened(source: Path, tmp_path: Path) -> None:
    os.mkfifo(source / "day1" / "pipe.jpg")
    assert "day1/pipe.jpg: neither a file nor a folder" in refused(source, tmp_path / "raw")


def test_an_empty_session_folder_is_named(source: Path, tmp_path: Path) -> None:
    (source / "day3").mkdir()
    assert "day3: an empty folder" in refused(source, tmp_path / "raw")


def test_an_empty_source_is_named(tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    assert "nothing is an empty folder" in refused(tmp_path / "nothing", tmp_path / "raw")


def test_a_missing_source_is_named(tmp_path: Path) -> None:
    assert "nowhere is not a folder" in refused(tmp_path / "nowhere", tmp_path / "raw")


def test_a_name_that_is_not_utf8_is_named_in_escapes(source: Path, tmp_path: Path) -> None:
    folder = os.fsencode(source / "day1" / "r2")
    with open(folder + b"/caf\xe9.jpg", "wb") as file:
        file.write(encoded_image("cafe"))
    assert "day1/r2/caf\\xe9.jpg: a name that is not UTF-8" in refused(source, tmp_path / "raw")


def test_names_in_other_scripts_are_accepted(source: Path, tmp_path: Path) -> None:
    folder = source / "日本" / "écran"
    folder.mkdir(parents=True)
    (folder / "é 1.jpg").write_bytes(encoded_image("é"))
    (folder / "é 1.txt").write_text(GOOD_LABEL)
    import_dataset("yolo", source, tmp_path / "raw")
    assert "日本/écran" in {image["session"] for image in read_labels(tmp_path / "raw")["images"]}


def test_missing_class_names_are_named(source: Path, tmp_path: Path) -> None:
    (source / "obj.names").unlink()
    assert "has no class names" in refused(source, tmp_path / "raw")


def test_an_unknown_format_is_named(source: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="unknown format 'voc'"):
        import_dataset("voc", source, tmp_path / "raw")


def test_a_result_inside_its_source_is_refused(source: Path) -> None:
    assert "overlap" in refused(source, source / "raw")


def test_quarantine_leaves_bad_items_out_and_lists_them_beside_the_result(source: Path, tmp_path: Path) -> None:
    (source / "day1/r2/001.jpg").write_bytes(b"")
    (source / "day1/r2/002.txt").write_text("9 0.5 0.5 0.1 0.1\n")
    summary = import_dataset("yolo", source, tmp_path / "raw", quarantine=True)
    assert (summary.images, len(summary.quarantined)) == (3, 2)
    listed = quarantine_path(tmp_path / "raw").read_text()
    assert summary.quarantine_report == quarantine_path(tmp_path / "raw")
    assert "day1/r2/001.jpg" in listed
    assert "day1/r2/002.txt:1" in listed
    assert {image["file_name"] for image in read_labels(tmp_path / "raw")["images"]} == {
        "day1/r2/000.jpg", "day2/r4/000.jpg", "day2/r4/001.jpg"
    }  # fmt: skip


def test_the_report_of_an_earlier_quarantine_is_removed_when_all_items_are_good(source: Path, tmp_path: Path) -> None:
    bad = source / "day1/r2/001.jpg"
    good = bad.read_bytes()
    bad.write_bytes(b"")
    import_dataset("yolo", source, tmp_path / "raw", quarantine=True)
    bad.write_bytes(good)
    assert import_dataset("yolo", source, tmp_path / "raw").quarantine_report is None
    assert not quarantine_path(tmp_path / "raw").exists()


def test_a_source_of_bad_items_only_is_refused_even_with_quarantine(tmp_path: Path) -> None:
    source = write_yolo(tmp_path / "source", {"day": 2}, label="9 0.5 0.5 0.1 0.1\n")
    with pytest.raises(DataError, match="no good image among 2 items"):
        import_dataset("yolo", source, tmp_path / "raw", quarantine=True)
    assert not (tmp_path / "raw").exists()


def test_one_bad_item_in_a_hundred_is_left_out_and_two_are_refused(tmp_path: Path) -> None:
    source = write_yolo(tmp_path / "source", {"a": 50, "b": 50})
    (source / "a/010.txt").unlink()
    assert len(import_dataset("yolo", source, tmp_path / "raw").quarantined) == 1
    (source / "a/011.txt").unlink()
    with pytest.raises(DataError, match=r"2 bad items of 100 \(2\.0%\)") as error:
        import_dataset("yolo", source, tmp_path / "raw")
    assert "--quarantine" in error.value.fix
    assert len(read_labels(tmp_path / "raw")["images"]) == 99, "the earlier import stays"


def test_a_long_list_of_issues_is_truncated_and_counted(tmp_path: Path) -> None:
    source = write_yolo(tmp_path / "source", {"a": 30})
    for label in source.glob("a/*.txt"):
        label.write_text("9 0.5 0.5 0.1 0.1\n")
    message = refused(source, tmp_path / "raw")
    assert message.count("unknown class id") == 20
    assert "and 10 more" in message
