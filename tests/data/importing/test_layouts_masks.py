"""Arrangements of images and masks, and the files that name their classes."""

from pathlib import Path

import numpy as np
import pytest

from robot_assets.core.errors import DataError
from robot_assets.data.importing.coco.reader import read_coco
from robot_assets.data.importing.importer import import_dataset
from robot_assets.data.importing.masks.layouts import LAYOUTS as MASK_LAYOUTS
from robot_assets.data.importing.masks.published import voc_colours
from robot_assets.data.importing.masks.reader import read_masks
from robot_assets.data.importing.segmentation.labels import SegmentationOptions
from robot_assets.data.importing.yolo.reader import read_yolo
from robot_assets.data.source import Source
from tests.data.image_sources import encoded_image
from tests.data.importing.mask_sources import (
    CLASSES,
    COLOURS,
    LABEL_MAP,
    coloured,
    mask,
    paletted,
    png,
    read_mask,
    write,
)

Files = dict[str, bytes | str]

NAMES = "sky\nroad\nkerb\n"
CSV = "Pixel Value, Class\n0, sky\n1, road\n2, kerb\n"
VOC_PALETTE = dict(enumerate((c >> 16, c >> 8 & 255, c & 255) for c in voc_colours(21))) | {255: (224, 224, 192)}


def images(*names: str) -> Files:
    return {name: encoded_image(name) for name in names}


def masks(*names: str) -> Files:
    return {name: png(mask(number)) for number, name in enumerate(names)}


