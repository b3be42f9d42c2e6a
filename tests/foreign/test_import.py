"""A trained detector of ours, exported in float and in int8, comes back as a graph that was trained elsewhere."""

import json
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from robot_assets.core.errors import ExportError, ParamsError
from robot_assets.engines.evaluation import evaluate_engine
from robot_assets.engines.onnxruntime.build import build_engine
from robot_assets.export.onnx_export import export_float
from robot_assets.export.parity import check_parity
from robot_assets.foreign.gate import check_original
from robot_assets.foreign.onnx_stage import import_onnx
from robot_assets.foreign.spec import ForeignSpec
from robot_assets.quantization.artifact import load_quantization
from tests.detector_chain import TARGET, checkpoint_only, ptq_only, whole

FILES = ["metrics.json", "model.json", "model.onnx", "model.safetensors"]
FILES += ["original.safetensors", "parity.json", "reference.safetensors"]


def spec(**more) -> ForeignSpec:
    source = {"kind": "onnx", "pointer": "data/onnx/net.dvc", "decoder": "grid", **more.pop("source", {})}
    return ForeignSpec(task="detection", source=source, **more)


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    """Our checkpoint as a float ONNX."""
    path = tmp_path_factory.mktemp("exported") / "net.onnx"
    export_float(checkpoint_only()[1], path)
    return path


@pytest.fixture(scope="module")
def imported(exported, tmp_path_factory) -> Path:
    """The artifact of its import."""
    out = tmp_path_factory.mktemp("imported") / "onnx"
    import_onnx(exported, checkpoint_only()[0], spec(), out)
    return out


def read(path: Path) -> dict:
    return json.loads(path.read_bytes())


def test_the_engine_is_as_accurate_as_that_of_the_native_path(imported, tmp_path):
    native = whole()
    build_engine(imported, TARGET, tmp_path / "engine")
    ours, theirs = (evaluate_engine(one, native.dataset).metrics for one in (native.engine, tmp_path / "engine"))
    assert 100 * abs(ours.score - theirs.score) <= 0.3


def test_the_scales_are_those_of_the_native_ptq(imported):
    native = load_quantization(ptq_only())
    model = onnx.load(imported / "model.onnx")
    constants = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    found = {round(float(constants[node.input[1]]), 5) for node in model.graph.node if node.op_type == "QuantizeLinear"}
    assert found == {round(scale, 5) for scale in native.scales.values()}
    assert read(imported / "model.json")["choice"]["calibrator"] == native.calibrator


def test_the_artifact_has_the_metrics_of_every_candidate(imported):
    assert sorted(path.name for path in imported.iterdir()) == FILES
    metrics, card = read(imported / "metrics.json"), read(imported / "model.json")
    checkpoint = read(checkpoint_only()[1] / "metrics.json")
    assert set(metrics["val"]) == {"float", "mse", "percentile"}
    assert metrics["val"]["float"]["map50"] == pytest.approx(checkpoint["val"]["map50"], abs=1e-3)
    assert metrics["test"]["float"]["map50"] == pytest.approx(checkpoint["test"]["map50"], abs=1e-3)
    assert card["choice"]["scores_val"]["ptq"] == max(metrics["val"][name]["map50"] for name in ("mse", "percentile"))
    assert card["interface"]["decoder"] == "grid"


def test_both_gates_pass(imported):
    dataset, _ = checkpoint_only()
    assert check_parity(imported, dataset).passed
    verdict = check_original(imported, dataset)
    assert verdict.passed
    assert verdict.facts["differing_share"] == 0


def test_the_same_file_gives_the_same_bytes(imported, exported, tmp_path):
    import_onnx(exported, checkpoint_only()[0], spec(), tmp_path / "again")
    for name in FILES:
        assert (tmp_path / "again" / name).read_bytes() == (imported / name).read_bytes(), name


def test_what_the_owner_declares_changes_no_byte(imported, exported, tmp_path):
    declared = spec(source={"licence": "Apache-2.0", "trained_on": {"data": "yards of Pisa", "url": "https://a.b"}})
    import_onnx(exported, checkpoint_only()[0], declared, tmp_path / "again")
    assert (tmp_path / "again" / "model.json").read_bytes() == (imported / "model.json").read_bytes()
    assert declared.read == spec().read


def test_a_graph_that_was_changed_after_its_import_fails_the_gate_of_the_original(imported, tmp_path):
    for path in imported.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    model = onnx.load(imported / "model.onnx")
    additions = [node for node in model.graph.node if node.op_type == "Add"]
    additions[0].op_type = "Sub"
    onnx.save(model, tmp_path / "model.onnx")
    assert not check_original(tmp_path, checkpoint_only()[0]).passed


def test_an_incomplete_artifact_is_named(imported, tmp_path):
    (tmp_path / "model.json").write_bytes((imported / "model.json").read_bytes())
    (tmp_path / "model.onnx").write_bytes((imported / "model.onnx").read_bytes())
    with pytest.raises(ExportError, match="is not a complete ONNX artifact"):
        check_original(tmp_path, checkpoint_only()[0])


