"""Importing YOLO labels, and the faults that are refused by name."""

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from robot_assets.core.errors import DataError
from robot_assets.core.label_issues import BadItem
from robot_assets.data.importing.importer import import_dataset, quarantine_path
from robot_assets.data.importing.yolo.reader import read_yolo
from robot_assets.data.importing.yolo.rows import RowRules, read_rows
from robot_assets.tasks.detection.boxes import Box, fault_of, make_box
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
        ("0.000000 0.5 0.5 0.25 0.25\n", "unknown class id '0.000000', needed 0 to 2; write it as an integer: 0"),
        ("human 0.5 0.5 0.25 0.25\n", "unknown class id 'human', needed 0 to 2; write the id of that class: 1"),
        ("00000000099 0.5 0.5 0.25 0.25\n", "unknown class id '00000000099'"),
        ("\u0661 0.5 0.5 0.25 0.25\n", "unknown class id '\u0661'"),
        ("\x1b[31m 0.5 0.5 0.25 0.25\n", "unknown class id '\\x1b[31m'"),
        ("0 0.5 0.5 0.25 0.25 0.93\n", "a sixth column, as the confidence in an export of predictions"),
        ("0,0.5,0.5,0.25,0.25\n", "values separated by commas, needed blanks"),
        ("0, 0.5, 0.5, 0.25, 0.25\n", "values separated by commas, needed blanks"),
        ("0;0.5;0.5;0.25;0.25\n", "values separated by semicolons, needed blanks"),
        ("0 0,5 0,5 0,25 0,25\n", "decimal commas, needed decimal points"),
        ("0 32 24 16 12\n", "coordinates above 1: are these pixels?"),
        ("0 0.5 0.5 16 12\n", "coordinates above 1: are these pixels?"),
        ("0 4 4 20 4 20 20 4 20\n", "an oriented box (8 coordinates)"),
        ("0 0.2 0.2 0.4 0.1 0.5 0.3 0.3 0.4\n", "an oriented box (8 coordinates)"),
        ("0 0.2 0.2 0.4 0.1 0.5 0.5 0.3 0.4\n", "a polygon (segmentation) row"),
        ("0 0.7 0.3 0.8 0.3 0.8 0.7 0.7 0.7 0.65 0.5\n", "a polygon (segmentation) row; export boxes, or run the"),
        ("0 " + "0.5 " * 55 + "\n", "56 columns, needed 5"),
        ("0\n", "1 column, needed 5"),
        ("version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS, not a label"),
        ("0 0.5 0.5 0.2_5 0.25\n", "not numbers: '0.5 0.5 0.2_5 0.25'"),
        ("0 0.5 0.5 0.25 0.\u0662\n", "not numbers"),
        ("0 " + "x" * 500 + " 1 1 1\n", "not numbers: '" + "x" * 57 + "...'"),
        ("0 nan 0.5 0.25 0.25\n", "NaN or infinite"),
        ("0 0.5 0.5 0.4 0.3 0.2 nan\n", "NaN or infinite"),
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


@pytest.mark.parametrize(
    "encode",
    [
        lambda text: b"\xef\xbb\xbf" + text.encode(),
        lambda text: text.encode("utf-16"),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: text.replace("\n", "\r").encode(),
        lambda text: text.replace(" ", "\t  ").rstrip().encode(),
        lambda text: ("\n\n" + text + " \n").encode(),
    ],
    ids=["mark", "utf16", "windows", "old_mac", "tabs", "blank_lines"],
)
def test_labels_as_editors_and_windows_write_them_are_read(
    source: Path, tmp_path: Path, encode: Callable[[str], bytes]
) -> None:
    expected = import_dataset("yolo", source, tmp_path / "plain").annotations
    (source / "day1/r2/001.txt").write_bytes(encode(GOOD_LABEL))
    assert import_dataset("yolo", source, tmp_path / "raw").annotations == expected
    assert tree_bytes(tmp_path / "raw") == tree_bytes(tmp_path / "plain")


