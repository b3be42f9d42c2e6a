"""Masks as they are in a source: what each becomes, and what each fault is called."""

import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from robot_assets.core.errors import DataError
from robot_assets.data.dataset import build_dataset
from robot_assets.data.importing.importer import ImportRefused, ImportSummary, import_dataset
from robot_assets.data.importing.segmentation.labels import SegmentationOptions
from robot_assets.data.importing.sessions.grouping import parse_rule
from robot_assets.data.spec import DatasetSpec
from robot_assets.store import open_store
from tests.data.image_sources import HEIGHT, WIDTH, encoded_image, read_labels, tree_bytes
from tests.data.importing.mask_sources import CLASSES, LABEL_MAP, coloured, grey, mask, paletted, png, read_mask, write


def imported(source: Path, *, classes: str | None = None, ignore: tuple[str, ...] = (), **options) -> ImportSummary:
    background = options.pop("background", None)
    chosen = SegmentationOptions(classes, ignore, background)
    return import_dataset("masks", source, source.parent / "raw", segmentation=chosen, **options)


def findings(source: Path, **options) -> list[str]:
    """The findings of an import that leaves bad items out, or that is refused for them."""
    try:
        issues = imported(source, quarantine=True, **options).quarantined
    except ImportRefused as refused:
        issues = refused.issues
    return [str(issue) for issue in issues]


def test_masks_are_written_as_grey_images_beside_those_of_the_session(tmp_path: Path) -> None:
    summary = imported(grey(tmp_path / "s"))
    assert (summary.task, summary.images, summary.annotations) == ("segmentation", 4, 0)
    assert np.array_equal(read_mask(tmp_path / "raw", "d/001"), mask(1))
    document = read_labels(tmp_path / "raw")
    assert document["info"]["task"] == "segmentation"
    assert [category["name"] for category in document["categories"]] == list(CLASSES)
    assert document["images"][0]["file_name"] == "d/000.jpg"


def test_the_figures_are_masks_by_class_and_shares_of_pixels(tmp_path: Path) -> None:
    summary = imported(grey(tmp_path / "s", **{"masks/d/000.png": png(np.ones((HEIGHT, WIDTH), np.uint8))}))
    assert summary.classes == {"sky": 3, "road": 4, "kerb": 3}
    assert sum(summary.pixels.values()) + summary.ignored == pytest.approx(1)
    assert summary.ignored == pytest.approx(3 * 2 / (4 * HEIGHT))


def test_an_import_can_be_packed(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {"classes.txt": "\n".join(CLASSES)}
    for session in "abc":
        for number in range(2):
            files[f"images/{session}/{number}.jpg"] = encoded_image(f"{session}{number}")
            files[f"masks/{session}/{number}.png"] = png(mask(number))
    imported(write(tmp_path / "s", files))
    spec = {
        "task": "segmentation",
        "source": {"kind": "dvc", "pointer": "data/raw/x.dvc"},
        "classes": CLASSES,
        "split": {"train": 0.4, "val": 0.3, "test": 0.3},
        "calibration_images": 1,
    }
    built = build_dataset(tmp_path / "raw", DatasetSpec.model_validate(spec), tmp_path / "packed")
    assert built.images == {"train": 2, "val": 2, "test": 2}


def test_raw_data_with_masks_is_grouped_anew(tmp_path: Path) -> None:
    imported(grey(tmp_path / "s"))
    before = read_mask(tmp_path / "raw", "d/002")
    rule = parse_rule("one-per-image")
    summary = import_dataset("coco", tmp_path / "raw", tmp_path / "raw", sessions=rule)
    assert (summary.task, summary.sessions) == ("segmentation", 4)
    assert np.array_equal(read_mask(tmp_path / "raw", stem_of_image(tmp_path / "raw", 2)), before)


def stem_of_image(raw: Path, number: int) -> str:
    """Path of the mask of the image at an index."""
    return read_labels(raw)["images"][number]["file_name"].rpartition(".")[0]


def test_masks_go_to_the_store_while_they_are_written(tmp_path: Path) -> None:
    store = open_store("store", tmp_path)
    summary = imported(grey(tmp_path / "s"), store=store)
    assert {name.partition("/")[0] for name in summary.written} == {"images", "masks"}
    artifact = store.add(tmp_path / "raw", summary.written)
    assert artifact == open_store("other", tmp_path).add(tmp_path / "raw")


def test_a_second_import_gives_the_same_bytes(tmp_path: Path) -> None:
    imported(grey(tmp_path / "s"))
    first = tree_bytes(tmp_path / "raw")
    imported(tmp_path / "s")
    assert tree_bytes(tmp_path / "raw") == first


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_the_values_of_grey_masks_do_not_depend_on_their_bits(tmp_path: Path, bits: int) -> None:
    pixels = np.minimum(mask(), 2)
    raw = b"".join(b"\0" + bytes(_packed_row(row, bits)) for row in pixels)
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, bits, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(raw)), (b"IEND", b"")]
    encoded = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    imported(grey(tmp_path / "s", **{"masks/d/000.png": encoded}))
    assert np.array_equal(read_mask(tmp_path / "raw", "d/000"), pixels)


