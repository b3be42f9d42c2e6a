"""The section ``sensitivity`` of params.yaml, and its effect on the graph of assets."""

from copy import deepcopy

import pytest

from robot_assets.core.errors import ParamsError
from robot_assets.lineage.code import Code
from robot_assets.pipeline.graph import build_graph
from robot_assets.pipeline.params import parse_params

MODEL = "yard_detector"


@pytest.fixture
def document() -> dict:
    return {
        "store": {"url": "store"},
        "datasets": {
            "yard": {
                "source": {"kind": "dvc", "pointer": "data/raw/yard.dvc"},
                "classes": ["person"],
                "split": {"train": 0.7, "val": 0.15, "test": 0.15},
            }
        },
        "models": {
            MODEL: {
                "task": "detection",
                "dataset": "yard",
                "targets": ["cpu"],
                "network": {"input_height": 96, "input_width": 128, "width": 16},
                "training": {"epochs": 2},
                "quantization": {"qat": {"epochs": 1}},
            }
        },
        "targets": {
            "cpu": {"kind": "onnxruntime", "gate": {"accuracy_drop_points_max": 1.0, "latency_ms_p95_max": 40}}
        },
    }


def with_sensitivity(document: dict, section: dict | None, **more) -> dict:
    changed = deepcopy(document)
    changed["models"][MODEL]["quantization"] |= {"sensitivity": section, **more}
    return changed


def stages(document: dict) -> dict:
    return build_graph(parse_params(document))


def test_without_a_section_there_is_no_sensitivity_asset(document):
    assert f"{MODEL}/sensitivity" not in stages(document)


def test_with_a_section_there_is_one_and_no_other_stage_changes(document):
    before, after = stages(document), stages(with_sensitivity(document, {"images": 64}))
    found = after.pop(f"{MODEL}/sensitivity")
    assert found.kind == "sensitivity"
    assert found.inputs == (f"{MODEL}/onnx", f"{MODEL}/ptq", f"{MODEL}/qat", "datasets/yard")
    assert after == before


def test_mixed_precision_changes_only_the_onnx_input_of_engines(document):
    before = stages(with_sensitivity(document, {}))
    after = stages(with_sensitivity(document, {}, mixed_precision=True))
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {name for name, stage in before.items() if stage.asset.startswith(f"{MODEL}/engine/")}
    assert {after[name].inputs[0] for name in changed} == {f"{MODEL}/sensitivity"}
    parity = {gate.inputs[0] for name in changed for gate in after[name].gates if gate.name == "parity"}
    assert parity == {f"{MODEL}/sensitivity"}, "an engine is compared with the graph that it was built from"


def test_the_default_bound_is_the_strictest_gate_of_the_targets(document):
    document["targets"]["slow"] = deepcopy(document["targets"]["cpu"])
    document["targets"]["slow"]["gate"]["accuracy_drop_points_max"] = 0.4
    document["models"][MODEL]["targets"] = ["cpu", "slow"]
    params = parse_params(with_sensitivity(document, {}))
    assert params.sensitivity_of(MODEL).drop_points_max == 0.4
    stage = build_graph(params)[f"{MODEL}/sensitivity"]
    assert stage.params["sensitivity"]["drop_points_max"] == 0.4


def test_a_given_bound_may_be_stricter_than_the_gates_and_not_looser(document):
    params = parse_params(with_sensitivity(document, {"drop_points_max": 0.2}))
    assert params.sensitivity_of(MODEL).drop_points_max == 0.2
    with pytest.raises(ParamsError, match=r"sensitivity\.drop_points_max is 1\.5, and the strictest .* allows 1"):
        parse_params(with_sensitivity(document, {"drop_points_max": 1.5}))


@pytest.mark.parametrize(
    ("section", "more", "message"),
    [
        (None, {"mixed_precision": True}, "mixed_precision needs a section sensitivity"),
        ({"max_layers": 3}, {}, r"sensitivity\.max_layers: unknown key; did you mean 'max_float_layers'"),
        ({"images": 2}, {}, r"sensitivity\.images: needed 8 or more"),
        ({"metric": "accuracy"}, {}, r"sensitivity\.metric: .*'score' or 'output_error'"),
        ({"metric": "map50"}, {}, r"sensitivity\.metric: map50 is called score now"),
    ],
)
def test_a_mistake_is_named_with_its_key(document, section, more, message):
    with pytest.raises(ParamsError, match=message):
        parse_params(with_sensitivity(document, section, **more))


def test_the_search_and_the_stages_before_it_do_not_share_their_code(document):
    code, graph = Code(), stages(with_sensitivity(document, {}))
    for name in ("ptq", "qat", "onnx", "checkpoint"):
        modules = code.modules(graph[f"{MODEL}/{name}"].code)
        assert not [module for module in modules if module.startswith("robot_assets.sensitivity.")]
    modules = code.modules(graph[f"{MODEL}/sensitivity"].code)
    others = ("robot_assets.quantization.", "robot_assets.figures", "robot_assets.tasks.detection.network")
    assert not [module for module in modules if module.startswith(others)]
