"""Mutated masks, polygons and runs, from seeds: an image gets its mask, or is named; nothing else is raised.

``MUTATIONS=10000`` runs that many of each kind instead of the few of the ordinary suite.
"""

import copy
import json
import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robot_assets.core.errors import DataError
from robot_assets.data.importing.importer import ImportRefused, ImportSummary, import_dataset, quarantine_path
from robot_assets.data.importing.segmentation.labels import SegmentationOptions
from tests.data.image_sources import HEIGHT, WIDTH, encoded_image
from tests.data.importing.mask_sources import coloured, mask, paletted, png, read_mask, write
from tests.data.importing.test_mutations import files_below, mutated_bytes

MUTATIONS = int(os.environ.get("MUTATIONS", "200"))
ITEMS = 40
SEEDS = range(max(1, MUTATIONS // ITEMS))
RING = [4.0, 4.0, 24.0, 4.0, 24.0, 24.0, 4.0, 24.0]
ROWS = (
    "0 0.1 0.1 0.6 0.1 0.6 0.6", "1 0.2 0.2 0.4 0.2 0.4 0.4 0.2 0.4", "0 0.5 0.5 0.25 0.25", "2 0 0 1 0 1 1",
    "0 1 1 0 0", "0 0.1 0.1 0.6 0.1 0.6", "0 nan 0 1 0 1 1", "0 0 0 1e400 0 1 1", "0 -0.01 0 1.01 0 1 1",
    "-1 0 0 1 0 1 1", "0 0.5 0.5 0.5 0.5 0.5 0.5", "0 0 0 0 0 0 0", "", "\x1b[31m", "0,0,0,1,0,1,1",
    "0 0 0 1 0 1 1 0.9",
)  # fmt: skip
RLE = {"size": [HEIGHT, WIDTH], "counts": [10, 20, HEIGHT * WIDTH - 30]}
JUNK: tuple[Any, ...] = (
    None, True, 0, -1, 1.5, 10**400, 2**53, float("nan"), float("inf"), "", "x", "\0", [], {}, [[]], [[1]], [1, 2, 3],
    [[0, 0, 1, 1]], [[0, 0, 9, 0, 9, 9]], [RING, RING], [RING, None], [["a"] * 6], [[1e308] * 8],
    [[-1.2, 0, 9, 0, 9, 9]], RLE, {**RLE, "counts": "abc"}, {**RLE, "counts": [HEIGHT * WIDTH]},
    {**RLE, "counts": [0] * 9}, {**RLE, "size": [9]}, {**RLE, "counts": [10**400, 1]}, {"counts": []},
    {**RLE, "counts": [1, -1, HEIGHT * WIDTH]}, {**RLE, "size": None},
)  # fmt: skip


def imported(format: str, source: Path, **options: Any) -> ImportSummary | None:
    """The summary of an import with quarantine, or None when it is refused; checks that nothing else was written."""
    base, before, refusal, summary = source.parent, files_below(source), None, None
    try:
        chosen = SegmentationOptions(**options)
        summary = import_dataset(format, source, base / "raw", quarantine=True, segmentation=chosen)
    except DataError as error:
        refusal = error
    if refusal is not None:
        assert refusal.fix
        assert refusal.needed
        assert all(line.isprintable() for line in str(refusal).splitlines())
        assert refusal.issues if isinstance(refusal, ImportRefused) else True
    assert {path.name for path in base.iterdir()} <= {source.name, "raw", quarantine_path(base / "raw").name}
    assert files_below(source) == before
    return summary


def images_with_masks(raw: Path, classes: int) -> set[str]:
    """Stems of the imported images, each of which has a mask of its size with values of classes only."""
    stems = {str(path.relative_to(raw / "images").with_suffix("")) for path in (raw / "images").rglob("*.jpg")}
    assert stems == {str(path.relative_to(raw / "masks").with_suffix("")) for path in (raw / "masks").rglob("*.png")}
    for stem in stems:
        found = read_mask(raw, stem)
        assert found.shape == (HEIGHT, WIDTH)
        assert set(np.unique(found).tolist()) <= {*range(classes), 255}
        assert (found != 255).any()
    return stems


def is_named(stem: str, summary: ImportSummary) -> bool:
    return any(stem.rpartition("/")[2] in issue.place for issue in summary.quarantined)


def test_an_image_is_imported_with_its_mask_or_named(tmp_path: Path) -> None:
    source = tmp_path / "source"
    files = {f"images/d/{number:03}.jpg": encoded_image(str(number)) for number in range(ITEMS + 1)}
    write(source, {**files, "masks/d/000.png": png(mask()), "classes.txt": "sky\nroad\nkerb\n"})
    left_out = 0
    for seed in SEEDS:
        chance = random.Random(f"masks {seed}")
        for number in range(1, ITEMS + 1):
            (source / f"masks/d/{number:03}.png").write_bytes(mutated_mask(chance))
        summary = imported("masks", source)
        assert summary is not None, f"one mask is good (seed {seed})"
        found = images_with_masks(tmp_path / "raw", 3)
        for number in range(ITEMS + 1):
            stem = f"d/{number:03}"
            assert (stem in found) != is_named(stem, summary), f"{stem} is lost or there twice (seed {seed})"
        left_out += ITEMS + 1 - len(found)
    assert 0.1 < left_out / (ITEMS * len(SEEDS)) < 0.95, "mutations of both outcomes"


def mutated_mask(chance: random.Random) -> bytes:
    kind = chance.choice(("grey", "grey", "palette", "RGB", "16 bits", "other", "1 bit", "alpha"))
    pixels = mask(chance.randrange(20))
    if kind == "other":
        pixels[chance.randrange(HEIGHT), chance.randrange(WIDTH)] = chance.randrange(256)
    encoded = {
        "palette": lambda: paletted(pixels, {0: (0, 0, 0), 1: (1, 1, 1)}),
        "RGB": lambda: png(coloured(pixels)),
        "16 bits": lambda: png(pixels.astype(np.uint16)),
        "1 bit": lambda: png((pixels == 1).astype(np.uint8)),
        "alpha": lambda: png(np.dstack([pixels, np.full_like(pixels, 255)])),
    }.get(kind, lambda: png(pixels))()
    return mutated_bytes(chance, encoded) if chance.random() < 0.4 else encoded


def test_a_label_of_polygons_is_painted_or_its_image_named(tmp_path: Path) -> None:
    source = tmp_path / "source"
    files = {f"images/{number:03}.jpg": encoded_image(str(number)) for number in range(ITEMS + 1)}
    write(source, {**files, "labels/000.txt": ROWS[0], "classes.txt": "road\nkerb\n"})
    painted = left_out = 0
    for seed in SEEDS:
        chance = random.Random(f"rows {seed}")
        for number in range(1, ITEMS + 1):
            rows = "\n".join(chance.sample(ROWS, chance.randint(0, 2)) or ROWS[:2])
            content = mutated_bytes(chance, rows.encode()) if chance.random() < 0.2 else rows.encode()
            (source / f"labels/{number:03}.txt").write_bytes(content)
        summary = imported("yolo", source, background=chance.choice((None, "rest", "road")))
        assert summary is not None, f"one label is good (seed {seed})"
        found = images_with_masks(tmp_path / "raw", 3)
        for number in range(ITEMS + 1):
            assert (f"{number:03}" in found) != is_named(f"{number:03}", summary), f"{number} is lost (seed {seed})"
        painted, left_out = painted + len(found), left_out + ITEMS + 1 - len(found)
    assert min(painted, left_out) > 0.1 * (painted + left_out), "mutations of both outcomes"


def test_mutated_shapes_of_coco_are_painted_or_their_image_named(tmp_path: Path) -> None:
    source = tmp_path / "source"
    write(source, {f"images/d/{number}.jpg": encoded_image(str(number)) for number in range(3)})
    images = [{"id": n + 1, "file_name": f"d/{n}.jpg", "width": WIDTH, "height": HEIGHT} for n in range(3)]
    base = {"category_id": 1, "iscrowd": 0, "bbox": [4, 4, 20, 20], "area": 400}
    rows = [{"id": n + 1, "image_id": n // 2 + 1, "segmentation": (RLE if n % 2 else [RING]), **base} for n in range(6)]
    good = {"images": images, "annotations": rows, "categories": [{"id": 1, "name": "road"}, {"id": 2, "name": "kerb"}]}
    outcomes: Counter[str] = Counter()
    for seed in range(MUTATIONS):
        chance, document = random.Random(f"coco {seed}"), copy.deepcopy(good)
        for _ in range(chance.randint(1, 2)):
            row = chance.choice(document["annotations"])
            row[chance.choice(("segmentation", "segmentation", "category_id", "iscrowd", "bbox"))] = chance.choice(JUNK)
        (source / "annotations.json").write_text(json.dumps(document))
        summary = imported("coco", source, background=chance.choice((None, "rest")))
        outcomes["refused" if summary is None else "imported"] += 1
        if summary is not None:
            found = images_with_masks(tmp_path / "raw", 3)
            for number in range(3):
                assert (f"d/{number}" in found) != is_named(f"d/{number}.jpg", summary), f"{number} (seed {seed})"
    assert outcomes["imported"] > 0.1 * MUTATIONS


@pytest.mark.parametrize("content", [b"", b"\0" * 64, b"\xff" * 64, b"sky\x1b[31m\n", b"a,b,c", b"[1, 2]"])
@pytest.mark.parametrize("name", ["labelmap.txt", "_classes.csv", "class_names.txt", "data.yaml", "classes.txt"])
def test_any_file_of_classes_is_read_or_named(tmp_path: Path, name: str, content: bytes) -> None:
    files = {"images/a.jpg": encoded_image("a"), "masks/a.png": png(mask()), name: content}
    summary = imported("masks", write(tmp_path / "source", files))
    assert summary is None or images_with_masks(tmp_path / "raw", 254) == {"a"}
