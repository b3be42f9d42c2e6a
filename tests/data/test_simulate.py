"""The simulated sidewalk: the same seed gives the same bytes, boxes bound visible pixels, publication is atomic."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from robot_assets.core.progress import listening
from robot_assets.data.simulate import JPEG_QUALITY, simulate
from robot_assets.data.simulation.actors import BUILDERS
from robot_assets.data.spec import SIMULATED_CLASSES, SimulationSource

SOURCE = SimulationSource(kind="simulation", images=36, sessions=3, width=160, height=120, seed=3)


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


@pytest.mark.parametrize("hash_seed", ["0", "4242"])
def test_another_process_renders_the_same_bytes(raw: Path, tmp_path: Path, hash_seed: str) -> None:
    code = (
        "import sys; from pathlib import Path; from robot_assets.data.simulate import simulate;"
        "from robot_assets.data.spec import SimulationSource;"
        "simulate(SimulationSource.model_validate_json(sys.argv[1]), Path(sys.argv[2]))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    subprocess.run(
        [sys.executable, "-c", code, SOURCE.model_dump_json(), str(tmp_path / "raw")],
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


def test_an_odd_image_size_works(tmp_path: Path) -> None:
    source = SOURCE.model_copy(update={"images": 3, "width": 101, "height": 67})
    simulate(source, tmp_path / "raw")
    for path in (tmp_path / "raw").rglob("*.jpg"):
        with Image.open(path) as picture:
            assert picture.size == (101, 67)
