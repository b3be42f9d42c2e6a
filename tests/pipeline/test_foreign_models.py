"""Models of params.yaml that were trained elsewhere: their stages, their gates, and the hole in their lineage."""

import json
from dataclasses import dataclass

import pytest

from robot_assets.core.errors import DataError, ParamsError
from robot_assets.lineage.chain import Chain, Link
from robot_assets.lineage.record import Record
from robot_assets.lineage.report.terminal import plain
from robot_assets.pipeline.graph import build_graph, traits
from robot_assets.pipeline.kind import GateStep, Observer
from robot_assets.pipeline.kinds.engine import judge
from robot_assets.pipeline.names import ENGINE
from robot_assets.pipeline.params import parse_params
from robot_assets.pipeline.registry import kind_of
from robot_assets.provenance.statements import provenance_statement
from robot_assets.provenance.subjects import Subject, version_of
from tests.sample_params import sample_document

SOURCE_ENTRY = {"kind": "onnx", "pointer": "data/onnx/bought.dvc", "decoder": "grid"}
DECLARED = {"licence": "Apache-2.0", "trained_on": {"data": "yards of Pisa"}}


def document(gate: dict | None = None, **source) -> dict:
    """params.yaml with one more model, ``bought``."""
    found = sample_document()
    found["models"]["bought"] = {
        "task": "detection",
        "dataset": "robocup",
        "targets": ["cpu"],
        "source": {**SOURCE_ENTRY, **source},
    }
    found["targets"]["cpu"]["gate"] |= gate or {}
    return found


def graph(**more):
    return build_graph(parse_params(document(**more)))


def test_the_file_is_observed_and_the_graph_is_made_of_it():
    found = graph()
    assert found["bought/source"].is_observed
    assert found["bought/onnx"].inputs == ("bought/source", "datasets/robocup")
    assert [gate.name for gate in found["bought/onnx"].gates] == ["parity", "original"]
    assert not any(name in found for name in ("bought/checkpoint", "bought/ptq", "bought/qat"))


def test_engines_of_it_are_judged_against_the_graph_in_float_and_their_parity_blocks():
    gates = {gate.name: gate for gate in graph()["bought/engine/cpu"].gates}
    assert gates["accuracy"].inputs == ("bought/onnx", "datasets/robocup")
    assert gates["parity"].params["parity_differing_share_max"] == 0.02


def test_what_the_owner_declares_makes_nothing_stale():
    assert graph()["bought/onnx"].params == graph(**DECLARED)["bought/onnx"].params


@pytest.mark.parametrize("key", ["network", "training", "loss"])
def test_what_belongs_to_a_training_is_refused_beside_a_source(key):
    params = document()
    params["models"]["bought"][key] = {}
    with pytest.raises(ParamsError, match=f"models.bought.*{key}"):
        parse_params(params)


def test_qat_is_refused_beside_a_source():
    params = document()
    params["models"]["bought"]["quantization"] = {"qat": {"epochs": 1}}
    with pytest.raises(ParamsError, match=r"models\.bought\.quantization\.qat"):
        parse_params(params)


@pytest.mark.parametrize("pointer", ["/etc/net.dvc", "../net.dvc", "data/net.onnx", "~/net.dvc", "$HOME/net.dvc"])
def test_a_pointer_outside_of_the_project_is_refused(pointer):
    with pytest.raises(ParamsError, match="needed a relative path inside the project"):
        parse_params(document(pointer=pointer))


@dataclass
class Project:
    """What observing reads of a project."""

    root: object
    params: object


def test_an_observation_has_the_hash_and_what_the_owner_declares(tmp_path):
    kind, name = kind_of("bought/source")
    project = Project(tmp_path, parse_params(document(**DECLARED)))
    (tmp_path / "data" / "onnx").mkdir(parents=True)
    with pytest.raises(DataError, match="no pointer at"):
        kind.observation.observe(Observer(project), name)
    pointer = f"outs:\n- md5: {'3' * 32}\n  size: 12\n  hash: md5\n  path: bought\n"
    (tmp_path / "data" / "onnx" / "bought.dvc").write_text(pointer)
    found = kind.observation.observe(Observer(project), name)
    assert found.version == "3" * 32
    assert found.facts["licence"] == "Apache-2.0"
    assert json.loads(found.facts["trained_on"]) == DECLARED["trained_on"]


def test_its_source_and_weights_of_others_are_holes():
    assert traits("bought/source").hole == "trained elsewhere"
    assert traits("weights/backbone").hole == "trained elsewhere"
    assert traits("robocup_detector/checkpoint").hole == ""


def holed_chain(subject: Subject) -> Chain:
    made = Record(
        asset="bought/engine/cpu",
        data_version=version_of([subject]),
        code_version="c" * 32,
        desired_state="d" * 32,
        inputs={"bought/source": "3" * 32},
        params={},
        git_commit="e" * 40,
        git_dirty=False,
        image=None,
        node="jetson",
        libraries={},
        size_bytes=1,
        files=1,
        started_at="2026-11-27T20:00:00+00:00",
        duration_s=1.0,
        run_id="run",
    )
    links = (
        Link(asset="bought/engine/cpu", version=made.data_version, record=made),
        Link(
            asset="bought/source",
            version="3" * 32,
            observed_at="2026-11-27T19:00:00+00:00",
            declared={"licence": "Apache-2.0"},
            hole="trained elsewhere",
        ),
    )
    return Chain(links=links)


def test_an_audit_and_a_signed_statement_have_the_hole():
    subject = Subject("engine.onnx", "a" * 64, "b" * 32)
    chain = holed_chain(subject)
    assert chain.holes == ("bought/source: trained elsewhere",)
    text = plain(chain)
    assert "clean, and not complete" in text
    assert "2 steps, 1 hole" in text
    assert "hole: trained elsewhere" in text
    statement = json.loads(provenance_statement(chain, [subject]))
    found = statement["predicate"]["buildDefinition"]["resolvedDependencies"][0]
    assert found["annotations"]["hole"] == "trained elsewhere"
    assert found["annotations"]["declared"] == {"licence": "Apache-2.0"}


@pytest.mark.parametrize(("model", "passed"), [("bought", False), ("robocup_detector", True)])
def test_a_target_can_forbid_holes(tmp_path, model, passed):
    asset = f"{model}/engine/cpu"
    assert "no_holes" not in [gate.name for gate in graph()[asset].gates]
    stage = graph(gate={"no_holes": True})[asset]
    asked = tuple(gate for gate in stage.gates if gate.name == "no_holes")
    verdict = judge(
        GateStep(stage, ENGINE.name(model=model, target="cpu"), asked, tmp_path, {}, Project(tmp_path, None))
    )["no_holes"]
    assert verdict.passed is passed
    assert ("bought/source" in verdict.summary) is not passed
