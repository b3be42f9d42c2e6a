"""Data sets of segmentations: raw masks are checked, packed, read and judged."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from robot_assets.core.errors import DataError
from robot_assets.data.checks import check_classes, check_labels, check_leakage
from robot_assets.data.dataset import build_dataset
from robot_assets.data.forecast import forecast
from robot_assets.data.labels import PAYLOAD, PAYLOAD_OFFSETS, LabelWriter
from robot_assets.data.origin import other_origin
from robot_assets.data.packed import open_calibration, open_split
from robot_assets.data.raw import load_raw
from robot_assets.data.raw_sample import sample_raw
from robot_assets.data.raw_source import read_raw, task_of_raw
from robot_assets.data.spec import DatasetSpec
from robot_assets.data.split import SPLITS
from robot_assets.tasks.segmentation.labels import MASKS, decoded_mask, encoded_mask
from tests.data.conftest import SESSIONS
from tests.data.image_sources import HEIGHT, WIDTH, encoded_image, read_labels, tree_bytes, write_labels
from tests.data.mask_sources import GROUND, IGNORED, chunk, grey_png, mask, palette_png, png, write_masks

TASK = "segmentation"
FIRST = "masks/d1/r1/000.png"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_masks(tmp_path_factory.mktemp("written") / "raw", SESSIONS)


@pytest.fixture
def raw(written: Path, tmp_path: Path) -> Path:
    """30 images with masks in 7 sessions; a test may modify them."""
    return Path(shutil.copytree(written, tmp_path / "raw"))


@pytest.fixture(scope="module")
def spec() -> DatasetSpec:
    return DatasetSpec.model_validate(
        {
            "task": TASK,
            "source": {"kind": "dvc", "pointer": "data/raw/x.dvc"},
            "classes": GROUND,
            "split": {"train": 0.6, "val": 0.2, "test": 0.2},
            "calibration_images": 5,
        }
    )


@pytest.fixture(scope="module")
def built(written: Path, spec: DatasetSpec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("built") / "packed"
    build_dataset(written, spec, out)
    return out


@pytest.fixture
def packed(built: Path, tmp_path: Path) -> Path:
    """The same images, packed; a test may modify them."""
    return Path(shutil.copytree(built, tmp_path / "packed"))


def test_every_mask_round_trips_through_packing(written: Path, built: Path) -> None:
    seen = []
    for name in SPLITS:
        split = open_split(built, name)
        for i, file_name in enumerate(split.names):
            stem = file_name.removesuffix(".jpg")
            assert split.payload(i) == (written / "masks" / f"{stem}.png").read_bytes()
            np.testing.assert_array_equal(MASKS.unpacked(split, i), mask(stem))
            assert split.annotations(i) == []
            seen.append(file_name)
    assert len(seen) == sum(SESSIONS.values())


def test_masks_have_the_documented_type_and_shape(built: Path) -> None:
    split = open_split(built, "train")
    values = MASKS.unpacked(split, 0)
    assert (values.dtype, values.shape) == (np.uint8, split.image(0).shape[:2])
    assert split.classes == GROUND


def test_calibration_images_keep_their_masks(built: Path) -> None:
    train, calibration = open_split(built, "train"), open_calibration(built)
    i = train.names.index(calibration.names[2])
    assert calibration.payload(2) == train.payload(i)


def test_counts_are_masks_with_the_class_and_amounts_are_pixels(raw: Path, spec: DatasetSpec, tmp_path: Path) -> None:
    values = mask("d1/r1/000")
    values[values == 2] = 0
    (raw / FIRST).write_bytes(png(values))
    summary = build_dataset(raw, spec, tmp_path / "out")
    images = sum(summary.images.values())
    assert sum(counts["road"] for counts in summary.counts.values()) == images
    assert sum(counts["sky"] for counts in summary.counts.values()) == images - 1
    splits = {name: open_split(tmp_path / "out", name) for name in SPLITS}
    pixels = sum((MASKS.unpacked(split, i) == 1).sum() for split in splits.values() for i in range(len(split)))
    assert sum(amounts["sidewalk"] for amounts in summary.amounts.values()) == pixels
    document = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert document["task"] == TASK
    assert document["splits"]["val"]["masks"] == summary.counts["val"]
    assert document["splits"]["val"]["pixels"] == summary.amounts["val"]
    assert len(document["masks_md5"]) == images


def test_classes_in_another_order_change_the_values(written: Path, spec: DatasetSpec, tmp_path: Path) -> None:
    turned = spec.model_copy(update={"classes": ("sky", "road", "sidewalk")})
    build_dataset(written, turned, tmp_path / "out")
    split = open_split(tmp_path / "out", "train")
    expected = np.full(256, IGNORED, np.uint8)
    expected[:3] = (1, 2, 0)
    for i, name in enumerate(split.names):
        np.testing.assert_array_equal(MASKS.unpacked(split, i), expected[mask(name.removesuffix(".jpg"))])
    assert check_labels(tmp_path / "out", turned, "ground").passed


def test_class_indices_follow_the_ids_of_categories(raw: Path, spec: DatasetSpec) -> None:
    document = read_labels(raw)
    document["categories"] = [{"id": 30, "name": "sky"}, {"id": 2, "name": "road"}, {"id": 7, "name": "sidewalk"}]
    write_labels(raw, document)
    assert load_raw(raw, task=TASK).categories == ("road", "sidewalk", "sky")


def test_a_mask_with_a_palette_is_packed_grey_with_its_indices(raw: Path, spec: DatasetSpec, tmp_path: Path) -> None:
    (raw / FIRST).write_bytes(palette_png(mask("d1/r1/000")))
    build_dataset(raw, spec, tmp_path / "out")
    (split, i) = next(
        (split, split.names.index("d1/r1/000.jpg"))
        for split in (open_split(tmp_path / "out", name) for name in SPLITS)
        if "d1/r1/000.jpg" in split.names
    )
    with Image.open(io.BytesIO(split.payload(i))) as image:
        assert image.mode == "L"
    np.testing.assert_array_equal(MASKS.unpacked(split, i), mask("d1/r1/000"))
    assert check_labels(tmp_path / "out", spec, "ground").passed


def test_two_builds_have_the_same_bytes(raw: Path, spec: DatasetSpec, tmp_path: Path) -> None:
    turned = spec.model_copy(update={"classes": ("sky", "road", "sidewalk")})
    build_dataset(raw, turned, tmp_path / "one")
    build_dataset(raw, turned, tmp_path / "two")
    assert tree_bytes(tmp_path / "one") == tree_bytes(tmp_path / "two")


def changed_pixel(value: int) -> bytes:
    values = mask("d1/r1/000")
    values[0, 0] = value
    return png(values)


def with_text_bomb() -> bytes:
    """A mask with a compressed text of 80 MB."""
    text = chunk(b"zTXt", b"Comment\0\0" + __import__("zlib").compress(bytes(80_000_000)))
    whole = png(mask("d1/r1/000"))
    return whole[:33] + text + whole[33:]


def as_jpeg() -> bytes:
    return encoded_image("a mask")


def as_rgb() -> bytes:
    return encoded_image("a mask", format="PNG")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (png(mask("d1/r1/000"))[:-30], "the mask is damaged"),
        (png(mask("d1/r1/000"))[:20], "the mask is damaged (its header is incomplete)"),
        (png(mask("d1/r1/000")).replace(b"IDAT", b"IDAX"), "the mask is damaged"),
        (b"", "has zero bytes"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "a pointer of Git LFS"),
        (as_jpeg(), "the mask is not a PNG"),
        (as_rgb(), "the mask is RGB, needed grey or a palette"),
        (grey_png(16), "the mask has 16 bits a pixel, needed 8"),
        (grey_png(4), "the mask has 4 bits a pixel, needed 8"),
        (grey_png(1), "the mask has 1 bit a pixel, needed 8"),
        (grey_png(8, width=32), f"the mask has 32x{HEIGHT} pixels, and the image {WIDTH}x{HEIGHT}"),
        (grey_png(8, width=HEIGHT, height=WIDTH), f"the mask has {HEIGHT}x{WIDTH} pixels"),
        (grey_png(8, width=60_000, height=60_000)[:200], "the mask has 60000x60000 pixels"),
        (changed_pixel(3), "class index 3, and there are 3 categories"),
        (changed_pixel(254), "class index 254, and there are 3 categories"),
        (png(np.full((HEIGHT, WIDTH), IGNORED, np.uint8)), "all pixels are ignored"),
        (with_text_bomb(), "the mask is damaged"),
    ],
)
def test_a_bad_mask_is_named_with_its_file_and_fix(
    raw: Path, spec: DatasetSpec, tmp_path: Path, content: bytes, found: str
) -> None:
    (raw / FIRST).write_bytes(content)
    (issue,) = load_raw(raw, task=TASK).issues
    assert issue.place == FIRST
    assert found in issue.found
    assert issue.fix
    with pytest.raises(DataError, match=r"1 bad item:\n    masks/d1/r1/000\.png: ") as error:
        build_dataset(raw, spec, tmp_path / "out", "ground")
    assert error.value.fix == "correct them in the source, then import or simulate ground again"
    assert not list(tmp_path.glob("*out*"))


def only_issue(raw: Path) -> tuple[str, str]:
    (issue,) = load_raw(raw, task=TASK).issues
    assert issue.fix
    return issue.place, issue.found


def test_a_missing_mask_is_named(raw: Path) -> None:
    (raw / FIRST).unlink()
    assert only_issue(raw) == (FIRST, "no such mask")


def test_a_mask_without_an_image_is_named(raw: Path) -> None:
    shutil.copy(raw / FIRST, raw / "masks/d1/r1/stray.png")
    assert only_issue(raw) == ("masks/d1/r1/stray.png", "no image has this mask")


def test_a_mask_with_another_suffix_is_named_and_missing(raw: Path) -> None:
    (raw / FIRST).rename(raw / "masks/d1/r1/000.PNG")
    issues = load_raw(raw, task=TASK).issues
    assert [issue.place for issue in issues] == ["masks/d1/r1/000.PNG", FIRST]


def test_a_symlink_in_place_of_a_mask_is_reported_once(raw: Path) -> None:
    (raw / FIRST).unlink()
    (raw / FIRST).symlink_to(raw / "masks/d1/r1/001.png")
    assert only_issue(raw) == (FIRST, "a symlink")


def test_a_symlink_in_place_of_all_masks_is_reported_once(raw: Path, tmp_path: Path) -> None:
    (raw / "masks").rename(tmp_path / "elsewhere")
    (raw / "masks").symlink_to(tmp_path / "elsewhere")
    assert only_issue(raw) == ("masks", "a symlink")


def test_an_unreadable_mask_is_named(raw: Path) -> None:
    (raw / FIRST).unlink()
    (raw / FIRST).mkdir()
    (raw / FIRST / "inside.png").write_bytes(b"x")
    places = {issue.place: issue.found for issue in load_raw(raw, task=TASK).issues}
    assert places == {FIRST: "no such mask", f"{FIRST}/inside.png": "no image has this mask"}


def test_two_images_of_one_stem_have_no_mask_of_their_own(raw: Path) -> None:
    (raw / "images/d1/r1/000.png").write_bytes(encoded_image("other", format="PNG"))
    document = read_labels(raw)
    document["images"].append({"id": 99, "file_name": "d1/r1/000.png", "width": WIDTH, "height": HEIGHT})
    write_labels(raw, document)
    issues = load_raw(raw, task=TASK).issues
    assert {issue.found for issue in issues} == {"d1/r1/000.jpg and d1/r1/000.png have one mask, by their stem"}
    assert len(issues) == 2


def test_an_image_that_the_labels_do_not_list_is_named_and_its_mask(raw: Path) -> None:
    shutil.copy(raw / "images/d1/r1/000.jpg", raw / "images/d1/r1/new.jpg")
    shutil.copy(raw / FIRST, raw / "masks/d1/r1/new.png")
    found = {issue.place: issue.found for issue in load_raw(raw, task=TASK).issues}
    assert found == {
        "images/d1/r1/new.jpg": "the labels do not list this image",
        "masks/d1/r1/new.png": "no image has this mask",
    }


def test_an_annotation_beside_a_mask_is_named(raw: Path) -> None:
    document = read_labels(raw)
    document["annotations"] = [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9]}]
    write_labels(raw, document)
    assert only_issue(raw) == ("annotations.json: annotations[0]", "an annotation beside a mask")


@pytest.mark.parametrize("file_name", ["", ".", "..", "a/..", "../../etc/passwd", "d1/r1/000", "\0"])
def test_a_hostile_file_name_is_a_finding(raw: Path, file_name: str) -> None:
    document = read_labels(raw)
    document["images"][0]["file_name"] = file_name
    write_labels(raw, document)
    assert any("no such image" in issue.found for issue in load_raw(raw, task=TASK).issues)


def test_labels_of_another_task_are_refused_with_both(raw: Path, spec: DatasetSpec, tmp_path: Path) -> None:
    boxes = spec.model_copy(update={"task": "detection"})
    with pytest.raises(DataError) as error:
        build_dataset(raw, boxes, tmp_path / "out", "ground")
    assert error.value.found == f"{raw} has labels of the task segmentation, and datasets.ground.task is detection"
    assert error.value.fix.startswith("set datasets.ground.task to segmentation, or import data with labels of the")
    assert task_of_raw(raw) == TASK


def test_an_export_of_masks_is_named_with_the_command_that_imports_it(raw: Path) -> None:
    (raw / "annotations.json").unlink()
    with pytest.raises(DataError, match="it has masks of a segmentation") as error:
        read_raw(raw, TASK)
    assert error.value.fix.startswith(f"robot-assets data import masks {raw} --name raw_raw")


def test_raw_data_without_masks_is_refused(raw: Path, spec: DatasetSpec, tmp_path: Path) -> None:
    shutil.rmtree(raw / "masks")
    with pytest.raises(DataError, match=r"has no files in masks/, and datasets\.ground\.task is segmentation"):
        build_dataset(raw, spec, tmp_path / "out", "ground")
    assert task_of_raw(raw) == "detection"


def test_the_task_that_labels_name_decides(raw: Path) -> None:
    writer = LabelWriter(["road"], TASK)
    writer.write(raw / "annotations.json", description="none")
    assert task_of_raw(raw) == TASK
    document = read_labels(raw)
    write_labels(raw, {**document, "info": {"task": "depth"}})
    with pytest.raises(DataError, match="names the task depth, which is not installed"):
        task_of_raw(raw)
    write_labels(raw, {**document, "info": "depth"})
    assert task_of_raw(raw) == TASK


def test_pixels_of_a_category_that_is_no_class_are_refused(written: Path, spec: DatasetSpec, tmp_path: Path) -> None:
    fewer = spec.model_copy(update={"classes": ("road", "sidewalk")})
    with pytest.raises(DataError, match="has 30 masks of 'sky', which classes lacks") as error:
        build_dataset(written, fewer, tmp_path / "out")
    assert error.value.fix.endswith("or set these pixels to 255 (ignored) in the source")


def test_a_mask_that_changes_during_a_build_is_named(
    raw: Path, spec: DatasetSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change_all(labels: object, side: bytes) -> bytes:
        for path in (raw / "masks").rglob("*.png"):
            path.write_bytes(png(decoded_mask(path.read_bytes())[::-1]))
        return side

    monkeypatch.setattr(MASKS, "payload", change_all)
    with pytest.raises(DataError, match="changed while it was read"):
        build_dataset(raw, spec, tmp_path / "out")
    assert not list(tmp_path.glob("*out*"))


def test_a_valid_data_set_passes_every_gate(built: Path, spec: DatasetSpec) -> None:
    verdicts = [check(built, spec, "ground") for check in (check_leakage, check_classes, check_labels)]
    assert all(verdict.passed for verdict in verdicts)
    assert verdicts[1].summary.startswith("3 classes in 3 splits; fewest masks: ")
    assert verdicts[2].summary.startswith("30 masks: of the size of their images")


def replace_payload(packed: Path, content: Callable[[bytes], bytes]) -> None:
    """Replace the first mask of val."""
    folder = packed / "val"
    offsets = np.load(folder / PAYLOAD_OFFSETS)
    whole = (folder / PAYLOAD).read_bytes()
    first = content(whole[: offsets[1]])
    (folder / PAYLOAD).write_bytes(first + whole[offsets[1] :])
    offsets[1:] += len(first) - offsets[1]
    np.save(folder / PAYLOAD_OFFSETS, offsets)


def recoloured(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[bytes], bytes]:
    return lambda encoded: encoded_mask(change(decoded_mask(encoded)))


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (lambda encoded: b"", "no mask"),
        (lambda encoded: encoded[:-20], "the mask is damaged"),
        (lambda encoded: palette_png(decoded_mask(encoded)), "a palette, needed grey"),
        (lambda encoded: grey_png(16), "the mask has 16 bits a pixel, needed 8"),
        (recoloured(lambda values: np.where(values == 1, 77, values).astype(np.uint8)), "unknown class 77"),
        (recoloured(lambda values: np.full_like(values, IGNORED)), "all pixels are ignored"),
        (recoloured(lambda values: values[:-1]), f"the mask has {WIDTH}x{HEIGHT - 1} pixels"),
    ],
)
def test_the_gate_of_masks_finds_damage_in_the_packed_bytes(
    packed: Path, spec: DatasetSpec, content: Callable[[bytes], bytes], found: str
) -> None:
    name = open_split(packed, "val").names[0]
    replace_payload(packed, content)
    verdict = check_labels(packed, spec, "ground")
    assert not verdict.passed
    assert verdict.summary.startswith(f"1 of 30 masks invalid, first: val/{name}: {found}")
    assert verdict.fix == "correct the masks in the raw data, then run robot-assets build datasets/ground"


def test_a_class_that_is_in_no_mask_of_a_split_fails_the_gate(packed: Path, spec: DatasetSpec) -> None:
    without = recoloured(lambda values: np.where(values == 2, 0, values).astype(np.uint8))
    folder = packed / "test"
    split = open_split(packed, "test")
    masks = [without(split.payload(i)) for i in range(len(split))]
    (folder / PAYLOAD).write_bytes(b"".join(masks))
    np.save(folder / PAYLOAD_OFFSETS, np.cumsum([0, *map(len, masks)]))
    verdict = check_classes(packed, spec, "ground")
    assert (verdict.passed, verdict.summary) == (False, "no mask of sky in test")


def test_a_damaged_mask_of_a_split_is_an_error_with_a_fix(packed: Path, spec: DatasetSpec) -> None:
    replace_payload(packed, lambda encoded: encoded[:40])
    with pytest.raises(DataError, match="is damaged"):
        check_classes(packed, spec, "ground")


@pytest.mark.parametrize("broken", [PAYLOAD, PAYLOAD_OFFSETS])
def test_a_damaged_payload_is_refused(packed: Path, broken: str) -> None:
    path = packed / "train" / broken
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="train is not a packed split"):
        open_split(packed, "train")


def test_a_forecast_judges_the_classes_of_masks(raw: Path, spec: DatasetSpec) -> None:
    for path in sorted((raw / "masks").rglob("*.png")):
        values = decoded_mask(path.read_bytes())
        path.write_bytes(png(np.where(values == 2, 0, values).astype(np.uint8)))
    outlook = forecast(load_raw(raw, task=TASK), spec, "ground")
    assert outlook.classes is not None
    assert outlook.classes.summary == "no mask of sky in train, sky in val, sky in test"


def test_a_changed_mask_is_another_origin(raw: Path, packed: Path, spec: DatasetSpec) -> None:
    def origin() -> str:
        data = load_raw(raw, task=TASK)
        return other_origin(packed, data, spec, forecast(data, spec, "ground").plan)

    assert origin() == ""
    (raw / FIRST).write_bytes(changed_pixel(2))
    assert origin() == "was packed from other raw data (1 mask changed)"


def test_another_task_is_another_origin(raw: Path, packed: Path, spec: DatasetSpec) -> None:
    document = json.loads((packed / "dataset.json").read_text())
    del document["task"]
    (packed / "dataset.json").write_text(json.dumps(document))
    assert other_origin(packed, load_raw(raw, task=TASK), spec, None) == "was packed with other parameters (task)"


def test_some_images_are_sampled_with_their_masks(written: Path) -> None:
    sample = sample_raw(written, TASK, 4)
    assert (len(sample.images), len(sample.labels), sample.classes) == (4, 4, GROUND)
    np.testing.assert_array_equal(sample.labels[0], mask("d1/r1/000"))


def test_a_mask_is_encoded_in_one_way_and_decoded_to_the_same() -> None:
    values = mask("any")
    assert encoded_mask(values) == encoded_mask(values.copy())
    np.testing.assert_array_equal(decoded_mask(encoded_mask(values)), values)
