"""A release is built whole or not at all, with the newest statements, and the same ingredients give the same bytes."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from robot_assets.engines.load import load_engine
from robot_assets.provenance.subjects import BUNDLE
from robot_assets.release import building
from robot_assets.release.building import Ingredients, build_release
from robot_assets.release.errors import ReleaseError
from robot_assets.release.reference import Reference, compare
from robot_assets.release.verifying import verify_release
from tests.small_release import SmallRelease, small_release

NEWER = "2026-04-01T08:00:00+00:00"


@pytest.fixture
def made(tmp_path) -> SmallRelease:
    return small_release(tmp_path / "release", models=("near", "far"))


def statements(release: Path, model: str = "near") -> list[bytes]:
    return (release / model / BUNDLE).read_bytes().splitlines(keepends=True)


def ingredients(made: SmallRelease, model: str = "near", more: list[bytes] | None = None, **changes) -> Ingredients:
    """What a release was built of, read back from it."""
    from robot_assets.engines.load import load_manifest
    from robot_assets.release.bundle import REFERENCE
    from robot_assets.release.reference import read_reference

    folder, asset = made.path / model, made.bundle.models[model].asset
    reference = read_reference(folder / REFERENCE, load_manifest(folder).interface)
    envelopes = [*statements(made.path, model), *(more or [])]
    found = Ingredients(model, asset, folder, envelopes, reference, len(reference.images))
    return replace(found, **changes)


def build(made: SmallRelease, out: Path, *models: Ingredients):
    return build_release("robots", "cpu", models, made.trust, out)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_ingredients_in_any_order_give_the_same_bytes(made, tmp_path):
    near, far = ingredients(made, "near"), ingredients(made, "far")
    shuffled = replace(near, envelopes=[*reversed(near.envelopes), *near.envelopes])
    build(made, tmp_path / "one", near, far)
    build(made, tmp_path / "other", far, shuffled)
    assert contents(tmp_path / "one") == contents(tmp_path / "other") == contents(made.path)


def test_only_the_newest_statements_about_an_engine_are_released(made, tmp_path):
    newer = small_release(tmp_path / "newer", models=("near", "far"), made_at=NEWER)
    mixed = ingredients(made, more=[*statements(newer.path), *statements(newer.path, "far"), b"{}", b"not JSON"])
    build(made, tmp_path / "out", mixed)
    assert sorted(statements(tmp_path / "out")) == sorted(statements(newer.path))


def test_statements_of_other_keys_are_left_out(made, tmp_path):
    stranger = small_release(tmp_path / "stranger", models=("near",), made_at=NEWER, key_seed=bytes(range(5, 37)))
    build(made, tmp_path / "out", ingredients(made, more=statements(stranger.path)))
    assert sorted(statements(tmp_path / "out")) == sorted(statements(made.path))
    assert verify_release(tmp_path / "out", made.trust).passed


def test_a_newer_failure_of_a_gate_is_released_with_the_engine(made, tmp_path):
    failed = small_release(tmp_path / "failed", models=("near",), made_at=NEWER, gates_passed=False)
    build(made, tmp_path / "out", ingredients(made, more=statements(failed.path)))
    assert [check.name for check in verify_release(tmp_path / "out", made.trust).failures] == ["near: gates"]


def test_an_engine_that_no_trusted_key_has_signed_is_refused(made, tmp_path):
    with pytest.raises(ReleaseError, match="no trusted key has signed the provenance of near/engine/cpu") as caught:
        build(made, tmp_path / "out", ingredients(made, envelopes=[]))
    assert caught.value.fix.startswith("robot-assets build near/engine/cpu")
    assert not (tmp_path / "out").exists()


def test_an_engine_under_the_name_of_another_is_refused(made, tmp_path):
    with pytest.raises(ReleaseError, match="far/engine/cpu"):
        build(made, tmp_path / "out", ingredients(made, asset="far/engine/cpu"))


def test_engines_for_different_devices_are_refused(made, tmp_path):
    other = small_release(tmp_path / "other", models=("far",), wrong_fingerprint=True)
    with pytest.raises(ReleaseError, match="built for different devices: far for 0123456789ab, near for"):
        build(made, tmp_path / "out", ingredients(made, "near"), ingredients(other, "far"))


def test_nothing_is_left_of_a_build_that_failed(made, tmp_path, monkeypatch):
    def full(path, reference):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(building, "write_reference", full)
    with pytest.raises(OSError, match="No space"):
        build(made, tmp_path / "place" / "out", ingredients(made))
    assert list((tmp_path / "place").iterdir()) == []


def test_a_gate_compares_more_images_than_a_robot_so_the_share_may_be_larger(made, tmp_path):
    half = ingredients(made, recorded_images=2 * len(ingredients(made).reference.images))
    found = build(made, tmp_path / "out", half).bundle.models["near"]
    assert found.budgets["parity_differing_share_max"] == 0.01
    assert found.tolerance_share == pytest.approx(0.02)


def test_a_target_without_a_budget_of_parity_allows_what_its_gate_has_measured(tmp_path):
    made = small_release(tmp_path / "release", budgets={"parity_differing_share_max": None}, differing_share=0.03)
    found = made.bundle.models["small"]
    assert "parity_differing_share_max" not in found.budgets
    assert found.tolerance_share == pytest.approx(0.035)


def test_the_signed_budgets_are_those_of_the_bundle(tmp_path):
    made = small_release(tmp_path / "release", budgets={"latency_ms_p99_max": 20_000, "load_s_max": 5})
    assert made.bundle.models["small"].budgets == {
        "accuracy_drop_points_max": 1.0,
        "parity_differing_share_max": 0.01,
        "latency_ms_p95_max": 10_000.0,
        "latency_ms_p99_max": 20_000.0,
        "load_s_max": 5.0,
        "memory_mib_max": 2_000.0,
    }


def test_large_reference_images_are_fewer(monkeypatch):
    reference = Reference(np.zeros((4, 16, 16, 3), np.uint8), (np.zeros((4, 2, 16, 16), np.float32),))
    each = reference.size_bytes // 4
    for limit, images in ((4 * each, 4), (3 * each, 3), (each, 1), (1, 1)):
        monkeypatch.setattr(building, "REFERENCE_BYTES_MAX", limit)
        small = building._small(reference)
        assert len(small.images) == len(small.heads[0]) == images


def test_wrong_reference_answers_are_found_by_running_the_engine(tmp_path):
    wrong = small_release(tmp_path / "wrong", wrong_reference=True)
    item = ingredients(wrong, "small")
    with load_engine(item.engine) as engine:
        assert compare(engine.infer, item.reference, engine.manifest.interface).differing_share == 1
    assert verify_release(wrong.path, wrong.trust).passed  # a robot finds it when it proves the engine


def test_the_statements_have_no_key_and_no_path_of_the_machine(made):
    for line in statements(made.path):
        payload = base64.b64decode(json.loads(line)["payload"]).decode()
        assert "PRIVATE" not in payload
        assert str(made.path) not in payload
