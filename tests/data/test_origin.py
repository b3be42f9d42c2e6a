"""Whether a packed data set was made of its raw data, also when either is damaged."""

import contextlib
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from robot_assets.core.errors import RobotAssetsError
from robot_assets.data import checks
from robot_assets.data.dataset import build_dataset
from robot_assets.data.forecast import forecast
from robot_assets.data.origin import other_origin
from robot_assets.data.raw import RawData, load_raw
from robot_assets.data.spec import DatasetSpec


@pytest.fixture(scope="module")
def data(imported: Path) -> RawData:
    return load_raw(imported)


def judged(packed: Path, data: RawData, spec: DatasetSpec) -> str:
    return other_origin(packed, data, spec, forecast(data, spec, "field").plan)


def test_a_build_is_of_its_raw_data_and_parameters(packed: Path, data: RawData, spec: DatasetSpec) -> None:
    assert judged(packed, data, spec) == ""


def test_parameters_that_change_nothing_are_no_other_origin(packed: Path, data: RawData, spec: DatasetSpec) -> None:
    assert judged(packed, data, spec.model_copy(update={"near_duplicate_bits": 3})) == ""
    assert judged(packed, data, spec.model_copy(update={"exempt_classes": {"ball": "rare"}})) == ""


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"calibration_images": 4}, "was packed with other parameters (calibration_images)"),
        ({"classes": ("human", "ball", "goal post")}, "was packed with other parameters (classes)"),
    ],
)
def test_other_parameters_are_named(
    packed: Path, data: RawData, spec: DatasetSpec, change: dict[str, object], found: str
) -> None:
    assert judged(packed, data, spec.model_copy(update=change)) == found


def test_raw_data_that_a_build_would_refuse_is_another_origin(packed: Path, data: RawData, spec: DatasetSpec) -> None:
    greedy = spec.model_copy(update={"calibration_images": 1000})
    assert "was packed with other parameters" in judged(packed, data, greedy)


def test_added_removed_and_changed_images_are_counted(raw: Path, packed: Path, spec: DatasetSpec) -> None:
    document = json.loads((packed / "dataset.json").read_text())
    md5 = document["source_md5"]
    md5["d1/r1/000.jpg"] = "0" * 32
    md5["d9/r1/000.jpg"] = md5.pop("d1/r1/001.jpg")
    (packed / "dataset.json").write_text(json.dumps(document))
    found = judged(packed, load_raw(raw), spec)
    assert found == "was packed from other raw data (1 image added, 1 image removed, 1 image changed)"


def altered(value: Any, chance: random.Random) -> Any:
    """One value somewhere inside is another."""
    if isinstance(value, dict) and value and chance.random() < 0.6:
        key = chance.choice(sorted(value))
        return {**value, key: altered(value[key], chance)}
    if isinstance(value, list) and value and chance.random() < 0.7:
        index = chance.randrange(len(value))
        return [*value[:index], altered(value[index], chance), *value[index + 1 :]]
    return chance.choice([None, 1, -1, 1.5, "x", [], {}, [value], {"a": value}, True, float("nan"), 10**30])


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_data_set_is_another_origin_or_fails_a_gate_in_words(
    packed: Path, data: RawData, spec: DatasetSpec, seed: int
) -> None:
    plan = forecast(data, spec, "field").plan
    chance = random.Random(seed)
    for path in sorted(packed.rglob("*.json")):
        before = path.read_bytes()
        for _ in range(12):
            path.write_text(json.dumps(altered(json.loads(before), chance)))
            if not other_origin(packed, data, spec, plan):
                for check in (checks.check_leakage, checks.check_classes, checks.check_labels):
                    with contextlib.suppress(RobotAssetsError):
                        check(packed, spec, "field")
        path.write_bytes(before)


def test_the_plan_of_a_check_is_that_of_a_build(raw: Path, spec: DatasetSpec, tmp_path: Path) -> None:
    plan = forecast(load_raw(raw), spec, "field").plan
    summary = build_dataset(raw, spec, tmp_path / "out")
    assert plan is not None
    assert plan.sessions == summary.sessions
    assert {split: len(frames) for split, frames in plan.frames.items()} == summary.images


def test_a_forecast_has_every_refusal_that_can_be_known(raw: Path, spec: DatasetSpec) -> None:
    whole = load_raw(raw)
    data = replace(whole, frames=tuple(frame for frame in whole.frames if frame.session == "d1/r1"))
    fewer = spec.model_copy(update={"classes": ("ball", "human")})
    found = [error.found for error in forecast(data, fewer, "field").refusals]
    assert len(found) == 2
    assert "which datasets.field.classes lacks" in found[0]
    assert found[1] == "1 session: cannot be split"
    assert [error.found for error in forecast(data, spec, "field").refusals] == ["1 session: cannot be split"]
