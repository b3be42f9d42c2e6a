"""Networks of an installed package are built with a seed, and what does not fit is named."""

import copy
import re

import pytest
import torch

from robot_assets.core.errors import ParamsError, TrainingError
from robot_assets.lineage.code import Code
from robot_assets.lineage.errors import LineageError
from robot_assets.tasks.building import build
from robot_assets.tasks.detection.task import TASK
from robot_assets.tasks.networks import network_code
from tests.own_networks import installed, interface, own


@pytest.fixture(scope="module", autouse=True)
def package(tmp_path_factory):
    with installed(tmp_path_factory.mktemp("acme")) as path:
        yield path


def built(network, seed=0):
    return build(network, interface(network), seed)


def images(count=2):
    return torch.rand(count, 3, 32, 32)


def test_the_seed_determines_the_weights_and_the_global_generator_is_not_touched():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first, again, other = (built(own(classes=3), seed).state_dict() for seed in (5, 5, 6))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    assert not torch.equal(first["stem.0.weight"], other["stem.0.weight"])


@pytest.mark.parametrize("answer", ["mapping", "tuple", "list"])
def test_heads_are_a_tuple_in_the_order_of_the_interface(answer):
    network = built(own(classes=3, answer=answer))
    for module in (network, copy.deepcopy(network)):
        assert [tuple(head.shape) for head in module(images())] == [(2, 3, 4, 4), (2, 4, 4, 4)]


def test_the_state_has_the_names_of_the_class():
    assert "heads.cls_s8.weight" in built(own(classes=3)).state_dict()


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ({"classes": 5}, "head cls_s8 is (N, 5, 4, 4)"),
        ({"classes": 3, "answer": "one"}, "it returns 1 head: (N, 3, 4, 4)"),
        ({"classes": 3, "answer": "text"}, "it returns a str"),
        ({"classes": 3, "answer": "names"}, "it returns a mapping without cls_s8 and with scores"),
        ({"classes": 3, "answer": "integers"}, "head cls_s8 is int64"),
        ({"classes": 3, "answer": "none"}, "head box_s8 is a NoneType"),
    ],
)
def test_other_heads_than_those_of_the_interface_are_named_with_their_shapes(arguments, found):
    network = built(own(**arguments))
    with pytest.raises(TrainingError, match=re.escape(f"acme_nets.pico:Pico: {found}")) as caught:
        network(images())
    assert "cls_s8 (N, 3, 4, 4), box_s8 (N, 4, 4, 4)" in caught.value.needed


@pytest.mark.parametrize(
    ("kind", "found", "fix"),
    [
        ("acme_net.pico:Pico", "the package acme_net is not installed in", "pip install -e FOLDER"),
        ("acme_nets.pica:Pico", "unknown module 'pica'; did you mean 'pico'?", "add pica.py to the package acme_nets"),
        (
            "acme_nets.pico:Pica",
            "unknown class 'Pica'; did you mean 'Pico'? networks: ",
            "correct network.kind",
        ),
        ("acme_nets.pico:NotANetwork", "is a class of object, not a class of torch.nn.Module", "torch.nn.Module"),
        ("acme_nets.pico:function", "is a function, not a class of torch.nn.Module", "torch.nn.Module"),
        ("acme_nets.pico:CONSTANT", "is a int, not a class of torch.nn.Module", "torch.nn.Module"),
        ("acme_nets.needs:Pico", "imports a_library_that_nobody_has, which is not installed", "pip install a_library"),
        ("acme_nets.broken:Pico", "RuntimeError: no licence server (", "correct the module"),
        ("acme_nets.syntax:Pico", "SyntaxError: ", "correct the module"),
        ("acme_nets.pico:Uninitialized", "does not call super().__init__()", "call super().__init__() first"),
    ],
)
def test_a_class_that_cannot_be_built_is_named_with_the_fix(kind, found, fix):
    with pytest.raises(ParamsError) as caught:
        built(own(kind))
    assert found in caught.value.found
    assert fix in caught.value.fix


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ({"klasses": 3}, "unknown argument 'klasses'; did you mean 'classes'? arguments: answer, classes, width"),
        ({}, "missing a required argument: 'classes'"),
        ({"classes": 3, "answer": "raises"}, "FileNotFoundError: no /models/anchors.npy ("),
        ({"classes": "three"}, "its constructor raises TypeError"),
    ],
)
def test_arguments_that_the_class_does_not_take_are_named(arguments, found):
    with pytest.raises(ParamsError) as caught:
        built(own(**arguments))
    assert found in caught.value.found


def test_a_package_with_its_source_nearby_is_installed_by_the_fix(tmp_path, monkeypatch):
    (tmp_path / "nets" / "src" / "yard_nets").mkdir(parents=True)
    (tmp_path / "nets" / "pyproject.toml").write_text("[project]\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ParamsError) as caught:
        built(own("yard_nets.net:Net"))
    assert caught.value.fix == "pip install -e nets"


def test_the_source_of_the_class_is_part_of_the_code_version(package):
    network = own(classes=3)
    file = package / "acme_nets" / "pico.py"
    text = file.read_text()
    versions = []
    try:
        for change in (("SiLU", "SiLU"), ("# Fits", "# Fits"), ("nn.SiLU()", "nn.ReLU()")):
            file.write_text(text.replace(*change))
            versions.append(Code().version(network_code(network, TASK), {}))
    finally:
        file.write_text(text)
    assert versions[0] == versions[1] != versions[2]


def test_a_single_file_is_no_package(tmp_path, monkeypatch):
    (tmp_path / "lonely.py").write_text("class Net: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(LineageError, match="lonely"):
        Code().version(network_code(own("lonely:Net"), TASK), {})
