"""The gates of a packed data set, on valid and on modified data sets."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from robot_assets.data.checks import check_classes, check_labels, check_leakage
from robot_assets.data.packed import open_split
from robot_assets.data.spec import DatasetSpec
from tests.data.image_sources import read_labels, write_labels

NAME = "field"


def edit_labels(packed: Path, split: str, change: Callable[[dict[str, Any]], None]) -> None:
    document = read_labels(packed / split)
    change(document)
    write_labels(packed / split, document)


def test_a_valid_data_set_passes_every_gate(packed: Path, spec: DatasetSpec) -> None:
    for check in (check_leakage, check_classes, check_labels):
        verdict = check(packed, spec, NAME)
        assert verdict.passed, verdict
        assert verdict.fix == ""
        json.dumps(verdict.facts, allow_nan=False)


def test_a_session_in_two_splits_is_named(packed: Path, spec: DatasetSpec) -> None:
    session = read_labels(packed / "train")["images"][0]["session"]
    edit_labels(packed, "test", lambda d: d["images"][0].update(session=session))
    verdict = check_leakage(packed, spec, NAME)
    assert not verdict.passed
    assert verdict.facts["sessions_in_two_splits"] == [session]
    assert verdict.fix.startswith("robot-assets build datasets/field ")


def replace_first_image(packed: Path, split: str, encoded: bytes) -> None:
    folder = packed / split
    offsets = np.load(folder / "offsets.npy")
    content = (folder / "images.bin").read_bytes()[offsets[1] :]
    (folder / "images.bin").write_bytes(encoded + content)
    offsets[1:] += len(encoded) - offsets[1]
    np.save(folder / "offsets.npy", offsets)


def test_a_near_duplicate_in_two_splits_is_named(packed: Path, spec: DatasetSpec) -> None:
    train = open_split(packed, "train")
    buffer = io.BytesIO()
    Image.fromarray(train.image(3)).point(lambda value: min(255, int(value * 1.05) + 3)).save(buffer, "JPEG")
    replace_first_image(packed, "test", buffer.getvalue())
    verdict = check_leakage(packed, spec, NAME)
    assert not verdict.passed
    assert verdict.facts["near_duplicates_count"] == 1
    names = [f"train: {train.names[3]}", f"test: {open_split(packed, 'test').names[0]}"]
    assert names == verdict.facts["near_duplicates"][0]["images"]
    assert "datasets.field.near_duplicate_bits" in verdict.fix


def test_a_class_missing_from_a_split_is_named(packed: Path, spec: DatasetSpec) -> None:
    edit_labels(packed, "val", lambda d: d.update(annotations=[a for a in d["annotations"] if a["category_id"] != 3]))
    verdict = check_classes(packed, spec, NAME)
    assert not verdict.passed
    assert verdict.summary == "no box of goal post in val"
    assert "datasets.field.exempt_classes" in verdict.fix


def test_an_exempted_class_passes_and_is_named_with_its_reason(packed: Path, spec: DatasetSpec) -> None:
    edit_labels(packed, "val", lambda d: d.update(annotations=[a for a in d["annotations"] if a["category_id"] != 3]))
    exempting = spec.model_copy(update={"exempt_classes": {"goal post": "only on two fields so far"}})
    verdict = check_classes(packed, exempting, NAME)
    assert verdict.passed
    assert "goal post in val (only on two fields so far)" in verdict.summary


def test_an_exemption_covers_its_own_class_only(packed: Path, spec: DatasetSpec) -> None:
    edit_labels(packed, "val", lambda d: d.update(annotations=[a for a in d["annotations"] if a["category_id"] != 1]))
    exempting = spec.model_copy(update={"exempt_classes": {"goal post": "only on two fields so far"}})
    assert check_classes(packed, exempting, NAME).summary == "no box of ball in val"


@pytest.mark.parametrize(
    ("bbox", "fault"),
    [
        ([60, 4, 10, 10], "outside the image of 64x48"),
        ([-1, 4, 10, 10], "outside the image of 64x48"),
        ([4, 4, 10, 60], "outside the image of 64x48"),
        ([4, 4, 0, 10], "degenerate: 0x10 px"),
        ([4, 4, 10, -3], "degenerate: 10x-3 px"),
        ([float("nan"), 4, 10, 10], "not finite"),
    ],
)
def test_an_invalid_box_is_named(packed: Path, spec: DatasetSpec, bbox: list[float], fault: str) -> None:
    edit_labels(packed, "train", lambda d: d["annotations"][1].update(bbox=bbox))
    verdict = check_labels(packed, spec, NAME)
    assert not verdict.passed
    assert "train/annotations.json: annotation 2 of " in verdict.summary
    assert fault in verdict.summary
    assert verdict.facts["faults_count"] == 1


def test_a_duplicate_box_is_named(packed: Path, spec: DatasetSpec) -> None:
    edit_labels(packed, "test", lambda d: d["annotations"].append({**d["annotations"][0], "id": 999}))
    verdict = check_labels(packed, spec, NAME)
    assert not verdict.passed
    assert "annotation 999" in verdict.summary
    assert "duplicate box" in verdict.summary
