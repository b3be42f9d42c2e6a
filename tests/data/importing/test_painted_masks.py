"""Polygons and runs that are painted into masks: COCO and YOLO."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robot_assets.core.errors import DataError
from robot_assets.data.importing.importer import ImportRefused, ImportSummary, import_dataset
from robot_assets.data.importing.segmentation.labels import SegmentationOptions
from robot_assets.data.importing.segmentation.painting import Shape, painted, polygon, runs
from tests.data.image_sources import HEIGHT, WIDTH, encoded_image
from tests.data.importing.mask_sources import read_mask, write

SQUARE = [4.0, 4.0, 24.0, 4.0, 24.0, 24.0, 4.0, 24.0]
INNER = [8.0, 8.0, 12.0, 8.0, 12.0, 12.0, 8.0, 12.0]


def centres_inside(ring: list[float]) -> np.ndarray:
    """Pixels whose centre is inside a polygon, by counting the edges on their left."""
    x, y = np.array(ring[::2]), np.array(ring[1::2])
    columns, rows = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    inside = np.zeros((HEIGHT, WIDTH), bool)
    for x0, y0, x1, y1 in zip(x, y, np.roll(x, -1), np.roll(y, -1), strict=True):
        crosses = (y0 <= rows) != (y1 <= rows)
        at = x0 + (rows - y0) * (x1 - x0) / (y1 - y0) if y1 != y0 else np.zeros_like(rows)
        inside ^= crosses & (at <= columns)
    return inside


@pytest.mark.parametrize("ring", [SQUARE, INNER, [0, 0, WIDTH, 0, WIDTH, HEIGHT, 0, HEIGHT], [0, 0, 1, 0, 1, 1, 0, 1]])
def test_upright_rectangles_are_exactly_their_pixels(ring: list[float]) -> None:
    area, clipped = polygon([ring], WIDTH, HEIGHT)
    assert np.array_equal(area, centres_inside(ring))
    assert not clipped


@pytest.mark.parametrize("seed", range(20))
def test_other_polygons_are_the_pixels_whose_centre_is_inside_up_to_their_edge(seed: int) -> None:
    chance = np.random.default_rng(seed)
    angles = np.sort(chance.uniform(0, 2 * np.pi, 12))
    radii = chance.uniform(8, 20, 12)
    ring = np.stack([32 + radii * np.cos(angles), 24 + radii * np.sin(angles)], axis=1).ravel().tolist()
    differing = polygon([ring], WIDTH, HEIGHT)[0] ^ centres_inside(ring)
    length = np.hypot(*np.diff(np.reshape([*ring, *ring[:2]], (-1, 2)), axis=0).T).sum()
    assert differing.sum() <= 0.25 * length


def test_polygons_with_a_common_edge_do_not_overlap() -> None:
    left, _ = polygon([[4.3, 4, 20.7, 6, 18.2, 30, 2, 33]], WIDTH, HEIGHT)
    right, _ = polygon([[20.7, 6, 50, 9, 44, 40, 18.2, 30]], WIDTH, HEIGHT)
    assert not (left & right).any()


def test_the_polygons_of_one_annotation_are_one_shape() -> None:
    area, _ = polygon([SQUARE, [30.0, 30.0, 34.0, 30.0, 34.0, 34.0, 30.0, 34.0]], WIDTH, HEIGHT)
    assert area.sum() == 400 + 16


def test_a_polygon_that_exceeds_the_image_a_little_is_clipped() -> None:
    area, clipped = polygon([[-1.0, -1.0, 5.0, -1.0, 5.0, 5.0, -1.0, 5.0]], WIDTH, HEIGHT)
    assert (area.sum(), clipped) == (25, True)


def test_runs_go_down_the_columns() -> None:
    area = runs([2, 3, HEIGHT * WIDTH - 5], WIDTH, HEIGHT)
    assert np.argwhere(area).tolist() == [[2, 0], [3, 0], [4, 0]]


def shape(value: int, ring: list[float]) -> Shape:
    return Shape(value, *polygon([ring], WIDTH, HEIGHT))


def test_the_smaller_shape_is_on_top_in_either_order() -> None:
    for shapes in ([shape(0, SQUARE), shape(1, INNER)], [shape(1, INNER), shape(0, SQUARE)]):
        labels = painted(shapes, WIDTH, HEIGHT, 255)
        assert (labels.mask == 1).sum() == 16
        assert (labels.mask == 0).sum() == 400 - 16
        assert (labels.shapes, labels.covered, labels.hidden) == (2, 16, 0)


def test_of_equal_shapes_the_later_one_is_on_top_and_the_other_is_counted() -> None:
    labels = painted([shape(0, SQUARE), shape(1, SQUARE)], WIDTH, HEIGHT, 255)
    assert (labels.mask == 1).sum() == 400
    assert labels.hidden == 1


def coco(root: Path, rows: list[dict[str, Any]], **document: Any) -> Path:
    """Two images; the second one has a good polygon."""
    every = [{"segmentation": [SQUARE], "image_id": 2}, *rows]
    annotations = [
        {"id": n, "image_id": 1, "category_id": 1, "iscrowd": 0, "bbox": [4, 4, 20, 20], "area": 400} | row
        for n, row in enumerate(every, start=1)
    ]
    images = [{"id": n, "file_name": f"d/{n}.jpg", "width": WIDTH, "height": HEIGHT} for n in (1, 2)]
    categories = [{"id": 1, "name": "road"}, {"id": 5, "name": "kerb"}]
    content = {"images": images, "annotations": annotations, "categories": categories} | document
    files: dict[str, bytes | str] = {f"images/d/{n}.jpg": encoded_image(str(n)) for n in (1, 2)}
    return write(root, {**files, "annotations/instances_default.json": json.dumps(content)})


def yolo(root: Path, label: str) -> Path:
    files: dict[str, bytes | str] = {f"images/{n}.jpg": encoded_image(str(n)) for n in (1, 2)}
    good = "0 0.25 0.25 0.75 0.25 0.75 0.75\n"
    return write(root, {**files, "labels/1.txt": label, "labels/2.txt": good, "classes.txt": "road\nkerb\n"})


def imported(format: str, source: Path, **options: Any) -> ImportSummary:
    chosen = SegmentationOptions(ignore=options.pop("ignore", ()), background=options.pop("background", None))
    return import_dataset(format, source, source.parent / "raw", segmentation=chosen, **options)


def finding(format: str, source: Path, **options: Any) -> str:
    (issue,) = imported(format, source, quarantine=True, **options).quarantined
    return str(issue)


def test_polygons_and_runs_of_coco_become_masks(tmp_path: Path) -> None:
    counts = [4 * HEIGHT, 2 * HEIGHT, (WIDTH - 6) * HEIGHT]
    rle = {"size": [HEIGHT, WIDTH], "counts": counts}
    imported("coco", coco(tmp_path / "s", [{"segmentation": [SQUARE]}, {"segmentation": rle, "category_id": 5}]))
    expected = np.full((HEIGHT, WIDTH), 255)
    expected[4:24, 4:24] = 0
    expected[:, 4:6] = 1
    assert np.array_equal(read_mask(tmp_path / "raw", "d/1"), expected)


def test_compressed_runs_are_those_that_the_tools_of_coco_write(tmp_path: Path) -> None:
    from faster_coco_eval.core import mask as tools

    area = np.zeros((HEIGHT, WIDTH), np.uint8)
    area[5:40:3, 7:50:2] = 1
    encoded = tools.encode(np.asfortranarray(area))
    rle = {"size": list(encoded["size"]), "counts": encoded["counts"].decode()}
    imported("coco", coco(tmp_path / "s", [{"segmentation": rle}]), background="rest")
    assert np.array_equal(read_mask(tmp_path / "raw", "d/1"), np.where(area, 0, 2))


def test_crowds_and_ignored_annotations_are_ignored_pixels(tmp_path: Path) -> None:
    rows = [{"segmentation": [SQUARE], "iscrowd": 1}, {"segmentation": [INNER], "category_id": 5}]
    summary = imported("coco", coco(tmp_path / "s", rows), background="rest")
    found = read_mask(tmp_path / "raw", "d/1")
    assert ((found == 255).sum(), (found == 1).sum()) == (400 - 16, 16)
    assert any("1 crowd or ignored annotation imported as ignored pixels" in note for note in summary.notes)


def test_a_class_that_is_ignored_is_painted_as_ignored(tmp_path: Path) -> None:
    rows = [{"segmentation": [SQUARE], "category_id": 5}]
    for number, name in enumerate(("kerb", "5")):
        source = coco(tmp_path / f"{number}/s", rows)
        summary = imported("coco", source, ignore=(name,), background="rest")
        assert list(summary.classes) == ["road", "rest"]
        assert (read_mask(source.parent / "raw", "d/1") == 255).sum() == 400


def test_what_no_polygon_covers_is_ignored_or_of_the_background(tmp_path: Path) -> None:
    source = coco(tmp_path / "s", [{"segmentation": [SQUARE]}])
    summary = imported("coco", source)
    assert (read_mask(tmp_path / "raw", "d/1") == 255).sum() == WIDTH * HEIGHT - 400
    assert any("are ignored (255); --background NAME makes them a class" in note for note in summary.notes)
    summary = imported("coco", source, background="kerb")
    assert (read_mask(tmp_path / "raw", "d/1") == 1).sum() == WIDTH * HEIGHT - 400
    assert list(summary.classes) == ["road", "kerb"]


def test_shapes_in_are_shapes_painted_and_those_that_are_not_visible_are_counted(tmp_path: Path) -> None:
    tiny = [30.1, 30.1, 30.3, 30.1, 30.3, 30.3]
    rows = [{"segmentation": [SQUARE]}, {"segmentation": [tiny]}, {"segmentation": [INNER], "category_id": 5}]
    notes = "\n".join(imported("coco", coco(tmp_path / "s", rows)).notes)
    assert "4 polygons or masks painted" in notes
    assert "1 polygon or mask has no pixel in the result" in notes
    assert "16 pixels are covered by more than one of them: the smaller one is on top" in notes


def test_an_image_without_shapes_needs_a_background(tmp_path: Path) -> None:
    line = finding("coco", coco(tmp_path / "s", []))
    assert "d/1.jpg in annotations/instances_default.json: images[0]: every pixel is ignored" in line
    assert line.endswith("--background NAME")
    imported("coco", coco(tmp_path / "t", []), background="rest")
    assert (read_mask(tmp_path / "raw", "d/1") == 2).all()


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ({"segmentation": [[1, 2, 3, 4, 5, 6, 7]]}, "a polygon with 7 coordinates, which is an odd number"),
        ({"segmentation": [[1, 2, 3, 4]]}, "a polygon with 2 points, needed at least 3"),
        ({"segmentation": [[1, 2]]}, "a polygon with 1 point, needed"),
        ({"segmentation": [[]]}, "a polygon with 0 points, needed"),
        ({"segmentation": [[0, 0, 90, 0, 90, 30]]}, f"26.0 px past the edge of {WIDTH}x{HEIGHT}"),
        ({"segmentation": [[0, 0, -9, 0, 9, 30]]}, "9.0 px past the edge"),
        ({"segmentation": SQUARE}, "numbers, needed a list of polygons [[x0, y0, x1, y1, ...]]"),
        ({"segmentation": [[0, 0, "9", 0, 9, 9]]}, "a polygon that is not a list of numbers"),
        ({"segmentation": [[0, 0, 1e400, 0, 9, 9]]}, "NaN or infinite"),
        ({"segmentation": [[0, 0, 0.5, 0, 0.5, 0.5]]}, "fractions of the image size, and COCO has pixels?"),
        ({"segmentation": []}, "a box without a polygon or mask; export polygons or masks, or run the same command"),
        ({"segmentation": [], "bbox": None}, "no polygon and no mask"),
        ({"segmentation": "x"}, "a string, needed a list of polygons, or a mask with size and counts"),
        ({"segmentation": {"counts": [1]}}, "a mask (RLE) without its size [height, width]"),
        ({"segmentation": {"size": [WIDTH, HEIGHT], "counts": [1]}}, "width and height are swapped"),
        ({"segmentation": {"size": [9, 9], "counts": [81]}}, f"of 9x9 px, but the image has {WIDTH}x{HEIGHT}"),
        ({"segmentation": {"size": [HEIGHT, WIDTH], "counts": [9, 9]}}, "with counts of 18 pixels, but the image has"),
        ({"segmentation": {"size": [HEIGHT, WIDTH], "counts": [-1, 1]}}, "counts are not numbers of pixels"),
        ({"segmentation": {"size": [HEIGHT, WIDTH], "counts": "\x7f"}}, "counts are not numbers of pixels"),
        ({"segmentation": {"size": [HEIGHT, WIDTH], "counts": "P" * 10**6}}, "counts are not numbers of pixels"),
        ({"segmentation": {"size": [HEIGHT, WIDTH]}}, "counts are not numbers of pixels"),
        ({"segmentation": [SQUARE], "category_id": 9}, "unknown class id 9; use one of 1, 5"),
        ({"segmentation": [SQUARE], "iscrowd": 2}, "2, needed 0 or 1"),
    ],
)
def test_a_faulty_shape_of_coco_is_named_with_its_annotation(tmp_path: Path, row: dict[str, Any], found: str) -> None:
    line = finding("coco", coco(tmp_path / "s", [row]))
    assert line.startswith("d/1.jpg in annotations/instances_default.json: annotations[1].")
    assert found in line


def test_polygons_need_the_library_that_paints_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from robot_assets.core import extras

    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(extras.MissingLibrary) as error:
        imported("coco", coco(tmp_path / "s", [{"segmentation": [SQUARE]}]))
    assert error.value.fix == "pip install 'robot-assets[engines]'"
    assert not (tmp_path / "raw").exists()


def test_polygons_of_yolo_become_masks(tmp_path: Path) -> None:
    source = yolo(tmp_path / "s", "0 0 0 1 0 1 0.5 0 0.5\n1 0.25 0.25 0.5 0.25 0.5 0.5 0.25 0.5\n")
    summary = imported("yolo", source, background="rest")
    expected = np.full((HEIGHT, WIDTH), 2)
    expected[: HEIGHT // 2] = 0
    expected[HEIGHT // 4 : HEIGHT // 2, WIDTH // 4 : WIDTH // 2] = 1
    assert np.array_equal(read_mask(tmp_path / "raw", "1"), expected)
    assert summary.classes == {"road": 2, "kerb": 1, "rest": 2}


def test_yolo_images_without_labels_are_of_the_background_when_a_person_says_so(tmp_path: Path) -> None:
    source = yolo(tmp_path / "s", "")
    (source / "labels/1.txt").unlink()
    assert "missing label file" in finding("yolo", source)
    imported("yolo", source, unlabelled="background", background="rest")
    assert (read_mask(tmp_path / "raw", "1") == 2).all()


@pytest.mark.parametrize(
    ("label", "found"),
    [
        ("0 0.5 0.5 0.2 0.2\n", "a box row, needed a polygon: class x1 y1 x2 y2 x3 y3 ...; export polygons"),
        ("0 0 0 0.5\n", "an odd number"),
        ("0 0 0 0.5 0 0.5 0.5 0.9\n", "a confidence at the end, as in an export of predictions?"),
        ("0 0 0 30 0 30 30\n", "coordinates above 1: are these pixels?"),
        ("0 0 0 1.5 0 0.5 0.5\n", "32.0 px past the edge"),
        ("5 0 0 0.5 0 0.5 0.5\n", "unknown class id '5', needed 0 to 1"),
        ("0 0.5 0.5 0.2 0.2 0.1 0.1 2 0.3 0.3 1\n", "a box with key points (pose estimation), needed a polygon"),
        ("0,0,0,0.5,0,0.5,0.5\n", "needed blanks: class x1 y1 x2 y2 x3 y3 ..."),
        ("0 a b c d e f\n", "not numbers"),
        ("0 0 0 nan 0 0.5 0.5\n", "NaN or infinite"),
        ("", "every pixel is ignored: nothing is learned from it"),
    ],
)
def test_a_faulty_row_of_yolo_is_named_with_its_line(tmp_path: Path, label: str, found: str) -> None:
    line = finding("yolo", yolo(tmp_path / "s", label))
    assert line.startswith("labels/1.txt:")
    assert found in line


def test_polygon_rows_in_a_data_set_of_boxes_name_both_ways(tmp_path: Path) -> None:
    source = yolo(tmp_path / "s", "0 0 0 1 0 1 0.5 0 0.5\n")
    with pytest.raises(ImportRefused) as refused:
        import_dataset("yolo", source, tmp_path / "raw")
    assert "--polygons boxes to import the enclosing boxes, or with --task segmentation to import masks" in str(
        refused.value
    )


def test_an_image_whose_mask_another_image_has_is_refused(tmp_path: Path) -> None:
    source = coco(tmp_path / "s", [])
    document = json.loads((source / "annotations/instances_default.json").read_text())
    (source / "images/d/2.png").write_bytes(encoded_image("x", format="PNG"))
    document["images"].append({"id": 3, "file_name": "d/2.png", "width": WIDTH, "height": HEIGHT})
    document["annotations"].append({**document["annotations"][0], "id": 9, "image_id": 3})
    (source / "annotations/instances_default.json").write_text(json.dumps(document))
    summary = imported("coco", source, background="rest", quarantine=True)
    assert [issue.place for issue in summary.quarantined] == ["d/2.jpg", "d/2.png"]
    assert summary.images == 1


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"ignore": ("road", "kerb")}, "no class is left"),
        ({"ignore": ("road",), "background": "road"}, "--background 'road' is also ignored by --ignore"),
        ({"background": " "}, "--background is ' '"),
        ({"ignore": ("raod",)}, "did you mean 'road'?"),
    ],
)
def test_options_that_contradict_are_refused(tmp_path: Path, options: dict[str, Any], found: str) -> None:
    with pytest.raises(DataError) as error:
        imported("coco", coco(tmp_path / "s", [{"segmentation": [SQUARE]}]), **options)
    assert found in error.value.found
