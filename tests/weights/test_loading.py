"""Weights from elsewhere are loaded strictly, and what does not match is named."""

import pickle
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from robot_assets.core.errors import ParamsError, TrainingError
from robot_assets.weights.loading import StartingWeights
from robot_assets.weights.spec import LoadingRules


def network(classes: int = 3) -> nn.Module:
    return nn.ModuleDict(
        {
            "backbone": nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3)),
            "heads": nn.ModuleDict({"cls": nn.Conv2d(8, classes, 1)}),
        }
    )


def load(path, tensors=None, into=None, **rules):
    if tensors is not None:
        save_file({name: value.clone() for name, value in tensors.items()}, path)
    start = StartingWeights("coco", "0" * 32, path, LoadingRules.model_validate(rules))
    return start(into if into is not None else network())


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def test_every_tensor_is_loaded(path):
    given, target = network().state_dict(), network()
    assert load(path, given, target) == "10 tensors from weights.coco"
    assert all(torch.equal(value, given[name]) for name, value in target.state_dict().items())


def test_a_folder_with_one_file_beside_its_licence_is_read(path):
    (path.parent / "LICENSE").write_text("BSD")
    save_file(network().state_dict(), path)
    assert "10 tensors" in StartingWeights("coco", "0" * 32, path.parent, LoadingRules())(network())


def test_half_precision_is_loaded_as_float32(path):
    given = {
        name: value.half() if value.is_floating_point() else value for name, value in network().state_dict().items()
    }
    target = network()
    load(path, given, target)
    assert target["backbone"][0].weight.dtype == torch.float32
    assert torch.equal(target["backbone"][0].weight, given["backbone.0.weight"].float())


def test_files_without_the_counter_of_batch_norms_are_complete(path):
    given = {name: value for name, value in network().state_dict().items() if "num_batches" not in name}
    assert load(path, given) == "9 tensors from weights.coco"


def test_the_difference_of_names_and_shapes_is_shown(path):
    given = network(80).state_dict() | {"neck.weight": torch.zeros(2)}
    del given["backbone.3.bias"]
    with pytest.raises(TrainingError) as caught:
        load(path, given)
    assert "1 missing in the file: backbone.3.bias" in caught.value.found
    assert "1 not in the network: neck.weight" in caught.value.found
    assert (
        "heads.cls.weight: float32 (80, 8, 1, 1) in the file, float32 (3, 8, 1, 1) in the network" in caught.value.found
    )


def test_heads_of_other_classes_are_left_out_by_the_pattern_that_the_error_names(path):
    given, target = network(80).state_dict(), network()
    before = target["heads"]["cls"].weight.clone()
    with pytest.raises(TrainingError) as caught:
        load(path, given, target)
    assert "skip: ['heads.cls.*']" in caught.value.fix
    assert load(path, given, target, skip=["heads.*"]).endswith("2 tensors keep the initial values")
    assert torch.equal(target["heads"]["cls"].weight, before)
    assert torch.equal(target["backbone"][0].weight, given["backbone.0.weight"])


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda name: f"module.{name}", "{'module.': ''}"),
        (lambda name: f"model.net.{name}", "{'model.net.': ''}"),
    ],
)
def test_a_prefix_of_all_names_is_found_and_renamed(path, change, rule):
    given = {change(name): value for name, value in network().state_dict().items()}
    with pytest.raises(TrainingError) as caught:
        load(path, given)
    assert f"rename: {rule}" in caught.value.fix
    assert "10 tensors" in load(path, given, rename={change(""): ""})


def test_a_backbone_alone_is_put_into_its_place(path):
    given = {name.removeprefix("backbone."): value for name, value in network().state_dict().items() if "back" in name}
    with pytest.raises(TrainingError, match=r"rename: \{'': 'backbone\.'\}"):
        load(path, given)
    assert "8 tensors" in load(path, given, rename={"": "backbone."}, skip=["heads.*"])


@pytest.mark.parametrize(
    ("rules", "text"),
    [
        ({"skip": ["head.*"]}, "weights.coco.skip: 'head.*' fits no tensor of the network; did you mean 'heads.*'"),
        ({"rename": {"modul.": ""}}, "weights.coco.rename: 'modul.' fits no tensor of the file"),
        ({"rename": {"backbone.0.": "x", "backbone.3.": "x"}}, "two tensors of the file become 'xweight'"),
    ],
)
def test_rules_that_fit_nothing_are_refused(path, rules, text):
    with pytest.raises(ParamsError) as caught:
        load(path, network().state_dict(), **rules)
    assert text in caught.value.found


def test_weights_that_are_not_finite_are_named(path):
    given = network().state_dict()
    given["backbone.0.weight"] = torch.full_like(given["backbone.0.weight"], float("nan"))
    with pytest.raises(TrainingError, match=r"1 tensor has values that are not finite: backbone\.0\.weight"):
        load(path, given)


class Touch:
    """Unpickling it creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_pickle_under_the_name_of_a_safetensors_file_is_refused_without_being_read(path):
    touched = path.parent / "touched"
    path.write_bytes(pickle.dumps(Touch(touched)))
    with pytest.raises(TrainingError, match=r"model\.safetensors is a pickle"):
        load(path)
    assert not touched.exists()


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_the_command_in_the_error_converts_a_file_of_torch(path, suffix):
    given = network().state_dict()
    found = path.with_suffix(suffix)
    torch.save({"state_dict": given}, found)
    with pytest.raises(TrainingError, match="a zip of torch") as caught:
        load(found)
    command = caught.value.fix.partition("   #")[0].replace("python", sys.executable, 1)
    subprocess.run(command, shell=True, check=True, cwd=path.parent)
    assert load(path) == "10 tensors from weights.coco"


def test_errors_name_the_file_as_the_pointer_does(path):
    path.write_bytes(pickle.dumps({}))
    start = StartingWeights("coco", "0" * 32, path, LoadingRules(), "data/weights/a net.safetensors")
    with pytest.raises(TrainingError, match=r"data/weights/a net\.safetensors is a pickle") as caught:
        start(network())
    assert caught.value.fix.endswith("# then: dvc add 'data/weights/a net.safetensors'")


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (b"version https://git-lfs.github.com/spec/v1", "a pointer of Git LFS"),
        (b"<!DOCTYPE html>", "a web page"),
        (b"outs:\n- md5: 1", r"a \.dvc pointer"),
        (b"", "is not a complete safetensors file"),
        (b"\x10\x00", "is not a complete safetensors file"),
    ],
)
def test_other_files_are_named(path, payload, text):
    path.write_bytes(payload)
    with pytest.raises(TrainingError, match=text):
        load(path)


def test_a_truncated_file_is_refused(path):
    save_file(network().state_dict(), path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(TrainingError, match="is not a complete safetensors file"):
        load(path)


def test_a_folder_with_shards_is_refused(path):
    for number in (1, 2):
        save_file(network().state_dict(), path.with_name(f"model-{number}.safetensors"))
    with pytest.raises(TrainingError, match="2 safetensors files"):
        load(path.parent)