def _packed_row(row: np.ndarray, bits: int) -> list[int]:
    per_byte = 8 // bits
    groups = row.reshape(-1, per_byte).astype(int)
    return [int(sum(value << (8 - bits * (at + 1)) for at, value in enumerate(group))) for group in groups]


def test_a_mask_of_two_values_in_one_bit_is_read(tmp_path: Path) -> None:
    image = Image.fromarray((mask() == 1).astype(np.uint8) * 255).convert("1")
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    imported(grey(tmp_path / "s", **{"masks/d/000.png": buffer.getvalue()}))
    assert np.array_equal(read_mask(tmp_path / "raw", "d/000"), (mask() == 1).astype(np.uint8))


def test_grey_values_saved_as_rgb_are_values(tmp_path: Path) -> None:
    imported(grey(tmp_path / "s", **{"masks/d/000.png": png(np.stack([mask()] * 3, axis=2))}))
    assert np.array_equal(read_mask(tmp_path / "raw", "d/000"), mask())


def test_colours_become_classes_in_the_order_of_the_lines(tmp_path: Path) -> None:
    masks = {f"masks/d/{number:03}.png": png(coloured(mask(number))) for number in range(4)}
    label_map = "road:128,64,128::\nsky:0,0,0::\nkerb:196,196,196::\n"
    summary = imported(grey(tmp_path / "s", **masks, **{"labelmap.txt": label_map}))
    assert list(summary.classes) == ["road", "sky", "kerb"]
    expected = np.array([1, 0, 2])[np.where(mask(1) == 255, 0, mask(1))]
    assert np.array_equal(read_mask(tmp_path / "raw", "d/001"), expected)


def test_a_palette_is_read_by_its_colours_where_classes_have_colours(tmp_path: Path) -> None:
    palette = {7: (0, 0, 0), 9: (128, 64, 128), 3: (196, 196, 196), 255: (224, 224, 192)}
    moved = np.array([7, 9, 3], np.uint8)[np.minimum(mask(), 2)]
    moved[mask() == 255] = 255
    source = grey(tmp_path / "s", **{"masks/d/000.png": paletted(moved, palette), "labelmap.txt": LABEL_MAP})
    imported(source)
    assert np.array_equal(read_mask(tmp_path / "raw", "d/000"), mask())


def test_a_palette_is_read_by_its_indices_where_classes_have_values(tmp_path: Path) -> None:
    palette = {0: (9, 9, 9), 1: (1, 2, 3), 2: (4, 5, 6)}
    imported(grey(tmp_path / "s", **{"masks/d/000.png": paletted(mask(), palette)}))
    assert np.array_equal(read_mask(tmp_path / "raw", "d/000"), mask())


def test_grey_masks_of_classes_with_colours_have_the_indices_of_their_lines(tmp_path: Path) -> None:
    imported(grey(tmp_path / "s", **{"labelmap.txt": LABEL_MAP}))
    assert np.array_equal(read_mask(tmp_path / "raw", "d/002"), mask(2))


