"""Statements say what happened, in the words of the published specifications, and always with the same bytes."""

import json
from datetime import datetime, timedelta

import pytest
from google.protobuf.json_format import ParseDict
from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import Provenance
from in_toto_attestation.predicates.test_result.v0.test_result_pb2 import TestResult as ResultMessage
from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor
from in_toto_attestation.v1.statement import Statement
from in_toto_attestation.v1.statement_pb2 import Statement as StatementMessage

from robot_assets.lineage.chain import Chain
from robot_assets.provenance.errors import ProvenanceError
from robot_assets.provenance.statements import gates_statement, provenance_statement
from robot_assets.provenance.subjects import read_subjects
from tests.provenance.conftest import COMMIT, ENGINE, RUN, gate, with_head


@pytest.fixture
def subjects(workshop):
    return read_subjects(workshop.engine)


def dependencies(statement):
    found = json.loads(statement)["predicate"]["buildDefinition"]["resolvedDependencies"]
    return {one["name"]: one for one in found}


def test_the_provenance_is_what_the_published_schemas_know(workshop, subjects):
    document = json.loads(provenance_statement(workshop.chain, subjects))
    Statement.copy_from_pb(ParseDict(document, StatementMessage())).validate()
    assert document["predicateType"] == "https://slsa.dev/provenance/v1"
    predicate = ParseDict(document["predicate"], Provenance())  # refuses a field that is not in the schema
    for descriptor in predicate.build_definition.resolved_dependencies:
        ResourceDescriptor.copy_from_pb(descriptor).validate()


def test_the_gates_are_what_the_published_schemas_know(workshop, subjects):
    document = json.loads(gates_statement(workshop.chain, subjects))
    Statement.copy_from_pb(ParseDict(document, StatementMessage())).validate()
    assert document["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
    predicate = ParseDict(document["predicate"], ResultMessage())
    assert predicate.result == "PASSED"
    for descriptor in predicate.configuration:
        ResourceDescriptor.copy_from_pb(descriptor).validate()


def test_all_that_slsa_requires_is_there(workshop, subjects):
    predicate = json.loads(provenance_statement(workshop.chain, subjects))["predicate"]
    definition, details = predicate["buildDefinition"], predicate["runDetails"]
    assert ":" in definition["buildType"]
    assert definition["externalParameters"]["asset"] == ENGINE
    assert definition["externalParameters"]["params"]["target"]["threads"] == 1
    assert ":" in details["builder"]["id"]
    assert details["metadata"]["invocationId"] == RUN
    started, finished = (details["metadata"][name] for name in ("startedOn", "finishedOn"))
    assert started == "2026-03-01T08:00:00.000Z"
    assert datetime.fromisoformat(finished) - datetime.fromisoformat(started) == timedelta(seconds=1.25)
    assert definition["internalParameters"]["node"] == "orin-07"
    assert details["builder"]["version"]["onnxruntime"] == "1.32.0"


def test_the_subjects_are_the_files_of_the_engine(workshop, subjects):
    document = json.loads(provenance_statement(workshop.chain, subjects))
    assert [subject["name"] for subject in document["subject"]] == ["engine.onnx", "manifest.json"]
    for subject in document["subject"]:
        assert (len(subject["digest"]["sha256"]), len(subject["digest"]["md5"])) == (64, 32)


def test_every_link_below_the_engine_is_a_dependency_by_its_dvc_hash(workshop, subjects):
    found = dependencies(provenance_statement(workshop.chain, subjects))
    for link in workshop.chain.links[1:]:
        assert found[link.asset]["digest"] == {"md5": link.version.removesuffix(".dir")}
        assert found[link.asset]["uri"].endswith(f"{link.asset}@{link.version}")


def test_code_and_container_image_are_dependencies(workshop, subjects):
    found = dependencies(provenance_statement(workshop.chain, subjects))
    code = found[f"code of {ENGINE}"]
    assert code["digest"] == {"gitCommit": COMMIT}
    assert code["uri"].endswith("c" * 32)
    assert code["annotations"]["uncommittedChanges"] is False
    assert found[f"image of {ENGINE}"]["digest"] == {"sha256": "e" * 64}


def test_the_same_history_gives_the_same_bytes(workshop, subjects):
    again = Chain.model_validate_json(workshop.chain.model_dump_json())
    assert provenance_statement(again, tuple(reversed(subjects))) == provenance_statement(workshop.chain, subjects)
    swapped = with_head(workshop.chain, gates=workshop.chain.head.gates[::-1])
    assert gates_statement(swapped, subjects) == gates_statement(workshop.chain, subjects)


@pytest.mark.parametrize(
    ("gates", "passed", "failed", "result"),
    [
        ((gate("accuracy"),), ["accuracy"], [], "PASSED"),
        ((gate("accuracy"), gate("latency", passed=False)), ["accuracy"], ["latency"], "FAILED"),
        ((), [], [], "FAILED"),
    ],
    ids=["one was not evaluated", "one failed", "none was evaluated"],
)
def test_a_statement_is_about_what_was_evaluated_and_names_all_that_is_asked_for(
    workshop, subjects, gates, passed, failed, result
):
    predicate = json.loads(gates_statement(with_head(workshop.chain, gates=gates), subjects))["predicate"]
    assert predicate["result"] == result
    assert (predicate["passedTests"], predicate["failedTests"]) == (passed, failed)
    assert [one["name"] for one in predicate["configuration"]] == ["accuracy", "latency"]


def test_an_engine_without_gates_has_passed_none(workshop, subjects):
    chain = with_head(workshop.chain, gates=(), expected_gates=())
    assert json.loads(gates_statement(chain, subjects))["predicate"]["result"] == "FAILED"


def test_a_gate_that_is_no_longer_asked_for_does_not_count(workshop, subjects):
    chain = with_head(workshop.chain, gates=(*workshop.chain.head.gates, gate("noise", passed=False)))
    predicate = json.loads(gates_statement(chain, subjects))["predicate"]
    assert predicate["result"] == "PASSED"
    assert predicate["failedTests"] == []


def test_figures_of_a_gate_are_signed_and_series_are_not(workshop, subjects):
    odd = gate("latency").model_copy(update={"facts": {"p95": float("nan"), "budget": 40, "latencies_ms": [1.0]}})
    predicate = json.loads(gates_statement(with_head(workshop.chain, gates=(gate("accuracy"), odd)), subjects))
    facts = predicate["predicate"]["configuration"][1]["annotations"]["facts"]
    assert facts == {"p95": "nan", "budget": 40}


def test_other_files_than_the_version_at_the_head_are_not_signed(workshop, subjects):
    for statement in (provenance_statement, gates_statement):
        with pytest.raises(ProvenanceError, match="not the version"):
            statement(workshop.chain, subjects[:1])


def test_an_engine_of_unknown_making_is_not_signed(workshop, subjects):
    with pytest.raises(ProvenanceError, match="nothing is recorded"):
        provenance_statement(with_head(workshop.chain, record=None), subjects)
