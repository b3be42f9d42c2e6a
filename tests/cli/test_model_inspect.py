"""``robot-assets model inspect`` on files as people have them."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml
from onnx import helper

from robot_assets.pipeline.params import parse_params
from tests.cli.commands import command
from tests.foreign.graphs import constant, conv, image, model
from tests.sample_params import sample_document

ANCHORS = 21 * 16
"""Cells of strides 8, 16 and 32 of 128 x 128 pixels."""


def detector(classes: int = 2) -> onnx.ModelProto:
    """One output (1, 4 + classes, anchors), open sizes, opset 12."""
    nodes, constants = conv(0, "images", 3, 8, strides=[8, 8])
    rows = 4 + classes
    sizes = [constant("flat", [1, -1]), constant("target", [1, rows, ANCHORS])]
    weight = constant("w", np.random.default_rng(0).normal(0, 0.1, (8 * 256, rows * ANCHORS)).astype(np.float32))
    nodes += [
        helper.make_node("Reshape", ["conv0", "flat"], ["row"]),
        helper.make_node("MatMul", ["row", "w"], ["values"]),
        helper.make_node("Reshape", ["values", "target"], ["output0"]),
    ]
    return model(nodes, [*constants, *sizes, weight], shape=("n", 3, "h", "w"), opset=12, ir_version=7)


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("inspected")
    onnx.save(detector(), folder / "My Net-v2.onnx")
    return folder / "My Net-v2.onnx"


def test_it_prints_an_entry_of_params_yaml_that_is_valid_once_filled_in(file):
    out = command("model", "inspect", file.name, "--height", 128, "--width", 128, cwd=file.parent).out
    assert "yolov8 (detection)" in out
    assert "float    MatMul_values: a matrix product" in out or "a matrix product" in out
    assert "opset 12 converted to 17" in out
    entry = out[out.index("models:") :]
    for blank, value in (("DATASET", "robocup"), ("TARGET", "cpu"), ("LICENCE", "MIT")):
        entry = entry.replace(blank, value)
    document = sample_document()
    document["models"] |= yaml.safe_load(entry)["models"]
    source = parse_params(document).models["my_net_v2"].source
    assert (source.decoder, source.input_height, source.pointer) == ("yolov8", 128, "My Net-v2.onnx.dvc")


def test_a_machine_gets_json(file):
    found = json.loads(command("model", "inspect", file, "--height", 128, "--width", 128, "--json").out)
    assert found["outputs"] == {"output0": {"shape": [1, 6, ANCHORS], "type": "float32"}}
    assert found["decoders"][0]["classes"] == 2
    assert found["quantized_layers"] == 1


def test_an_open_size_is_asked_for(file):
    error = command("model", "inspect", file, code=1).error
    assert "input 'images' has the shape (n, 3, h, w), which leaves its size open" in error["found"]
    assert "--height and --width" in error["fix"]


def test_names_out_of_a_file_cannot_drive_the_terminal(tmp_path):
    graph = detector()
    graph.graph.output[0].name = "a\x1b[31m[bold]b"
    graph.graph.node[-1].output[0] = "a\x1b[31m[bold]b"
    onnx.save(graph, tmp_path / "net.onnx")
    out = command("model", "inspect", tmp_path / "net.onnx", "--height", 128, "--width", 128).out
    assert "\x1b" not in out
    assert "[bold]b" in out


@pytest.mark.parametrize("content", [b"", b"\x80\x04K\x01.", b"<html>", image().tobytes()])
def test_a_file_that_is_no_onnx_is_an_error_in_three_parts(tmp_path, content):
    (tmp_path / "net.onnx").write_bytes(content)
    error = command("model", "inspect", tmp_path / "net.onnx", code=1).error
    assert "net.onnx" in error["found"]
    assert error["needed"]
    assert error["fix"]