def test_values_that_are_given_replace_the_order(tmp_path: Path) -> None:
    summary = imported(grey(tmp_path / "s"), classes="kerb=2,sky=0,road=1")
    assert list(summary.classes) == ["kerb", "sky", "road"]
    assert (read_mask(tmp_path / "raw", "d/000")[35, 15], read_mask(tmp_path / "raw", "d/000")[10, 10]) == (0, 1)


def test_an_ignored_class_has_no_number_and_its_pixels_are_ignored(tmp_path: Path) -> None:
    summary = imported(grey(tmp_path / "s"), ignore=("sky",))
    assert list(summary.classes) == ["road", "kerb"]
    assert np.array_equal(read_mask(tmp_path / "raw", "d/000") == 255, (mask() == 255) | (mask() == 0))
    assert "'sky' ignored, as --ignore says" in summary.notes


def test_an_ignored_value_and_colour_need_no_class(tmp_path: Path) -> None:
    odd = mask()
    odd[5:9, 5:9] = 77
    imported(grey(tmp_path / "s", **{"masks/d/000.png": png(odd)}), ignore=("77",))
    assert (read_mask(tmp_path / "raw", "d/000")[5:9, 5:9] == 255).all()
    colours = {f"masks/d/{number:03}.png": png(coloured(mask(number))) for number in range(4)}
    given = "sky=#000000,road=#804080"
    imported(grey(tmp_path / "t", **colours), classes=given, ignore=("#c4c4c4",))
    assert (read_mask(tmp_path / "raw", "d/000")[30:40, 10:30] == 255).all()


def test_a_class_with_a_colour_is_ignored_by_its_name_its_colour_or_its_index(tmp_path: Path) -> None:
    masks = {f"masks/d/{number:03}.png": png(coloured(mask(number))) for number in range(4)}
    source = grey(tmp_path / "s", **masks, **{"labelmap.txt": LABEL_MAP})
    for one in ("road", "#804080", "1"):
        assert list(imported(source, ignore=(one,)).classes) == ["sky", "kerb"]


def test_images_without_a_mask_are_of_the_background_when_a_person_says_so(tmp_path: Path) -> None:
    source = grey(tmp_path / "s")
    (source / "masks/d/001.png").unlink()
    summary = imported(source, unlabelled="background", background="void")
    assert list(summary.classes) == [*CLASSES, "void"]
    assert (read_mask(tmp_path / "raw", "d/001") == 3).all()
    assert any("images/d/001.jpg" in note and "'void'" in note for note in summary.notes)


