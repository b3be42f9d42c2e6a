"""Mutated labels and images, from seeds: an import gives all boxes of an image, or names it; nothing else is raised.

``MUTATIONS=10000`` runs that many of each kind instead of the few of the ordinary suite.
"""

import json
import os
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from robot_assets.core.errors import DataError
from robot_assets.core.label_issues import BadItem, LabelIssue
from robot_assets.data.images import inspect_image
from robot_assets.data.importing.importer import ImportRefused, ImportSummary, import_dataset, quarantine_path
from tests.data.image_sources import CLASSES, encoded_image, read_labels, write_coco, write_labels

MUTATIONS = int(os.environ.get("MUTATIONS", "300"))
ITEMS = 50
"""Mutated files of one import."""
SEEDS = range(max(1, MUTATIONS // ITEMS))
GOOD_ROWS = ("0 0.5 0.5 0.25 0.25", "1 0.25 0.5 0.2 0.3", "2 0.75 0.5 0.1 0.4")
ROWS = (
    *GOOD_ROWS,
    "3 0.5 0.5 0.25 0.25",
    "-1 0.5 0.5 0.2 0.2",
    "0.0 0.4 0.4 0.2 0.2",
    "0 0.1 0.1 0.3 0.1 0.3 0.3",
    "0 0.1 0.1 0.3 0.1 0.3 0.3 0.1 0.3",
    "0 0.5 0.5 0.25 0.25 0.9",
    "0 24 18 16 12",
    "0,0.5,0.5,0.25,0.25",
    "0 0.98 0.5 0.05 0.25",
    "0 1.2 0.5 0.05 0.25",
    "0 0.5 0.5 0 0",
    "0 nan 0.5 0.1 0.1",
    "0 0.5 inf 0.1 0.1",
    "0 1e400 0.5 0.1 0.1",
    "0 0.5 0.5 0.2_5 0.25",
    "٣ 0.5 0.5 0.2 0.2",
    "\x1b[31m",
    "# a comment",
    "ball 0.5 0.5 0.2 0.2",
    "",
    "   ",
)
JUNK: tuple[Any, ...] = (
    None, True, 0, -1, 1.5, 10, 11, "10", "", "x", [], {}, [1], {"a": 1}, 10**400, float("nan"), float("inf"), 2**53,
    "../../etc/passwd", "/etc/passwd", "a\\b.png", "\0", "\udce9", "d/000.png", "d/001.png", "images/d/000.png",
    [4, 4, 20, 10], [4, 4, -1, 10], ["4", 4, 20, 10], [0, 0, 0, 0], [1e308, 1e308, 1e308, 1e308],
)  # fmt: skip


def imported(format: str, source: Path, base: Path) -> ImportSummary | None:
    """The summary of an import with quarantine, or None when it is refused; checks that nothing else was written."""
    before, refusal, summary = files_below(source), None, None
    try:
        summary = import_dataset(format, source, base / "raw", quarantine=True)
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


def files_below(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_size for path in sorted(folder.rglob("*"))}


def boxes_by_image(raw: Path) -> dict[str, int]:
    """Number of boxes of each imported image, whose file is there."""
    document = read_labels(raw)
    counts = Counter(annotation["image_id"] for annotation in document["annotations"])
    names = {image["file_name"]: counts[image["id"]] for image in document["images"]}
    files = {str(path.relative_to(raw / "images")) for path in (raw / "images").rglob("*") if path.is_file()}
    assert files == set(names)
    return names


def is_named(name: str, issues: tuple[LabelIssue, ...]) -> bool:
    stem = name.rpartition(".")[0]
    return any(issue.place.startswith((stem + ".", f"{stem}:")) for issue in issues)


def yolo_source(base: Path) -> Path:
    """One image that stays good, and ``ITEMS`` others."""
    source = base / "source"
    (source / "d").mkdir(parents=True)
    (source / "obj.names").write_text("\n".join(CLASSES) + "\n")
    for number in range(ITEMS + 1):
        (source / "d" / f"{number:03}.jpg").write_bytes(encoded_image(str(number)))
        (source / "d" / f"{number:03}.txt").write_text("\n".join(GOOD_ROWS) + "\n")
    return source


def mutated_bytes(chance: random.Random, content: bytes) -> bytes:
    """``content`` with a few bytes replaced, removed, inserted or cut off."""
    mutated = bytearray(content)
    for _ in range(chance.randint(1, 5)):
        at = chance.randrange(len(mutated) + 1)
        if chance.random() < 0.1:
            del mutated[at:]
        mutated[at : at + chance.randint(0, 4)] = chance.randbytes(chance.randint(0, 4))
    return bytes(mutated)


def mutated_label(chance: random.Random) -> bytes | None:
    """Text of a label file; None for a missing one."""
    rows = chance.sample(ROWS, chance.randint(0, 4)) if chance.random() < 0.7 else list(GOOD_ROWS)
    text = chance.choice(("\n", "\r\n", "\n\n", "\r")).join(rows)
    kind = chance.random()
    if kind < 0.1:
        return None
    if kind < 0.2:
        return text.encode(chance.choice(("utf-16", "utf-8-sig", "utf-32", "utf-16-be")))
    return mutated_bytes(chance, text.encode()) if kind < 0.6 else text.encode()


def rows_in(content: bytes) -> int:
    """Rows of a label file that are not blank, whatever they have."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        content = content.decode("utf-16").encode()
    rows = re.split(rb"[\r\n]", content.removeprefix(b"\xef\xbb\xbf"))
    return sum(bool(row.decode("utf-8", "replace").split()) for row in rows)


@pytest.mark.parametrize("kind", ["labels", "images"])
def test_an_image_is_imported_with_all_its_boxes_or_named(kind: str, tmp_path: Path) -> None:
    source = yolo_source(tmp_path)
    mutate = {"labels": mutate_labels, "images": mutate_images}[kind]
    left_out = 0
    for seed in SEEDS:
        expected = dict(mutate(random.Random(f"{kind} {seed}"), source))
        summary = imported("yolo", source, tmp_path)
        assert summary is not None, f"one image is good (seed {seed})"
        found = boxes_by_image(tmp_path / "raw")
        for name, rows in expected.items():
            assert found.get(name, rows) == rows, f"{name} lost boxes (seed {seed})"
            assert name in found or is_named(name, summary.quarantined), f"{name} is lost (seed {seed})"
        assert set(found) <= {*expected, "d/000.jpg"}
        left_out += ITEMS + 1 - len(found)
    assert 0.1 < left_out / (ITEMS * len(SEEDS)) < 0.95, "mutations of both outcomes"


def mutate_labels(chance: random.Random, source: Path) -> Iterator[tuple[str, int]]:
    """Mutate all labels but the first; yield each image and the number of its rows."""
    for number in range(1, ITEMS + 1):
        content, label = mutated_label(chance), source / "d" / f"{number:03}.txt"
        label.unlink(missing_ok=True)
        if content is not None:
            label.write_bytes(content)
        yield f"d/{number:03}.jpg", -1 if content is None else rows_in(content)


def mutate_images(chance: random.Random, source: Path) -> Iterator[tuple[str, int]]:
    """Mutate all images but the first; yield each image and the number of its rows."""
    for number in range(1, ITEMS + 1):
        content = encoded_image(str(number), format=chance.choice(("JPEG", "JPEG", "PNG", "BMP", "WEBP")))
        (source / "d" / f"{number:03}.jpg").write_bytes(mutated_bytes(chance, content))
        yield f"d/{number:03}.jpg", len(GOOD_ROWS)


def test_an_imported_image_has_the_size_that_decoding_gives(tmp_path: Path) -> None:
    source = yolo_source(tmp_path)
    for seed in SEEDS[:20]:
        dict(mutate_images(random.Random(f"sizes {seed}"), source))
        imported("yolo", source, tmp_path)
        for image in read_labels(tmp_path / "raw")["images"]:
            content = (source / image["file_name"]).read_bytes()
            assert (tmp_path / "raw/images" / image["file_name"]).read_bytes() == content
            try:
                facts = inspect_image(content, "a.jpg")
            except BadItem:  # `data check` names it
                continue
            assert (image["width"], image["height"]) == (facts.width, facts.height)


def test_mutated_coco_labels_lose_nothing_without_a_word(tmp_path: Path) -> None:
    source = write_coco(tmp_path / "source", {"d": 3})
    good = (source / "annotations.json").read_text()
    outcomes: Counter[str] = Counter()
    for seed in range(MUTATIONS):
        chance = random.Random(f"coco {seed}")
        document = json.loads(good)
        for _ in range(chance.randint(1, 3)):
            chance.choice((mutate_field, mutate_field, mutate_field, mutate_row, mutate_table))(chance, document)
        write_labels(source, document)
        summary = imported("coco", source, tmp_path)
        outcomes["refused" if summary is None else "imported"] += 1
        if summary is not None:
            check_coco(document, summary, tmp_path / "raw", seed)
    assert min(outcomes.values()) > 0.1 * MUTATIONS, "mutations of both outcomes"


def check_coco(document: dict[str, Any], summary: ImportSummary, raw: Path, seed: int) -> None:
    """Every imported image has all of its annotations; images and annotations that are left out are named."""
    found = boxes_by_image(raw)
    rows = [row for row in document["annotations"] if isinstance(row, dict)]
    ids = Counter(key(row.get("image_id")) for row in rows)
    images = [row for row in document["images"] if isinstance(row, dict)]
    for name, boxes in found.items():
        entries = [row for row in images if str(row.get("file_name")).replace("\\", "/").endswith(name)]
        assert [ids[key(row.get("id"))] for row in entries] == [boxes], f"{name} lost boxes (seed {seed})"
    is_complete = (len(found), sum(found.values())) == (len(document["images"]), len(document["annotations"]))
    assert is_complete or summary.quarantined, f"something is left out without a word (seed {seed})"


def key(value: object) -> object:
    """An id in one form: 1, 1.0 and "1" are the same."""
    try:
        return float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else str(value)
    except (ValueError, OverflowError):
        return str(value)


def mutate_field(chance: random.Random, document: dict[str, Any]) -> None:
    """Replace or remove a field of a row, or add one."""
    rows = [row for table in document.values() if isinstance(table, list) for row in table if isinstance(row, dict)]
    if not rows:
        return
    row = chance.choice(rows)
    field = chance.choice([*row, "segmentation"])
    if chance.random() < 0.1:
        row.pop(field, None)
    else:
        row[field] = chance.choice(JUNK)


def mutate_row(chance: random.Random, document: dict[str, Any]) -> None:
    """Replace, repeat or remove a row."""
    tables = [table for table in document.values() if isinstance(table, list) and table]
    if not tables:
        return
    table = chance.choice(tables)
    at = chance.randrange(len(table))
    change: Callable[[], object] = chance.choice(
        (lambda: table.pop(at), lambda: table.append(table[at]), lambda: table.insert(at, chance.choice(JUNK)))
    )
    change()


def mutate_table(chance: random.Random, document: dict[str, Any]) -> None:
    """Replace or remove a table, rarely."""
    if chance.random() < 0.3:
        document[chance.choice(("images", "annotations", "categories", "info"))] = chance.choice(JUNK)
