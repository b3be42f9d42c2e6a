"""The ONNX export of real quantized models, and the parity gate."""

import json
import shutil

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from robot_assets.core.errors import ExportError
from robot_assets.export.onnx_export import export_float, export_onnx
from robot_assets.export.parity import check_parity
from tests.detector_chain import INTERFACE, whole
from tests.detectors import CLASSES


def files_of(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_the_file_is_complete_with_the_declared_input_and_outputs():
    model = onnx.load(whole().onnx / "model.onnx", load_external_data=False)
    onnx.checker.check_model(model, full_check=True)
    [images] = model.graph.input
    assert images.name == "images"
    assert [one.dim_value for one in images.type.tensor_type.shape.dim] == [1, 3, 64, 96]
    assert tuple(output.name for output in model.graph.output) == INTERFACE.head_names


def test_weights_are_stored_as_int8():
    model = onnx.load(whole().onnx / "model.onnx")
    kinds = {str(numpy_helper.to_array(one).dtype) for one in model.graph.initializer if len(one.dims) == 4}
    assert kinds == {"int8"}


def test_exporting_again_gives_the_same_bytes(tmp_path):
    chain = whole()
    export_onnx(chain.checkpoint, chain.ptq, chain.qat, chain.dataset, tmp_path / "again")
    assert files_of(tmp_path / "again") == files_of(chain.onnx)


def test_the_file_contains_no_trace_of_the_machine():
    payload = (whole().onnx / "model.onnx").read_bytes()
    for trace in (b"/root/", b"/home/", b"site-packages", b".py", str(whole().onnx.parent).encode()):
        assert trace not in payload


def test_the_card_contains_the_choice_and_its_reason():
    card = json.loads((whole().onnx / "model.json").read_bytes())
    assert card["interface"] == INTERFACE.model_dump(mode="json")
    assert card["choice"]["method"] in ("ptq", "qat")
    assert set(card["choice"]["scores_val"]) == {"checkpoint", "ptq", "qat", "fp32_control"}
    assert card["choice"]["because"]


def test_parity_passes_on_the_exported_files():
    chain = whole()
    verdict = check_parity(chain.onnx, chain.dataset)
    assert verdict.passed, verdict.summary
    assert verdict.fix == ""
    assert verdict.facts["differing_share"] <= 0.005


def test_parity_fails_on_a_graph_with_other_outputs(tmp_path):
    chain = whole()
    shutil.copytree(chain.onnx, tmp_path / "onnx")
    model = onnx.load(tmp_path / "onnx" / "model.onnx")
    heads = {output.name for output in model.graph.output}
    for node in model.graph.node:
        if node.op_type == "Conv" and node.output[0] in heads:
            bias = next(one for one in model.graph.initializer if one.name == node.input[2])
            bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + np.float32(0.5), bias.name))
    onnx.save(model, tmp_path / "onnx" / "model.onnx")
    verdict = check_parity(tmp_path / "onnx", chain.dataset)
    assert not verdict.passed
    assert verdict.facts["differing_share"] >= 4 / (4 + len(CLASSES))  # every box, and the scores above background
    assert "rebuild the onnx asset" in verdict.fix


def test_an_artifact_without_its_reference_is_refused(tmp_path):
    chain = whole()
    shutil.copytree(chain.onnx, tmp_path / "onnx")
    (tmp_path / "onnx" / "reference.safetensors").unlink()
    with pytest.raises(ExportError, match="reference"):
        check_parity(tmp_path / "onnx", chain.dataset)


def test_a_quantized_model_of_another_network_is_refused(tmp_path):
    chain = whole()
    shutil.copytree(chain.qat, tmp_path / "qat")
    config = json.loads((tmp_path / "qat" / "config.json").read_bytes())
    config["interface"]["classes"][-1] = "violet"
    (tmp_path / "qat" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ExportError, match="violet"):
        export_onnx(chain.checkpoint, chain.ptq, tmp_path / "qat", chain.dataset, tmp_path / "onnx")
    assert not (tmp_path / "onnx").exists()


def test_the_float_checkpoint_exports_with_the_same_interface(tmp_path):
    export_float(whole().checkpoint, tmp_path / "float.onnx")
    model = onnx.load(tmp_path / "float.onnx")
    assert {node.op_type for node in model.graph.node}.isdisjoint({"QuantizeLinear", "DequantizeLinear"})
    assert tuple(output.name for output in model.graph.output) == INTERFACE.head_names
