"""``engine inspect`` and ``engine compare`` as a person and as a machine call them."""

import json
import shutil

import pytest
from typer import Typer
from typer.testing import CliRunner

from robot_assets.cli import inspection
from robot_assets.core.errors import EngineError
from robot_assets.engines.load import load_manifest
from robot_assets.export.onnx_export import export_float
from robot_assets.runtime.manifest import save_manifest
from tests.detector_chain import whole

app = Typer()
app.command()(inspection.inspect)
app.command()(inspection.compare)


@pytest.fixture(autouse=True)
def _on_a_robot(tmp_path, monkeypatch):
    """No project around."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ROBOT_ASSETS_PROJECT", raising=False)


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


def engine_for_another_device(folder):
    shutil.copytree(whole().engine, folder)
    manifest = load_manifest(folder)
    there = manifest.platform | {"onnxruntime": "1.0.0"}
    save_manifest(folder, manifest.model_copy(update={"platform": there, "platform_fingerprint": "0" * 32}))
    return folder


def test_inspect_tells_a_person_what_an_engine_is():
    shown = invoke("inspect", whole().engine).stdout
    assert "images 1x3x64x96" in shown
    assert "18 QLinearConv" in shown
    assert "red, green, blue" in shown
    assert "runs here" in shown


def test_inspect_lists_every_layer_with_its_arithmetic():
    found = json.loads(invoke("inspect", whole().engine, "--layers", "--json").stdout)
    counted = [layer for layer in found["layers"] if layer["arithmetic"] == "int8" and layer["kind"] == "QLinearConv"]
    assert len(counted) == found["manifest"]["kernels"]["int8"]["QLinearConv"]
    assert "QLinearConv" in invoke("inspect", whole().engine, "--layers").stdout


def test_an_engine_for_another_device_is_inspected_and_says_what_differs(tmp_path):
    folder = engine_for_another_device(tmp_path / "engine")
    assert json.loads(invoke("inspect", folder, "--json").stdout)["runs_here"] is False
    assert "there" in invoke("inspect", folder).stdout


def test_an_engine_whose_bytes_are_not_its_manifests_is_refused(tmp_path):
    shutil.copytree(whole().engine, tmp_path / "engine")
    (tmp_path / "engine" / "engine.onnx").chmod(0o644)
    (tmp_path / "engine" / "engine.onnx").write_bytes(b"other")
    with pytest.raises(EngineError, match="its manifest says"):
        invoke("inspect", tmp_path / "engine")


def test_an_engine_is_near_the_onnx_that_it_was_built_from():
    arguments = ("compare", whole().engine, whole().onnx, "--data", whole().dataset, "--inferences", "10")
    found = json.loads(invoke(*arguments, "--json").stdout)
    assert found["parity"]["compared_on"] == "12 images of the test split"
    assert 0 <= found["parity"]["differing_share"] < 0.2
    assert abs(found["first"]["map50"] - found["second"]["map50"]) < 0.1
    assert found["first"]["layers"]["int8"] > found["second"]["layers"]["int8"]
    assert found["second"]["latency"]["inferences"] == 10
    shown = invoke(*arguments).stdout
    assert "mAP@50 on test" in shown
    assert "latency p95" in shown


def test_an_engine_beside_itself_has_no_differences():
    found = json.loads(invoke("compare", whole().engine, whole().engine, "--inferences", "10", "--json").stdout)
    assert found["parity"]["differing_share"] == 0
    assert found["parity"]["compared_on"] == "16 images of noise"
    assert found["manifest_differences"] == found["layer_differences"] == {}


def test_engines_that_differ_in_threads_say_so(tmp_path):
    shutil.copytree(whole().engine, tmp_path / "engine")
    manifest = load_manifest(tmp_path / "engine")
    (tmp_path / "engine" / "manifest.json").chmod(0o644)
    save_manifest(tmp_path / "engine", manifest.model_copy(update={"threads": 2}))
    arguments = ("compare", whole().engine, tmp_path / "engine", "--inferences", "10")
    assert json.loads(invoke(*arguments, "--json").stdout)["manifest_differences"] == {"threads": [1, 2]}
    assert "threads" in invoke(*arguments).stdout


def test_a_float_onnx_file_is_compared_too(tmp_path):
    export_float(whole().checkpoint, tmp_path / "float.onnx")
    found = json.loads(
        invoke("compare", whole().engine, tmp_path / "float.onnx", "--inferences", "10", "--json").stdout
    )
    assert found["second"]["kind"] == "onnx"
    assert "int8" not in found["second"]["layers"]
    assert found["parity"]["largest_differences"]["cells"] > 0


def graph_that_adds_one(path):
    import onnx
    from onnx import TensorProto, helper

    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    one = helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0])
    graph = helper.make_graph([helper.make_node("Add", ["x", "one"], ["y"])], "g", [value], [out], [one])
    onnx.save(helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


def test_a_graph_of_another_shape_is_refused_with_both(tmp_path):
    with pytest.raises(EngineError, match=r"has inputs and outputs x 1, y 1(?s:.)*images 1x3x64x96"):
        invoke("compare", whole().engine, graph_that_adds_one(tmp_path / "other.onnx"))


def test_what_is_neither_an_engine_nor_an_onnx_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(EngineError, match="neither an engine nor an ONNX"):
        invoke("compare", whole().engine, tmp_path / "empty")


@pytest.mark.parametrize("verb", ["inspect", "compare"])
def test_help_has_an_example(verb):
    assert "Example: robot-assets engine" in invoke(verb, "--help").stdout
