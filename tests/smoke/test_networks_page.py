"""The package that docs/networks.md shows is installed as it is there, and its network passes the smoke test."""

import re
import sys
from pathlib import Path

import pytest
import yaml

from robot_assets.pipeline.models import TrainedModel
from robot_assets.pipeline.params import parse_params
from robot_assets.smoke.check import check
from robot_assets.tasks.building import build
from robot_assets.tasks.registry import task_of
from tests.own_networks import forget
from tests.plugins import install_documented
from tests.sample_params import sample_document

PAGE = (Path(__file__).parents[2] / "docs" / "networks.md").read_text()
BLOCKS = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) if "..." not in text]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = str(install_documented(PAGE, "packages/acme_nets/", tmp_path_factory.mktemp("acme")))
    sys.path.insert(0, path)
    document = sample_document()
    document["models"] |= BLOCKS[0]["models"]
    found = parse_params(document).models["pico_detector"]
    assert isinstance(found, TrainedModel)
    yield found
    sys.path.remove(path)
    forget()


def test_the_network_of_the_page_trains_is_quantized_and_exports(model):
    classes = tuple(sample_document()["datasets"]["sidewalk"]["classes"])
    [pattern, wide] = BLOCKS[1]["quantization"]["float_layers"]
    result = check(model.definition, model.interface(classes), float_layers=[pattern, wide])
    assert f"{result.parameters:,} parameters" in PAGE
    assert {one.reason for one in result.in_float} >= {f"float_layers has {pattern}", f"float_layers has {wide}"}


def test_the_page_has_the_heads_of_its_network(model):
    classes = tuple(sample_document()["datasets"]["sidewalk"]["classes"])
    interface = model.interface(classes)
    assert ", ".join(f"{head.name} {head.shape}" for head in interface.heads) in PAGE
    assert build(model.network, interface).training
    assert task_of(model.task).own_decoder.name == interface.decoder
