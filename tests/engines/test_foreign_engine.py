"""The engine of a graph that was trained elsewhere: its float baseline, its parity budget, its sensitive layers."""

from copy import deepcopy
from pathlib import Path

import pytest

from robot_assets.engines.budgets import FOREIGN_DIFFERING_SHARE_MAX, GateSpec, of_foreign_graph
from robot_assets.engines.gate import GATES, check_engine
from robot_assets.engines.onnxruntime.build import build_engine
from robot_assets.export.onnx_export import export_float
from robot_assets.export.qdq_layers import layers_of
from robot_assets.foreign.onnx_stage import import_onnx
from robot_assets.foreign.spec import ForeignSpec
from robot_assets.pipeline.graph import build_graph
from robot_assets.pipeline.params import parse_params
from robot_assets.sensitivity.analysis import find_sensitive_layers
from robot_assets.sensitivity.latency import measure_variants
from robot_assets.sensitivity.spec import SensitivitySpec
from tests.detector_chain import TARGET, checkpoint_only
from tests.sample_params import sample_document

GATE = of_foreign_graph(GateSpec(accuracy_drop_points_max=8, latency_ms_p95_max=10_000))
SOURCE = {"kind": "onnx", "pointer": "data/onnx/net.dvc", "decoder": "grid"}


@pytest.fixture(scope="module")
def imported(tmp_path_factory) -> Path:
    """Our checkpoint, exported in float and imported."""
    folder = tmp_path_factory.mktemp("imported")
    dataset, checkpoint = checkpoint_only()
    export_float(checkpoint, folder / "net.onnx")
    import_onnx(folder / "net.onnx", dataset, ForeignSpec(task="detection", source=SOURCE), folder / "onnx")
    return folder / "onnx"


def test_its_gates_pass_with_a_budget_for_parity_and_its_own_graph_as_baseline(imported, tmp_path):
    build_engine(imported, TARGET, tmp_path / "engine")
    dataset, _ = checkpoint_only()
    found = check_engine(tmp_path / "engine", GATE, GATES, dataset=dataset, baseline=imported, onnx=imported)
    assert {name: verdict.passed for name, verdict in found.items()} == dict.fromkeys(GATES, True)
    assert found["parity"].facts["parity_differing_share_max"] == FOREIGN_DIFFERING_SHARE_MAX
    assert found["accuracy"].facts["float_map50"] > 0.2


def test_an_engine_that_misunderstands_the_graph_fails_parity(imported, tmp_path):
    """The answers of another file stand for those of a runtime that is wrong without an error."""
    import shutil

    import numpy as np
    from safetensors.numpy import load_file, save_file

    build_engine(imported, TARGET, tmp_path / "engine")
    shutil.copytree(imported, tmp_path / "onnx")
    path = tmp_path / "onnx" / "reference.safetensors"
    heads = load_file(path)
    save_file({name: one if name == "indices" else one + np.float32(1) for name, one in heads.items()}, str(path))
    dataset, _ = checkpoint_only()
    [parity] = check_engine(tmp_path / "engine", GATE, ["parity"], dataset=dataset, onnx=tmp_path / "onnx").values()
    assert not parity.passed
    assert "engine compare" in parity.fix


def test_its_layers_in_float_have_the_weights_of_the_file(imported, tmp_path):
    import onnx

    dataset, _ = checkpoint_only()
    spec = SensitivitySpec(images=8, drop_points_max=100)
    found = find_sensitive_layers(imported, {}, dataset, spec, tmp_path / "found")
    names = {layer.name for layer in layers_of(onnx.load(imported / "model.onnx"))}
    assert {one.layer.name for one in found.layers} == names
    assert len(names) > 20
    timed = measure_variants(imported, [found.layers[0].layer.name], inferences=2, warmup=1)
    assert set(timed.alone) == names


def foreign_params(**target):
    document = deepcopy(sample_document())
    document["models"] = {
        "yard": {
            "task": "detection",
            "dataset": "sidewalk",
            "targets": ["cpu"],
            "source": {**SOURCE, "pointer": "data/onnx/yard.dvc"},
        }
    }
    entry = document["targets"]["cpu"]
    entry.pop("profile")
    entry["gate"] = {"latency_ms_p95_max": 40, **target}
    return parse_params(document)


@pytest.mark.parametrize(
    ("given", "budget"), [({}, FOREIGN_DIFFERING_SHARE_MAX), ({"parity_differing_share_max": 0.2}, 0.2)]
)
def test_its_stage_has_a_budget_for_parity_and_reads_no_checkpoint(given, budget):
    stage = build_graph(foreign_params(**given))["yard/engine/cpu"]
    gates = {gate.name: gate for gate in stage.gates}
    assert gates["parity"].params == {"parity_differing_share_max": budget}
    assert gates["accuracy"].inputs == ("yard/onnx", "datasets/sidewalk")
    assert stage.spec.gate.parity_differing_share_max == budget