def boxes_of(label: str, *, key_points: tuple[int, int] | None = None, width: int = 64, height: int = 48) -> list[Box]:
    rules = RowRules(("ball", "human"), enclosing=True, key_points=key_points)
    return read_rows(label.encode(), "a.txt", rules, width, height)


def test_polygons_and_oriented_boxes_are_read_as_their_enclosing_boxes_when_asked() -> None:
    triangle, oriented = "1 0.25 0.5 0.75 0.5 0.5 1.0\n", "0 0.5 0.25 0.75 0.5 0.5 0.75 0.25 0.5\n"
    assert boxes_of(triangle + oriented + "0 0.5 0.5 0.5 0.5\n") == [
        Box(1, 16, 24, 32, 24), Box(0, 16, 12, 32, 24), Box(0, 16, 12, 32, 24)
    ]  # fmt: skip


def test_a_row_with_key_points_is_read_as_its_box_and_not_as_a_polygon() -> None:
    pose = "0 0.5 0.5 0.5 0.5 0.1 0.1 0.9 0.9\n"
    assert boxes_of(pose, key_points=(2, 2)) == [Box(0, 16, 12, 32, 24)]
    assert boxes_of(pose) == [Box(0, 6.4, 4.8, 51.2, 38.4)]
    with pytest.raises(BadItem) as bad:
        read_rows(pose.encode(), "a.txt", RowRules(("ball",), key_points=(2, 2)), 64, 48)
    assert bad.value.issue.found == "a box with key points (pose estimation)"


def test_the_number_of_polygons_read_as_boxes_is_noted(source: Path) -> None:
    (source / "day1/r2/001.txt").write_text("0 0.1 0.1 0.2 0.1 0.2 0.2\n")
    assert read_yolo(source, polygons="boxes").notes == (
        "1 polygon or oriented box read as its enclosing box, in 1 label file",
    )
    (source / "day1/r2/002.txt").write_text("0 0.1 0.1 0.2 0.1 0.2 0.2\n1 0.1 0.1 0.2 0.1 0.2 0.2 0.1 0.2\n")
    assert read_yolo(source, polygons="boxes").notes == (
        "3 polygons or oriented boxes read as their enclosing boxes, in 2 label files",
    )


@given(
    st.tuples(*[st.floats(-0.1, 1.1)] * 4),
    st.tuples(st.integers(1, 4000), st.integers(1, 4000)),
)
def test_a_row_gives_the_box_that_the_checks_give(
    numbers: tuple[float, float, float, float], size: tuple[int, int]
) -> None:
    cx, cy, w, h = numbers
    rectangle = ((cx - w / 2) * size[0], (cy - h / 2) * size[1], w * size[0], h * size[1])
    label = f"1 {cx!r} {cy!r} {w!r} {h!r}\n"
    if fault_of(*rectangle, *size):
        with pytest.raises(BadItem):
            boxes_of(label, width=size[0], height=size[1])
    else:
        assert boxes_of(label, width=size[0], height=size[1]) == [make_box(1, rectangle, size)]


def test_a_label_file_of_more_than_a_mebibyte_is_named(source: Path, tmp_path: Path) -> None:
    (source / "day1/r2/001.txt").write_text(GOOD_LABEL + " " * 2**20)
    assert "day1/r2/001.txt: a label file of more than 1 MiB" in refused(source, tmp_path / "raw")


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
        (b"not an image", "the content is not JPEG, PNG, WebP or BMP"),
        (gif(), "the content is a GIF image"),
        (bomb(), "the image has 900 megapixels"),
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
    assert "day1/r2/extra.gif: " in refused(source, tmp_path / "raw")


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
    assert "nowhere does not exist" in refused(tmp_path / "nowhere", tmp_path / "raw")


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


def test_issues_of_one_kind_are_one_line_with_their_number(tmp_path: Path) -> None:
    source = write_yolo(tmp_path / "source", {"a": 30})
    for label in source.glob("a/*.txt"):
        label.write_text("9 0.5 0.5 0.1 0.1\n")
    message = refused(source, tmp_path / "raw")
    assert "a/000.txt:1, a/001.txt:1, a/002.txt:1 and 27 more: unknown class id '9', needed 0 to 2" in message