def test_a_graph_with_quantization_is_taken_as_it_is(tmp_path):
    native = whole()
    summary = import_onnx(native.onnx / "model.onnx", native.dataset, spec(), tmp_path / "onnx")
    assert (summary.method, summary.calibrator, summary.drop_points) == ("given", "", 0)
    assert not (tmp_path / "onnx" / "model.safetensors").exists()
    assert set(read(tmp_path / "onnx" / "metrics.json")["test"]) >= {"map50"}
    assert check_parity(tmp_path / "onnx", native.dataset).passed
    assert check_original(tmp_path / "onnx", native.dataset).passed
    build_engine(tmp_path / "onnx", TARGET, tmp_path / "engine")
    ours, theirs = (evaluate_engine(one, native.dataset).metrics for one in (native.engine, tmp_path / "engine"))
    assert ours == theirs


def prefixed(path: Path, nodes: list, constants: list, shape: tuple[int, ...]) -> onnx.ModelProto:
    """The graph at ``path`` behind some nodes, which make ``images`` from ``pixels``."""
    model = onnx.load(path)
    rest = list(model.graph.node)
    del model.graph.node[:], model.graph.input[:]
    model.graph.node.extend([*nodes, *rest])
    model.graph.input.append(helper.make_tensor_value_info("pixels", onnx.TensorProto.FLOAT, shape))
    model.graph.initializer.extend(constants)
    return model


def test_another_preprocessing_gives_the_same_accuracy(exported, imported, tmp_path):
    mean, std = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    columns = {"std": std.reshape(1, 3, 1, 1), "mean": mean.reshape(1, 3, 1, 1), "order": np.array([2, 1, 0])}
    constants = [numpy_helper.from_array(value, name) for name, value in columns.items()]
    nodes = [
        helper.make_node("Mul", ["pixels", "std"], ["scaled"]),
        helper.make_node("Add", ["scaled", "mean"], ["bgr"]),
        helper.make_node("Gather", ["bgr", "order"], ["images"], axis=1),
    ]
    onnx.save(prefixed(exported, nodes, constants, (1, 3, 64, 96)), tmp_path / "net.onnx")
    declared = {"channels": "bgr", "mean": mean.tolist(), "std": std.tolist()}
    import_onnx(tmp_path / "net.onnx", checkpoint_only()[0], spec(input=declared), tmp_path / "onnx")
    ours, theirs = (read(one / "metrics.json")["test"]["float"]["map50"] for one in (imported, tmp_path / "onnx"))
    assert ours == pytest.approx(theirs, abs=1e-4)
    assert read(tmp_path / "onnx" / "model.json")["interface"]["input"]["channels"] == "bgr"


def test_an_nhwc_graph_of_open_batch_gives_the_same_accuracy(exported, imported, tmp_path):
    transpose = helper.make_node("Transpose", ["pixels"], ["images"], perm=[0, 3, 1, 2])
    onnx.save(prefixed(exported, [transpose], [], ("n", 64, 96, 3)), tmp_path / "net.onnx")
    summary = import_onnx(tmp_path / "net.onnx", checkpoint_only()[0], spec(), tmp_path / "onnx")
    assert summary.changes[1] == "input 'pixels' is NHWC: a Transpose from NCHW was added before it"
    assert read(tmp_path / "onnx" / "metrics.json")["val"] == read(imported / "metrics.json")["val"]
    assert check_original(tmp_path / "onnx", checkpoint_only()[0]).passed


def test_outputs_that_the_decoder_does_not_read_are_removed(exported, tmp_path):
    model = onnx.load(exported)
    features = next(node.output[0] for node in model.graph.node if node.op_type == "Relu")
    model.graph.output.append(helper.make_empty_tensor_value_info(features))
    onnx.save(model, tmp_path / "net.onnx")
    summary = import_onnx(tmp_path / "net.onnx", checkpoint_only()[0], spec(), tmp_path / "onnx")
    assert f"output '{features}' removed: the decoder does not read it" in summary.changes
    assert len(read(tmp_path / "onnx" / "model.json")["outputs"]) == 4


def refused(path: Path, kind: type[Exception], out: Path, declared: ForeignSpec) -> str:
    out.parent.mkdir()
    with pytest.raises(kind) as caught:
        import_onnx(path, checkpoint_only()[0], declared, out)
    assert not out.exists()
    assert list(out.parent.iterdir()) == []  # nothing half-written stays
    return str(caught.value)


@pytest.mark.parametrize(
    ("source", "kind", "text"),
    [
        ({"decoder": "gird"}, ParamsError, "source.decoder: .*'gird'.* did you mean 'grid'"),
        ({"options": {"stride": [8]}}, ParamsError, r"source\.options\.stride"),
        ({"decoder": "yolov8"}, ExportError, "decoder yolov8 needs"),
        ({"options": {"strides": [8, 64]}}, ExportError, "multiple"),
    ],
)
def test_a_decoder_that_does_not_fit_is_refused(exported, tmp_path, source, kind, text):
    found = refused(exported, kind, tmp_path / "out" / "onnx", spec(source=source))
    assert re.search(text, found), found


def test_answers_that_are_not_finite_name_the_output(exported, tmp_path):
    model = onnx.load(exported)
    weight = next(one for one in model.graph.initializer if len(one.dims) == 4)
    huge = np.full(tuple(weight.dims), 3e38, np.float32)
    weight.CopyFrom(numpy_helper.from_array(huge, weight.name))
    onnx.save(model, tmp_path / "net.onnx")
    found = refused(tmp_path / "net.onnx", ExportError, tmp_path / "out" / "onnx", spec())
    assert "output 'cls_s8' has values that are not finite on images of val" in found
