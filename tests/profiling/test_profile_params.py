"""``targets.*.profile`` in params.yaml: contradictions are refused with the field to change."""

import pytest

from robot_assets.core.errors import ParamsError
from robot_assets.pipeline.graph import build_graph
from robot_assets.pipeline.params import Params, parse_params
from tests.sample_params import sample_document


def document(profile: dict | None) -> dict:
    document = sample_document()
    document["targets"]["cpu"].pop("profile", None)
    document["targets"]["idle"] = {"kind": "onnxruntime", "gate": {"latency_ms_p95_max": 40}}
    if profile is not None:
        document["targets"]["cpu"]["profile"] = profile
    return document


def params(**profile) -> Params:
    return parse_params(document(profile or None))


TWO = {"sidewalk_detector": {"rate_hz": 15}, "robocup_detector": {"rate_hz": 10}}


def test_a_profile_reads_engines_and_platform_and_its_gate_reads_the_budget():
    graph = build_graph(params(models=TWO, fit={"memory_mib_max": 512}))
    stage = graph["profile/cpu"]
    assert stage.kind == "profile"
    assert stage.inputs == ("sidewalk_detector/engine/cpu", "robocup_detector/engine/cpu", "platform/cpu")
    assert stage.pool == "cpu"
    assert "fit" not in stage.params["profile"]
    [gate] = stage.gates
    assert gate.params == {"missed_percent_max": 1.0, "memory_mib_max": 512.0}


def test_no_stage_reads_a_profile():
    graph = build_graph(params(models=TWO))
    assert not [stage.asset for stage in graph.values() if "profile/cpu" in stage.inputs]


def test_a_target_without_a_profile_has_no_such_stage():
    assert "profile/cpu" not in build_graph(params())
    with pytest.raises(ParamsError, match=r"no targets\.cpu\.profile"):
        params().profile_of("cpu")
    with pytest.raises(ParamsError, match=r"no targets\.nowhere\.profile"):
        params(models=TWO).profile_of("nowhere")


def test_a_profile_changes_no_engine():
    before, after = build_graph(params()), build_graph(params(models=TWO))
    assert {name: stage for name, stage in after.items() if stage.kind != "profile"} == before


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        ({"models": {}}, r"targets\.cpu\.(onnxruntime\.)?profile\.models"),
        ({"models": {"sidewalk": {"rate_hz": 15}}}, r"models\.sidewalk: unknown model 'sidewalk'"),
        ({"models": {"sidewalk_detector": {}}}, r"sidewalk_detector\.rate_hz: missing"),
        ({"models": {"sidewalk_detector": {"rate_hertz": 15}}}, r"rate_hertz: unknown key; did you mean 'rate_hz'"),
        ({"models": {"sidewalk_detector": {"rate_hz": 0}}}, r"rate_hz: .*greater than 0"),
        ({"models": {"sidewalk_detector": {"rate_hz": 15, "phase_ms": 70}}}, r"within one period"),
        ({"models": TWO, "duration_s": 1.5}, r"robocup_detector\.rate_hz is 10: 15 frames; needed 20 or more"),
        ({"models": TWO, "alone_s": 0.4}, r"alone_s of at least 0\.5"),
        ({"models": TWO, "fit": {"missed_percent_max": 100}}, r"missed_percent_max: .*less than 100"),
    ],
)
def test_a_mistake_is_refused_with_its_key(profile, message):
    with pytest.raises(ParamsError, match=message):
        params(**profile)


def test_a_model_that_is_not_built_for_the_target_is_refused():
    found = document({"models": TWO})
    found["models"]["robocup_detector"]["targets"] = ["idle"]
    with pytest.raises(ParamsError, match=r"profile\.models\.robocup_detector: .*is \['idle'\].*built for cpu"):
        parse_params(found)