FAULTS = {
    "another size": (png(mask()[::2, ::2]), f"a mask of {WIDTH // 2}x{HEIGHT // 2} px, but its image has"),
    "turned": (png(np.ascontiguousarray(mask().T)), "one of the two is turned by 90 degrees"),
    "beyond": (png(np.full((HEIGHT, WIDTH), 7, np.uint8)), "class id 7, beyond the 3 classes of classes.txt (0 to 2)"),
    "all ignored": (png(np.full((HEIGHT, WIDTH), 255, np.uint8)), "every pixel is ignored: nothing is learned from it"),
    "16 bits": (png(mask().astype(np.uint16)), "a mask of 16 bits per channel, needed 8"),
    "RGB": (png(coloured(mask())), "an RGB mask with the colours #000000, #804080, #c4c4c4"),
    "cut off": (png(mask())[:90], "the mask is damaged"),
    "no content": (b"", "the mask has zero bytes"),
    "a header": (b"\x89PNG\r\n\x1a\n", "the mask is damaged (no header)"),
    "without its end": (png(mask())[:-12], "the mask is damaged (a chunk with a wrong checksum, or no end)"),
    "a wrong checksum": (png(mask())[:-13] + b"!" + png(mask())[-12:], "the mask is damaged"),
    "text": (b"hello", "a mask that is not PNG"),
    "JPEG": (encoded_image("x"), "a JPEG mask: its compression changes values along every edge"),
    "transparent": (png(np.zeros((HEIGHT, WIDTH, 4), np.uint8)), "a mask with transparent pixels"),
    "smoothed": (png(np.tile(np.arange(WIDTH, dtype=np.uint8), (HEIGHT, 1))), "values of no class: smoothed"),
    "too large": (
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBB", 13, b"IHDR", 30_000, 30_000, 8, 0, 0, 0, 0),
        "a mask of 30000x30000 px; at most 64 megapixels are decoded",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_mask_is_named_with_its_file(tmp_path: Path, fault: str) -> None:
    content, found = FAULTS[fault]
    (line,) = findings(grey(tmp_path / "s", **{"masks/d/000.png": content}))
    assert line.startswith("masks/d/000.png: ")
    assert found in line
    assert not (tmp_path / "raw/images/d/000.jpg").exists()
    assert not (tmp_path / "raw/masks/d/000.png").exists()


def test_a_finding_about_unknown_values_has_the_option_that_ignores_them(tmp_path: Path) -> None:
    (line,) = findings(grey(tmp_path / "s", **{"masks/d/000.png": png(np.full((HEIGHT, WIDTH), 7, np.uint8))}))
    assert line.endswith("add the class, or ignore it: --ignore 7")


def test_a_value_one_above_the_last_has_the_command_for_values_from_1_on(tmp_path: Path) -> None:
    (line,) = findings(grey(tmp_path / "s", **{"masks/d/000.png": png(np.minimum(mask(), 2) + np.uint8(1))}))
    assert line.endswith("--ignore 3; if values start at 1: --classes sky=1,road=2,kerb=3")


def test_missing_and_orphaned_masks_are_named(tmp_path: Path) -> None:
    source = grey(tmp_path / "s")
    (source / "masks/d/000.png").unlink()
    (source / "images/d/001.jpg").unlink()
    first, second = findings(source)
    assert first.startswith("images/d/000.jpg: missing mask; restore it; for images of background only: ")
    assert second == "masks/d/001.png: a mask without its image; restore the image, or remove the mask"


def test_two_masks_of_one_image_and_two_images_of_one_mask_are_named(tmp_path: Path) -> None:
    source = grey(tmp_path / "s", **{"masks/d/000_mask.png": png(mask()), "images/d/001.png": encoded_image("x")})
    lines = findings(source)
    assert lines[0] == "images/d/000.jpg: 2 masks: masks/d/000.png, masks/d/000_mask.png; remove all but one"
    assert [line.partition(":")[0] for line in lines[1:]] == ["images/d/001.jpg", "images/d/001.png"]


def test_a_mask_in_a_format_that_is_not_read_is_named_once(tmp_path: Path) -> None:
    source = grey(tmp_path / "s", **{"masks/d/000.tif": b"II*\0"})
    (source / "masks/d/000.png").unlink()
    (line,) = findings(source)
    assert line.startswith("masks/d/000.tif: a TIFF image, needed ")


def test_the_mask_of_an_image_that_is_not_read_is_no_orphan(tmp_path: Path) -> None:
    source = grey(tmp_path / "s", **{"images/d/000.tif": b"II*\0"})
    (source / "images/d/000.jpg").unlink()
    (source / "images/d/001.jpg").rename(source / "elsewhere.jpg")
    (source / "images/d/001.jpg").symlink_to(source / "elsewhere.jpg")
    places = [line.partition(":")[0] for line in findings(source)]
    assert places == ["images/d/000.tif", "images/d/001.jpg"]


def test_a_symlink_in_place_of_a_mask_is_named_once(tmp_path: Path) -> None:
    source = grey(tmp_path / "s")
    (source / "masks/d/000.png").unlink()
    (source / "masks/d/000.png").symlink_to("/etc/hostname")
    (line,) = findings(source)
    assert line.startswith("masks/d/000.png: a symlink")


def test_a_jpeg_in_the_folder_of_masks_is_named_and_no_image(tmp_path: Path) -> None:
    source = grey(tmp_path / "s", **{"masks/d/000.jpg": encoded_image("x")})
    (source / "masks/d/000.png").unlink()
    (line,) = findings(source)
    assert line.startswith("masks/d/000.jpg: a JPEG mask")


def test_one_bad_mask_of_few_refuses_the_import_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ImportRefused, match="1 bad item of 4"):
        imported(grey(tmp_path / "s", **{"masks/d/000.png": b""}))
    assert not (tmp_path / "raw").exists()


def refused(source: Path, **options) -> DataError:
    with pytest.raises(DataError) as caught:
        imported(source, **options)
    return caught.value


def test_masks_without_names_have_a_command_with_their_values(tmp_path: Path) -> None:
    source = grey(tmp_path / "s")
    (source / "classes.txt").unlink()
    error = refused(source)
    assert "has no class names; its masks have the values 0, 1, 2, 255" in error.found
    assert error.fix.startswith("run the same command with --classes NAME_0,NAME_1,NAME_2 ")


def test_masks_of_colours_without_classes_have_a_command_with_their_colours(tmp_path: Path) -> None:
    masks = {f"masks/d/{number:03}.png": png(coloured(mask(number))) for number in range(4)}
    error = refused(grey(tmp_path / "s", **masks))
    assert (
        "has RGB masks, and classes.txt has no colours; they have 3 colours: #000000, #804080, #c4c4c4" in error.found
    )
    assert error.fix.startswith(
        "run the same command with --classes 'NAME_0=#000000,NAME_1=#804080,NAME_2=#c4c4c4'   # "
    )


def test_masks_of_0_and_255_are_not_taken_for_ignored_pixels(tmp_path: Path) -> None:
    masks = {f"masks/d/{n:03}.png": png(np.where(mask(n) == 1, 255, 0).astype(np.uint8)) for n in range(4)}
    source = grey(tmp_path / "s", **masks)
    error = refused(source)
    assert "only the values 0 and 255, and 255 is ignored by default" in error.found
    assert error.fix.startswith("run the same command with --classes sky=0,road=255")
    summary = imported(source, classes="sky=0,road=255")
    assert summary.classes == {"sky": 4, "road": 4}
    assert summary.ignored == 0


def test_label_studio_brush_files_are_named_for_what_they_are(tmp_path: Path) -> None:
    files = {f"task-{n}-annotation-{n}-by-1-tag-Road-0.png": png(mask()) for n in range(3)}
    error = refused(write(tmp_path / "s", files))
    assert "masks of Label Studio's brush" in error.found
    assert "Export > COCO" in error.fix


@pytest.mark.parametrize(
    ("options", "found", "fix"),
    [
        ({"ignore": ("skye",)}, "--ignore 'skye' is no class of the labels; did you mean 'sky'?", "use --ignore 'sky'"),
        ({"ignore": CLASSES}, "no class is left", "leave out --ignore"),
        ({"ignore": ("#808080",)}, "--ignore #808080 is a colour, and classes.txt has values", "correct --ignore"),
        ({"background": "void"}, "--background 'void', and masks have a value for every pixel", "leave out"),
        ({"unlabelled": "background"}, "--unlabelled background without the class", "--background NAME"),
        ({"polygons": "boxes"}, "--polygons boxes makes boxes, and the task is segmentation", "leave out --polygons"),
        ({"classes": "nowhere/classes.txt"}, "nowhere/classes.txt does not exist", "correct the path"),
    ],
)
def test_options_that_contradict_are_refused(tmp_path: Path, options, found: str, fix: str) -> None:
    error = refused(grey(tmp_path / "s"), **options)
    assert found in error.found
    assert fix in error.fix


def test_the_list_of_what_was_left_out_is_beside_the_result(tmp_path: Path) -> None:
    findings(grey(tmp_path / "s", **{"masks/d/000.png": b""}))
    rows = json.loads((tmp_path / "raw.quarantine.json").read_text())
    assert [row["place"] for row in rows] == ["masks/d/000.png"]
