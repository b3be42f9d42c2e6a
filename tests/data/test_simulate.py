"""The simulated sidewalk: the same seed gives the same bytes, labels are of visible pixels, publication is atomic."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from robot_assets.core.progress import listening
from robot_assets.data.simulate import JPEG_QUALITY, simulate
from robot_assets.data.simulation.actors import BUILDERS
from robot_assets.data.simulation.class_masks import UNKNOWN, actor_class, class_index, class_mask
from robot_assets.data.simulation.render import Frame, Renderer, Scene, View
from robot_assets.data.simulation.shapes import box
from robot_assets.data.spec import SIMULATED_CLASSES, SIMULATED_MASK_CLASSES, DatasetSpec, SimulationSource

SOURCE = SimulationSource(kind="simulation", images=36, sessions=3, width=160, height=120, seed=3)
MASKS = SOURCE.model_copy(update={"labels": "masks"})


def md5s(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.md5(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("simulated") / "raw"
    simulate(SOURCE, out)
    return out


@pytest.fixture(scope="module")
def coco(raw: Path) -> dict[str, list[dict[str, object]]]:
    return json.loads((raw / "annotations.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("simulated") / "masked"
    simulate(MASKS, out)
    return out


def mask_of(root: Path, image: dict[str, object]) -> np.ndarray:
    with Image.open((root / "masks" / str(image["file_name"])).with_suffix(".png")) as mask:
        assert (mask.mode, mask.format) == ("L", "PNG")
        return np.asarray(mask)


@pytest.mark.parametrize(("source", "made"), [(SOURCE, "raw"), (MASKS, "masked")], ids=["boxes", "masks"])
@pytest.mark.parametrize("hash_seed", ["0", "4242"])
def test_another_process_renders_the_same_bytes(
    source: SimulationSource, made: str, tmp_path: Path, hash_seed: str, request: pytest.FixtureRequest
) -> None:
    raw: Path = request.getfixturevalue(made)
    code = (
        "import sys; from pathlib import Path; from robot_assets.data.simulate import simulate;"
        "from robot_assets.data.spec import SimulationSource;"
        "simulate(SimulationSource.model_validate_json(sys.argv[1]), Path(sys.argv[2]))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    subprocess.run(
        [sys.executable, "-c", code, source.model_dump_json(), str(tmp_path / "raw")],
        check=True,
        env=environment,
    )
    assert md5s(tmp_path / "raw") == md5s(raw)


def test_a_second_run_in_one_process_renders_the_same_bytes_and_replaces_the_first(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "raw"
    simulate(SOURCE.model_copy(update={"images": 3}), out)
    simulate(SOURCE, out)
    assert md5s(out) == md5s(raw)


def test_another_seed_gives_other_images(raw: Path, tmp_path: Path) -> None:
    simulate(SOURCE.model_copy(update={"seed": 4}), tmp_path / "raw")
    ours = {hash_ for name, hash_ in md5s(raw).items() if name.endswith(".jpg")}
    theirs = {hash_ for name, hash_ in md5s(tmp_path / "raw").items() if name.endswith(".jpg")}
    assert not ours & theirs


def test_a_session_does_not_depend_on_the_number_of_sessions(raw: Path, tmp_path: Path) -> None:
    simulate(SOURCE.model_copy(update={"images": 48, "sessions": 4}), tmp_path / "raw")
    more = md5s(tmp_path / "raw")
    images = {name: value for name, value in md5s(raw).items() if name.endswith(".jpg")}
    assert images == {name: more[name] for name in images}


def test_annotations_list_every_image_file_with_its_session_and_size(
    raw: Path, coco: dict[str, list[dict[str, object]]]
) -> None:
    files = sorted(str(path.relative_to(raw / "images")) for path in raw.rglob("*.jpg"))
    assert [image["file_name"] for image in coco["images"]] == files
    assert [image["id"] for image in coco["images"]] == list(range(1, 37))
    for image in coco["images"]:
        assert str(image["file_name"]).startswith(f"{image['session']}/frame_")
        with Image.open(raw / "images" / str(image["file_name"])) as picture:
            assert (picture.width, picture.height) == (image["width"], image["height"]) == (160, 120)
            assert picture.format == "JPEG"
    assert sorted({str(image["session"]) for image in coco["images"]}) == [
        "sim03/s01",
        "sim03/s02",
        "sim03/s03",
    ]


def test_categories_are_the_simulated_classes_in_order(coco: dict[str, list[dict[str, object]]]) -> None:
    assert [(c["id"], c["name"]) for c in coco["categories"]] == list(enumerate(SIMULATED_CLASSES, start=1))
    assert tuple(BUILDERS) == SIMULATED_CLASSES


def test_boxes_are_inside_the_image_and_contain_their_visible_pixels(
    coco: dict[str, list[dict[str, object]]],
) -> None:
    assert [one["id"] for one in coco["annotations"]] == list(range(1, len(coco["annotations"]) + 1))
    for one in coco["annotations"]:
        x, y, w, h = one["bbox"]  # type: ignore[misc]
        assert x >= 0
        assert y >= 0
        assert x + w <= 160
        assert y + h <= 120
        assert 24 <= one["area"] <= w * h  # type: ignore[operator]


def test_every_session_has_every_class_and_three_to_eight_objects_per_image(
    coco: dict[str, list[dict[str, object]]],
) -> None:
    session = {image["id"]: image["session"] for image in coco["images"]}
    shown: Counter[tuple[object, object]] = Counter()
    for one in coco["annotations"]:
        shown[session[one["image_id"]], one["category_id"]] += 1
    assert len(shown) == 3 * len(SIMULATED_CLASSES)
    assert min(shown.values()) >= 3
    assert 3 <= len(coco["annotations"]) / len(coco["images"]) <= 8


def test_the_summary_matches_the_annotations(tmp_path: Path) -> None:
    summary = simulate(SOURCE.model_copy(update={"images": 10}), tmp_path / "raw")
    coco = json.loads((tmp_path / "raw" / "annotations.json").read_text(encoding="utf-8"))
    assert summary.images == 10
    assert summary.sessions == ("sim03/s01", "sim03/s02", "sim03/s03")
    assert sum(summary.objects.values()) == len(coco["annotations"])


def test_progress_reaches_the_number_of_images(tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []
    with listening(lambda what, done, total, note: heard.append((done, total))):
        simulate(SOURCE.model_copy(update={"images": 7}), tmp_path / "raw")
    assert heard == [(3, 7), (5, 7), (7, 7)]


def test_a_failed_run_leaves_the_old_data_set_and_nothing_beside_it(tmp_path: Path) -> None:
    out = tmp_path / "raw"
    simulate(SOURCE.model_copy(update={"images": 3}), out)
    before = md5s(out)

    def full_disk(what: str, done: int, total: int, note: str) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"), listening(full_disk):
        simulate(SOURCE, out)
    assert md5s(out) == before
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_images_are_encoded_as_pillow_saves_them(raw: Path) -> None:
    file = next(raw.rglob("*.jpg"))
    again = io.BytesIO()
    with Image.open(file) as picture:
        picture.save(again, "JPEG", quality=JPEG_QUALITY)
        with Image.open(again) as saved:
            assert picture.quantization == saved.quantization  # type: ignore[attr-defined]
            assert picture.layer == saved.layer  # type: ignore[attr-defined]
            assert picture.info == saved.info


@pytest.mark.parametrize("labels", ["boxes", "masks"])
def test_an_odd_image_size_works(tmp_path: Path, labels: str) -> None:
    source = SOURCE.model_copy(update={"images": 3, "width": 101, "height": 67, "labels": labels})
    simulate(source, tmp_path / "raw")
    for path in (tmp_path / "raw").rglob("*.png"):
        with Image.open(path) as mask:
            assert mask.size == (101, 67)
    for path in (tmp_path / "raw").rglob("*.jpg"):
        with Image.open(path) as picture:
            assert picture.size == (101, 67)


def test_masks_change_neither_the_images_nor_their_list(raw: Path, masked: Path) -> None:
    images = {name: value for name, value in md5s(raw).items() if name.endswith(".jpg")}
    assert images == {name: value for name, value in md5s(masked).items() if name.endswith(".jpg")}
    ours, theirs = (json.loads((root / "annotations.json").read_text(encoding="utf-8")) for root in (masked, raw))
    assert ours["images"] == theirs["images"]
    assert ours["annotations"] == []
    assert [(c["id"], c["name"]) for c in ours["categories"]] == list(enumerate(SIMULATED_MASK_CLASSES, start=1))
    assert not (raw / "masks").exists()


def test_every_image_has_a_mask_of_its_size_with_class_indices(
    masked: Path, coco: dict[str, list[dict[str, object]]]
) -> None:
    assert len(list((masked / "masks").rglob("*"))) == 36 + 3 + 1  # files, sessions, simulation
    for image in coco["images"]:
        mask = mask_of(masked, image)
        assert mask.shape == (120, 160)
        assert set(np.unique(mask).tolist()) <= {*range(len(SIMULATED_MASK_CLASSES)), UNKNOWN}


def test_masks_show_every_class_and_little_that_is_unknown(
    masked: Path, coco: dict[str, list[dict[str, object]]]
) -> None:
    masks = np.stack([mask_of(masked, image) for image in coco["images"]])
    assert set(range(len(SIMULATED_MASK_CLASSES))) <= set(np.unique(masks).tolist())
    assert np.mean(masks == UNKNOWN) < 0.02
    assert np.mean(masks[:, -1, 70:90] == class_index("sidewalk")) > 0.5  # the robot drives there
    assert not np.any(masks[:, 90:] == class_index("sky"))


def test_the_visible_pixels_of_a_box_are_of_its_class_in_the_mask(
    masked: Path, coco: dict[str, list[dict[str, object]]]
) -> None:
    # The street hides some of them: wheels behind the kerb.
    images = {image["id"]: image for image in coco["images"]}
    for one in coco["annotations"]:
        x, y, w, h = one["bbox"]  # type: ignore[misc]
        inside = mask_of(masked, images[one["image_id"]])[y : y + h, x : x + w]
        name = SIMULATED_CLASSES[one["category_id"] - 1]  # type: ignore[operator]
        assert np.count_nonzero(inside == actor_class(name)) >= 0.75 * one["area"]  # type: ignore[operator]


def test_the_summary_of_masks_has_the_share_of_each_class(tmp_path: Path) -> None:
    summary = simulate(MASKS.model_copy(update={"images": 5}), tmp_path / "raw")
    masks = np.stack([np.asarray(Image.open(path)) for path in (tmp_path / "raw" / "masks").rglob("*.png")])
    assert summary.objects == {}
    for index, name in enumerate(SIMULATED_MASK_CLASSES):
        assert summary.pixel_shares[name] == pytest.approx(np.mean(masks == index), abs=1e-6)
        assert summary.images_with[name] == np.count_nonzero((masks == index).any(axis=(1, 2)))


def test_a_class_mask_covers_the_pixels_that_the_image_draws() -> None:
    renderer = Renderer(101, 67, classes=2)
    scene = Scene(renderer, 101, 67, 1.1, (0.3, 0.2, 0.9))
    mesh = box((0, 0, 0.5), (0.7, 0.9, 1.0), (0.5, 0.5, 0.5))
    colours = np.full((len(mesh.points), 4), 255, np.uint8)
    item = scene.add_item(7, scene.geometry(mesh.points, mesh.triangles, colours), class_index=1)
    for distance in (2.0, 3.3, 7.7):
        item.place(distance, 0.2, 0.0, distance)
        frame = scene.render(View(0, 0, 0.8, 0.05, -0.02))
        assert frame.classes is not None
        assert np.array_equal(frame.classes == 2, frame.colour[..., 3] > 0)
        assert np.array_equal(frame.classes == 2, frame.ids == 7)
        assert frame.classes.any()
    scene.close()
    renderer.close()


def rendered(classes: np.ndarray) -> Frame:
    """A frame of which the class mask alone matters."""
    colour = np.zeros((*classes.shape, 4), np.uint8)
    flat = np.zeros(0, np.int64)
    return Frame(colour, classes, classes > 0, flat, flat.astype(np.uint8), classes)


def test_what_is_not_drawn_is_sky_above_the_horizon_and_unknown_below() -> None:
    frame = rendered(np.zeros((10, 4), np.uint8))
    clear = np.full((10, 4), 256, np.uint16)
    level = class_mask(frame, View(0, 0, 0.8, 0, 0.0), 12.0, clear)
    assert level[:, 0].tolist() == [class_index("sky")] * 5 + [UNKNOWN] * 5
    up = class_mask(frame, View(0, 0, 0.8, 0, 0.17), 12.0, clear)
    assert up[:, 0].tolist() == [class_index("sky")] * 7 + [UNKNOWN] * 3


def test_what_fog_hides_is_unknown_and_the_sky_is_not() -> None:
    road = class_index("road")
    frame = rendered(np.array([[0, 0], [0, 0], [road + 1, road + 1], [road + 1, road + 1]], np.uint8))
    mask = class_mask(frame, View(0, 0, 0.8, 0, 0.0), 12.0, np.array([[2, 2], [2, 2], [12, 13], [200, 256]], np.uint16))
    sky = class_index("sky")
    assert mask.tolist() == [[sky, sky], [sky, sky], [UNKNOWN, road], [road, road]]


@pytest.mark.parametrize(
    ("labels", "classes", "needed"),
    [
        ("masks", ["road", "car"], "classes has 'car'; the simulation has masks of road, sidewalk"),
        ("boxes", ["car", "road"], "classes has 'road'; the simulation has boxes of pedestrian"),
    ],
)
def test_classes_are_those_of_the_labels(labels: str, classes: list[str], needed: str) -> None:
    task = {"masks": "segmentation", "boxes": "detection"}[labels]
    with pytest.raises(ValidationError, match=needed):
        DatasetSpec.model_validate(dataset(task, labels, classes))


@pytest.mark.parametrize(
    ("task", "labels", "needed"),
    [
        (
            "detection",
            "masks",
            "task is detection, and source.labels is masks, which are for segmentation: "
            "write task: segmentation, or source.labels: boxes",
        ),
        (
            "segmentation",
            "boxes",
            "task is segmentation, and source.labels is boxes, which are for detection: "
            "write task: detection, or source.labels: masks",
        ),
    ],
)
def test_masks_are_for_segmentation_and_boxes_for_detection(task: str, labels: str, needed: str) -> None:
    classes = {"masks": ["road"], "boxes": ["car"]}[labels]
    with pytest.raises(ValidationError, match=needed):
        DatasetSpec.model_validate(dataset(task, labels, classes))


def dataset(task: str, labels: str, classes: list[str]) -> dict[str, object]:
    return {
        "task": task,
        "source": {**SOURCE.model_dump(), "labels": labels},
        "classes": classes,
        "split": {"train": 0.6, "val": 0.2, "test": 0.2},
    }
