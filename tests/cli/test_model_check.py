"""``robot-assets model check``: a network is checked on the command line, as a user sees it."""

import json

import pytest
import yaml

from tests.cli.commands import command
from tests.sample_params import sample_document


@pytest.fixture
def project(tmp_path):
    document = sample_document()
    document["models"]["sidewalk_detector"]["network"] |= {"input_height": 64, "input_width": 64, "width": 8}
    document["models"]["own"] = {
        **document["models"]["sidewalk_detector"],
        "network": {"kind": "acme_nets.pico:Pico", "input_height": 64, "input_width": 64, "heads": {"strides": [8]}},
    }
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(document))
    return tmp_path


def test_each_step_is_printed_with_what_was_found(project):
    printed = command("model", "check", "sidewalk_detector", cwd=project).out.splitlines()
    steps = [line.split()[0] for line in printed[:-1]]
    assert steps == ["build", "images", "forward", "backward", "quantize", "export", "operators", "compare"]
    assert printed[-1].startswith("The network trains, is quantized and exports: 28 layers in int8 (")


def test_a_machine_gets_json_alone(project):
    document = json.loads(command("model", "check", "sidewalk_detector", "--json", cwd=project).out)
    assert len(document["quantized_layers"]) == 28
    assert document["heads"]["cls_s8"] == [1, 6, 8, 8]


def test_a_name_that_is_no_model_has_the_near_miss(project):
    error = command("model", "check", "sidewalk_detectr", code=1, cwd=project).error
    assert "did you mean 'sidewalk_detector'?" in error["found"]


def test_a_network_whose_package_is_not_installed_is_named_with_the_command_that_installs_it(project):
    source = project / "packages" / "acme_nets"
    (source / "acme_nets").mkdir(parents=True)
    (source / "pyproject.toml").write_text("[project]\nname = 'acme-nets'\n")
    error = command("model", "check", "own", code=1, cwd=project).error
    assert "the package acme_nets is not installed" in error["found"]
    assert error["fix"] == "pip install -e packages/acme_nets"
