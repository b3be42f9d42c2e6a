import json
import re
from pathlib import Path

import pytest
import torch

from robot_assets.core.errors import TrainingError
from robot_assets.tasks.detection.checkpoint import load_config, load_network, save_checkpoint
from robot_assets.tasks.detection.network import build_network
from robot_assets.tasks.detection.spec import NetworkSpec

SPEC = NetworkSpec(input_height=64, input_width=64, width=8)
CLASSES = ("ball", "goal post")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path, build_network(SPEC, 2).state_dict(), SPEC, CLASSES)
    return tmp_path


def test_a_loaded_network_gives_the_outputs_of_the_saved_one(checkpoint: Path) -> None:
    images = torch.rand(1, 3, 64, 64)
    loaded, config = load_network(checkpoint)

    expected = build_network(SPEC, 2).eval()(images)
    assert all(torch.equal(one, other) for one, other in zip(loaded(images), expected, strict=True))
    assert (config.network, config.classes) == (SPEC, CLASSES)


def test_the_same_weights_give_the_same_bytes_in_any_memory_format(checkpoint: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    again.mkdir()
    weights = build_network(SPEC, 2).to(memory_format=torch.channels_last).state_dict()
    save_checkpoint(again, dict(reversed(weights.items())), SPEC, CLASSES)
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
    weights = build_network(SPEC, 2).state_dict()
    weights["unknown"] = weights.pop("stem.0.weight")
    save_checkpoint(checkpoint, weights, SPEC, CLASSES)

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
        ('{"network": {"input_height": 1}, "classes": []}', r"network\.input_height: needed a multiple of 16; "),
        ('{"network": {"input_height": 64}, "classes": []}', r"network\.input_width: missing\n"),
        ("{}", "'network' is missing\n"),
    ],
)
def test_an_invalid_config_is_refused_with_the_file_and_the_field(checkpoint: Path, text: str, reason: str) -> None:
    (checkpoint / "config.json").write_text(text)
    with pytest.raises(TrainingError, match=rf"config\.json is not the config of a checkpoint: {reason}"):
        load_config(checkpoint)


def test_a_missing_checkpoint_is_refused_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"no .*config\.json"):
        load_config(tmp_path)
