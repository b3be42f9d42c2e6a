import json
import re
from pathlib import Path

import pytest
import torch

from robot_assets.core.errors import ParamsError, TrainingError
from robot_assets.tasks.checkpoint import load_config, load_network, save_checkpoint
from robot_assets.tasks.detection.spec import NetworkSpec
from tests.detectors import config, detector

SPEC = NetworkSpec(input_height=64, input_width=64, width=8)
CLASSES = ("ball", "goal post")
CONFIG = config(SPEC, CLASSES)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path, detector(SPEC, CLASSES).state_dict(), CONFIG)
    return tmp_path


def test_a_loaded_network_gives_the_outputs_of_the_saved_one(checkpoint: Path) -> None:
    images = torch.rand(1, 3, 64, 64)
    loaded, found = load_network(checkpoint)

    expected = detector(SPEC, CLASSES).eval()(images)
    assert all(torch.equal(one, other) for one, other in zip(loaded(images), expected, strict=True))
    assert found == CONFIG


def test_the_same_weights_give_the_same_bytes_in_any_memory_format(checkpoint: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    again.mkdir()
    weights = detector(SPEC, CLASSES).to(memory_format=torch.channels_last).state_dict()
    save_checkpoint(again, dict(reversed(weights.items())), CONFIG)
    for name in ("model.safetensors", "config.json"):
        assert (again / name).read_bytes() == (checkpoint / name).read_bytes()


def test_a_mismatch_names_the_leaf_with_the_expected_and_the_found_shape(checkpoint: Path) -> None:
    document = json.loads((checkpoint / "config.json").read_text())
    document["network"]["width"] = 16
    (checkpoint / "config.json").write_text(json.dumps(document))

    text = re.escape("stage4.0.0.weight: expected float32 (16, 16, 3, 3), found float32 (8, 16, 3, 3)")
    with pytest.raises(TrainingError, match=text):
        load_network(checkpoint)


def test_a_missing_and_an_unknown_leaf_are_both_named(checkpoint: Path) -> None:
    weights = detector(SPEC, CLASSES).state_dict()
    weights["unknown"] = weights.pop("stem.0.weight")
    save_checkpoint(checkpoint, weights, CONFIG)

    with pytest.raises(TrainingError) as caught:
        load_network(checkpoint)
    assert "stem.0.weight: expected float32 (16, 3, 3, 3), found nothing" in caught.value.found
    assert "unknown: expected nothing, found float32 (16, 3, 3, 3)" in caught.value.found


def test_truncated_weights_are_refused_with_the_name_of_the_file(checkpoint: Path) -> None:
    weights = checkpoint / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(TrainingError, match=r"model\.safetensors is not a complete safetensors file"):
        load_network(checkpoint)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", ""),
        ("[]", ""),
        ("{}", "'interface' is missing\n"),
    ],
)
def test_an_invalid_config_is_refused_with_the_file(checkpoint: Path, text: str, reason: str) -> None:
    (checkpoint / "config.json").write_text(text)
    with pytest.raises(TrainingError, match=rf"config\.json is not the config of a checkpoint: {reason}"):
        load_config(checkpoint)


@pytest.mark.parametrize(
    ("section", "changes", "reason"),
    [
        ("network", {"input_height": 1}, r"input_height: needed a multiple of 16"),
        ("network", {"colour": 1}, r"colour: unknown key"),
        ("interface", {"heads": None}, r"heads: needed a list"),
    ],
)
def test_an_invalid_field_of_a_config_is_named(checkpoint: Path, section: str, changes: dict, reason: str) -> None:
    document = json.loads((checkpoint / "config.json").read_text())
    document[section] |= changes
    (checkpoint / "config.json").write_text(json.dumps(document))
    with pytest.raises(TrainingError, match=reason):
        load_config(checkpoint)


def test_a_checkpoint_of_a_task_that_is_not_installed_is_refused_with_its_name(checkpoint: Path) -> None:
    document = json.loads((checkpoint / "config.json").read_text())
    document["interface"]["task"] = "depth"
    (checkpoint / "config.json").write_text(json.dumps(document))
    with pytest.raises(ParamsError, match="depth"):
        load_config(checkpoint)


def test_a_missing_checkpoint_is_refused_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"no .*config\.json"):
        load_config(tmp_path)