CVAT: Files = {
    **images("JPEGImages/a.jpg", "JPEGImages/sub/b.jpg"),
    "SegmentationClass/a.png": png(coloured(mask())),
    "SegmentationClass/sub/b.png": png(coloured(mask())),
    "SegmentationObject/a.png": png(coloured(mask())),
    "ImageSets/Segmentation/default.txt": "a\nsub/b\n",
    "labelmap.txt": LABEL_MAP,
}
VOC: Files = {
    **images("JPEGImages/2007_1.jpg", "JPEGImages/2007_2.jpg", "JPEGImages/2007_3.jpg"),
    "SegmentationClass/2007_1.png": paletted(mask(), VOC_PALETTE),
    "SegmentationClass/2007_2.png": paletted(mask(), VOC_PALETTE),
    "SegmentationObject/2007_1.png": paletted(mask(), VOC_PALETTE),
    "Annotations/2007_1.xml": "<annotation/>",
    "Annotations/2007_3.xml": "<annotation/>",
    "ImageSets/Segmentation/train.txt": "2007_1\n2007_2\n",
    "ImageSets/Main/train.txt": "2007_3\n",
}
LAYOUTS: dict[str, tuple[str, Files, list[str]]] = {
    "cvat": ("CVAT export (Segmentation mask 1.1)", CVAT, ["a.jpg", "sub/b.jpg"]),
    "voc": ("Pascal VOC (SegmentationClass)", VOC, ["2007_1.jpg", "2007_2.jpg"]),
    "cityscapes": (
        "Cityscapes",
        {
            **images("leftImg8bit/train/ulm/ulm_1_leftImg8bit.png", "leftImg8bit/val/bonn/bonn_1_leftImg8bit.png"),
            **masks(
                "gtFine/train/ulm/ulm_1_gtFine_labelTrainIds.png", "gtFine/val/bonn/bonn_1_gtFine_labelTrainIds.png"
            ),
            **masks("gtFine/train/ulm/ulm_1_gtFine_labelIds.png", "gtFine/train/ulm/ulm_1_gtFine_color.png"),
            "gtFine/train/ulm/ulm_1_gtFine_polygons.json": "{}",
        },
        ["train/ulm/ulm_1_leftImg8bit.png", "val/bonn/bonn_1_leftImg8bit.png"],
    ),
    "roboflow": (
        "Roboflow export (semantic segmentation masks)",
        {
            **images("train/a_jpg.rf.1.jpg", "valid/b_jpg.rf.2.jpg"),
            **masks("train/a_jpg.rf.1_mask.png", "valid/b_jpg.rf.2_mask.png"),
            "train/_classes.csv": CSV,
            "valid/_classes.csv": CSV,
            "README.dataset.txt": "exported",
        },
        ["train/a_jpg.rf.1.jpg", "valid/b_jpg.rf.2.jpg"],
    ),
    "images and masks": (
        "folder of images/ and masks/ with the same folders",
        {**images("images/d/a.jpg", "images/e/a.jpg"), **masks("masks/d/a.png", "masks/e/a.png"), "classes.txt": NAMES},
        ["d/a.jpg", "e/a.jpg"],
    ),
    "images and labels": (
        "folder of images/ and masks/ with the same folders",
        {**images("images/a.png", "images/b.png"), **masks("labels/a.png", "labels/b.png"), "classes.txt": NAMES},
        ["a.png", "b.png"],
    ),
    "ADE20K": (
        "folder of images/ and masks/ with the same folders",
        {
            **images("images/training/a.jpg", "images/validation/b.jpg"),
            **masks("annotations/training/a.png", "annotations/validation/b.png"),
            "class_names.txt": f"__ignore__\n{NAMES}",
        },
        ["training/a.jpg", "validation/b.jpg"],
    ),
    "each split": (
        "folder of images/ and masks/ with the same folders",
        {
            **images("train/images/a.jpg", "val/images/b.jpg"),
            **masks("train/masks/a.png", "val/masks/b.png"),
            "data.yaml": "names: [sky, road, kerb]\n",
        },
        ["train/a.jpg", "val/b.jpg"],
    ),
    "masks with an ending": (
        "folder of images/ and masks/ with the same folders",
        {**images("imgs/a.jpg", "imgs/a_2.jpg"), **masks("gt/a_mask.png", "gt/a_2_mask.png"), "classes.txt": NAMES},
        ["a.jpg", "a_2.jpg"],
    ),
    "beside": (
        "folder with the masks beside their images",
        {**images("d/a.png", "d/b.png"), **masks("d/a_mask.png", "d/b_mask.png"), "class_dict.csv": "name,r,g,b\n"},
        ["d/a.png", "d/b.png"],
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_an_arrangement_is_recognized_and_every_image_has_its_mask(tmp_path: Path, name: str) -> None:
    title, files, expected = LAYOUTS[name]
    files = {**files, "class_dict.csv": "name,id\nsky,0\nroad,1\nkerb,2\n"} if "class_dict.csv" in files else files
    source = write(tmp_path / "s", files)
    found = read_masks(source)
    assert (found.layout, found.issues) == (title, ())
    assert [entry.file_name for entry in found.entries] == expected
    summary = import_dataset("masks", source, tmp_path / "raw")
    assert (summary.images, summary.quarantined) == (len(expected), ())
    stem = expected[0].rpartition(".")[0]
    assert set(np.unique(read_mask(tmp_path / "raw", stem)).tolist()) <= {0, 1, 2, 255}


def test_pascal_voc_without_a_label_map_has_its_21_classes(tmp_path: Path) -> None:
    found = read_masks(write(tmp_path / "s", VOC))
    assert (len(found.categories), found.categories[:3]) == (21, ("background", "aeroplane", "bicycle"))
    import_dataset("masks", tmp_path / "s", tmp_path / "raw")
    assert np.array_equal(read_mask(tmp_path / "raw", "2007_1"), mask())


def test_images_of_pascal_voc_that_no_list_of_masks_has_are_left_out_and_named(tmp_path: Path) -> None:
    found = read_masks(write(tmp_path / "s", VOC))
    assert [issue.place for issue in found.unlisted] == ["JPEGImages/2007_3.jpg"]
    assert any("1 image without a mask left out" in note and "2007_3.jpg" in note for note in found.notes)


def test_an_image_that_a_list_has_needs_its_mask(tmp_path: Path) -> None:
    files = {name: content for name, content in VOC.items() if name != "SegmentationClass/2007_2.png"}
    summary = import_dataset("masks", write(tmp_path / "s", files), tmp_path / "raw", quarantine=True)
    assert [issue.place for issue in summary.quarantined] == ["JPEGImages/2007_2.jpg"]


def test_the_label_ids_of_cityscapes_become_its_19_classes(tmp_path: Path) -> None:
    ids = np.array([7, 23, 26], np.uint8)[np.minimum(mask(), 2)]
    ids[mask() == 255] = 4
    files = {**images("leftImg8bit/a_leftImg8bit.png"), "gtFine/a_gtFine_labelIds.png": png(ids)}
    found = read_masks(write(tmp_path / "s", files))
    assert len(found.categories) == 19
    assert found.notes[0] == "classes as in Cityscapes (labelId); its other ids are ignored"
    import_dataset("masks", tmp_path / "s", tmp_path / "raw")
    expected = np.array([0, 10, 13], np.uint8)[np.minimum(mask(), 2)]
    expected[mask() == 255] = 255
    assert np.array_equal(read_mask(tmp_path / "raw", "a_leftImg8bit"), expected)


def test_names_that_differ_in_case_or_unicode_form_match_where_that_is_unambiguous(tmp_path: Path) -> None:
    files = {
        **images("images/IMG_1.JPG", "images/caf\u00e9.jpg", "images/B.jpg"),
        **masks("masks/img_1.PNG", "masks/cafe\u0301_mask.png", "masks/b.png", "masks/b_mask.png"),
        "classes.txt": NAMES,
    }
    found = read_masks(write(tmp_path / "s", files))
    places = {entry.file_name: entry.place for entry in found.entries}
    assert places["IMG_1.JPG"] == "masks/img_1.PNG"
    assert places["caf\u00e9.jpg"] == "masks/cafe\u0301_mask.png"
    assert [issue.place for issue in found.issues] == ["images/B.jpg"]


def test_coco_labels_beside_masks_are_not_taken_for_raw_data(tmp_path: Path) -> None:
    document = '{"images": [], "annotations": [], "categories": [{"id": 1, "name": "x"}], "info": {}}'
    files = {**images("images/d/a.jpg"), **masks("masks/d/a.png"), "annotations.json": document, "classes.txt": NAMES}
    found = read_masks(write(tmp_path / "s", files))
    assert (found.layout, found.categories) == ("folder of images/ and masks/ with the same folders", CLASSES)
    with pytest.raises(DataError):  # its labels list no image
        import_dataset("coco", tmp_path / "s", tmp_path / "raw")


def test_palettes_that_are_not_looked_at_are_a_note(tmp_path: Path) -> None:
    files = {**PAIR, "masks/a.png": paletted(mask(), VOC_PALETTE), "classes.txt": NAMES}
    found = read_masks(write(tmp_path / "s", files))
    assert "masks with a palette are read by its indices: the classes have values and no colours" in found.notes


def test_masks_without_images_are_one_error(tmp_path: Path) -> None:
    files = {name: content for name, content in CVAT.items() if not name.startswith("JPEGImages")}
    with pytest.raises(DataError, match="has masks and no images"):
        read_masks(write(tmp_path / "s", files))


def test_the_ending_of_a_mask_is_part_of_its_name_where_an_image_has_it(tmp_path: Path) -> None:
    files = {
        **images("images/a.jpg", "images/a_mask.jpg"),
        **masks("masks/a.png", "masks/a_mask.png"),
        "classes.txt": NAMES,
    }
    found = read_masks(write(tmp_path / "s", files))
    assert found.issues == ()
    assert [entry.place for entry in found.entries] == ["masks/a.png", "masks/a_mask.png"]


@pytest.mark.parametrize("reader", [read_yolo, read_coco])
def test_masks_given_as_another_format_have_the_command_that_reads_them(tmp_path: Path, reader) -> None:
    with pytest.raises(DataError) as error:
        reader(write(tmp_path / "s", CVAT))
    assert f"robot-assets data import masks {tmp_path / 's'} --name NAME" in error.value.fix


def test_labels_of_another_format_given_as_masks_have_the_command_that_reads_them(tmp_path: Path) -> None:
    files = {**images("a.jpg"), "a.txt": "0 0.5 0.5 0.2 0.2\n", "obj.names": "road\n"}
    with pytest.raises(DataError) as error:
        read_masks(write(tmp_path / "s", files))
    assert "has no known layout of masks" in error.value.found
    assert "robot-assets data import yolo" in error.value.fix


PAIR = {**images("images/a.jpg"), **masks("masks/a.png")}


def read(tmp_path: Path, files: Files, classes: str | None = None) -> Source:
    return read_masks(write(tmp_path / "s", {**PAIR, **files}), options=SegmentationOptions(classes=classes))


@pytest.mark.parametrize(
    "files",
    [
        {"classes.txt": NAMES},
        {"classes.txt": "\ufeffsky\r\nroad\r\nkerb\r\n"},
        {"_classes.csv": CSV},
        {"class_dict.csv": "name, id\nsky, 0\nroad, 1\nkerb, 2\n"},
        {"data.yaml": "names: {0: sky, 1: road, 2: kerb}\n"},
        {"labelmap.txt": LABEL_MAP},
        {"class_names.txt": "__ignore__\nsky\nroad\nkerb\n"},
    ],
)
def test_class_names_are_read_from_the_file_of_a_tool(tmp_path: Path, files: Files) -> None:
    assert read(tmp_path, files).categories == CLASSES


@pytest.mark.parametrize("classes", ["sky,road,kerb", " sky, road ,kerb", "sky=0,road=1,kerb=2"])
def test_class_names_can_be_given(tmp_path: Path, classes: str) -> None:
    found = read(tmp_path, {}, classes)
    assert (found.categories, found.notes[0]) == (CLASSES, "classes as in --classes")


def test_names_that_are_given_may_have_slashes_and_brackets(tmp_path: Path) -> None:
    assert read(tmp_path, {}, "[red]a,b[/red],c d").categories == ("[red]a", "b[/red]", "c d")


def test_a_file_can_be_given_and_replaces_those_of_the_source(tmp_path: Path) -> None:
    given = tmp_path / "mine.txt"
    given.write_text(NAMES)
    assert read(tmp_path, {"classes.txt": "a\nb\nc\n"}, str(given)).categories == CLASSES


def test_colours_of_a_table_are_read(tmp_path: Path) -> None:
    rows = "\n".join(f"{name},{r},{g},{b}" for name, (r, g, b) in zip(CLASSES, COLOURS, strict=True))
    files = {"class_dict.csv": f"name,r,g,b\n{rows}\n", "masks/a.png": png(coloured(mask()))}
    import_dataset("masks", write(tmp_path / "s", {**PAIR, **files}), tmp_path / "raw")
    assert np.array_equal(read_mask(tmp_path / "raw", "a"), np.where(mask() == 255, 0, mask()))


@pytest.mark.parametrize(
    ("files", "classes", "found"),
    [
        ({"labelmap.txt": "road:128,64\n"}, None, "labelmap.txt: line 1: 'road:128,64'"),
        ({"labelmap.txt": "road:0,0,300::\n"}, None, "labelmap.txt: line 1"),
        ({"labelmap.txt": "a:0,0,0::\nb:0,0,0::\n"}, None, "'b' has #000000, as 'a' has"),
        ({"labelmap.txt": "a:0,0,0::\na:1,0,0::\n"}, None, "the name 'a' twice, in line 1 and line 2"),
        ({"labelmap.txt": "# nothing\n"}, None, "no class name"),
        ({"labelmap.txt": b"\xff\x00\x01"}, None, "not UTF-8 text"),
        ({"_classes.csv": "a,b\n"}, None, "a table with the columns 'a', 'b'"),
        ({"_classes.csv": ""}, None, "a table with the columns of none"),
        ({"_classes.csv": "Pixel Value, Class\nx, road\n"}, None, "_classes.csv: line 2: 'x,road'"),
        ({"_classes.csv": "Pixel Value, Class\n0, a\n0, b\n"}, None, "'b' has 0, as 'a' has"),
        ({"d/_classes.csv": CSV, "e/_classes.csv": CSV.replace("kerb", "curb")}, None, "2 is 'kerb' and 'curb'"),
        ({"class_names.txt": "a\n\x1b[31m\n"}, None, "unprintable characters in the name '\\x1b[31m'"),
        ({"class_names.txt": "0: a\n1: b\n"}, None, "numbers in front of the names, such as '0: a'"),
        ({"class_names.txt": "a, b\n"}, None, "all names in one line"),
        ({}, "a,,b", "the name ''"),
        ({}, "a,b,a", "the name 'a' twice"),
        ({}, "a=0,b=#000001", "values and colours"),
        ({}, "a=300", "'a=300'"),
        ({}, "a=0,b", "'b'"),
        ({}, "a=#12345", "'a=#12345'"),
    ],
)
def test_a_faulty_list_of_classes_is_named_with_its_line(tmp_path: Path, files: Files, classes, found: str) -> None:
    with pytest.raises(DataError) as error:
        read(tmp_path, files, classes)
    assert found in error.value.found
    assert error.value.found.isprintable()
    assert error.value.fix


def test_files_of_classes_that_differ_only_in_lines_agree(tmp_path: Path) -> None:
    assert read(tmp_path, {"d/_classes.csv": CSV, "e/_classes.csv": CSV.replace("\n", "\r\n")}).categories == CLASSES


def test_the_documentation_has_every_layout() -> None:
    text = (Path(__file__).parents[3] / "docs" / "layouts.md").read_text("utf-8").partition("## Masks")[2]
    for layout in MASK_LAYOUTS:
        assert f"| `{layout.name}` | {layout.title} | " in text
        assert f"| {layout.looked_for} |" in text.replace("`", "")
