"""Statements follow the published specifications, and have the same bytes for the same history."""

import json
from datetime import datetime, timedelta

import pytest
from google.protobuf.json_format import ParseDict
from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import Provenance
from in_toto_attestation.predicates.test_result.v0.test_result_pb2 import TestResult as ResultMessage
from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor
from in_toto_attestation.v1.resource_descriptor_pb2 import ResourceDescriptor as ResourceDescriptorMessage
from in_toto_attestation.v1.statement import Statement
from in_toto_attestation.v1.statement_pb2 import Statement as StatementMessage

from robot_assets.lineage.chain import Chain
from robot_assets.lineage.code import CODE_RULE
from robot_assets.lineage.record import by_module
from robot_assets.provenance.errors import ProvenanceError
from robot_assets.provenance.statements import gates_statement, provenance_statement
from robot_assets.provenance.subjects import read_subjects
from tests.provenance.conftest import COMMIT, ENGINE, RUN, gate, with_head


@pytest.fixture
def subjects(built):
    return read_subjects(built.engine)


def dependencies(statement):
    found = json.loads(statement)["predicate"]["buildDefinition"]["resolvedDependencies"]
    return {one["name"]: one for one in found}


def test_the_provenance_validates_against_the_published_schemas(built, subjects):
    document = json.loads(provenance_statement(built.chain, subjects))
    Statement.copy_from_pb(ParseDict(document, StatementMessage())).validate()
    assert document["predicateType"] == "https://slsa.dev/provenance/v1"
    predicate = ParseDict(document["predicate"], Provenance())  # refuses a field that is not in the schema
    for descriptor in predicate.build_definition.resolved_dependencies:
        ResourceDescriptor.copy_from_pb(descriptor).validate()


def test_the_gate_results_validate_against_the_published_schemas(built, subjects):
    document = json.loads(gates_statement(built.chain, subjects))
    Statement.copy_from_pb(ParseDict(document, StatementMessage())).validate()
    assert document["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
    predicate = ParseDict(document["predicate"], ResultMessage())
    assert predicate.result == "PASSED"
    for descriptor in predicate.configuration:
        ResourceDescriptor.copy_from_pb(descriptor).validate()


def test_the_provenance_has_all_that_slsa_requires(built, subjects):
    predicate = json.loads(provenance_statement(built.chain, subjects))["predicate"]
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


def test_the_subjects_are_the_files_of_the_engine(built, subjects):
    document = json.loads(provenance_statement(built.chain, subjects))
    assert [subject["name"] for subject in document["subject"]] == ["engine.onnx", "manifest.json"]
    for subject in document["subject"]:
        assert (len(subject["digest"]["sha256"]), len(subject["digest"]["md5"])) == (64, 32)


def test_every_link_below_the_engine_is_a_dependency_by_its_dvc_hash(built, subjects):
    found = dependencies(provenance_statement(built.chain, subjects))
    for link in built.chain.links[1:]:
        assert found[link.asset]["digest"] == {"md5": link.version.removesuffix(".dir")}
        assert found[link.asset]["uri"].endswith(f"{link.asset}@{link.version}")


def test_code_and_container_image_are_dependencies(built, subjects):
    found = dependencies(provenance_statement(built.chain, subjects))
    code = found[f"code of {ENGINE}"]
    assert code["digest"] == {"gitCommit": COMMIT}
    assert code["uri"].endswith("c" * 32)
    modules = by_module({"robot_assets.engines.onnxruntime.build:build_engine": "d" * 12})
    assert list(modules) == ["robot_assets.engines.onnxruntime.build"]
    assert code["annotations"] == {"modules": modules, "rule": CODE_RULE, "uncommittedChanges": False}
    assert found[f"image of {ENGINE}"]["digest"] == {"sha256": "e" * 64}


def test_the_code_of_a_record_of_rule_1_is_its_modules(built, subjects):
    modules = {"robot_assets.engines.onnxruntime_engine": "d" * 32}
    record = built.chain.head.record.model_copy(update={"code": {}, "code_rule": 1, "modules": modules})
    document = provenance_statement(with_head(built.chain, record=record), subjects)
    code = dependencies(document)[f"code of {ENGINE}"]
    assert code["annotations"] == {"modules": modules, "uncommittedChanges": False}
    ResourceDescriptor.copy_from_pb(ParseDict(code, ResourceDescriptorMessage())).validate()


def test_the_same_history_gives_the_same_bytes(built, subjects):
    again = Chain.model_validate_json(built.chain.model_dump_json())
    assert provenance_statement(again, tuple(reversed(subjects))) == provenance_statement(built.chain, subjects)
    swapped = with_head(built.chain, gates=built.chain.head.gates[::-1])
    assert gates_statement(swapped, subjects) == gates_statement(built.chain, subjects)


@pytest.mark.parametrize(
    ("gates", "passed", "failed", "result"),
    [
        ((gate("accuracy"),), ["accuracy"], [], "PASSED"),
        ((gate("accuracy"), gate("latency", passed=False)), ["accuracy"], ["latency"], "FAILED"),
        ((), [], [], "FAILED"),
    ],
    ids=["one was not evaluated", "one failed", "none was evaluated"],
)
def test_a_statement_is_about_the_evaluated_gates_and_names_all_expected_ones(
    built, subjects, gates, passed, failed, result
):
    predicate = json.loads(gates_statement(with_head(built.chain, gates=gates), subjects))["predicate"]
    assert predicate["result"] == result
    assert (predicate["passedTests"], predicate["failedTests"]) == (passed, failed)
    assert [one["name"] for one in predicate["configuration"]] == ["accuracy", "latency"]


def test_an_engine_without_gates_has_passed_none(built, subjects):
    chain = with_head(built.chain, gates=(), expected_gates=())
    assert json.loads(gates_statement(chain, subjects))["predicate"]["result"] == "FAILED"


def test_a_gate_that_is_no_longer_asked_for_does_not_count(built, subjects):
    chain = with_head(built.chain, gates=(*built.chain.head.gates, gate("noise", passed=False)))
    predicate = json.loads(gates_statement(chain, subjects))["predicate"]
    assert predicate["result"] == "PASSED"
    assert predicate["failedTests"] == []


def test_figures_of_a_gate_are_signed_and_series_are_not(built, subjects):
    odd = gate("latency").model_copy(update={"facts": {"p95": float("nan"), "budget": 40, "latencies_ms": [1.0]}})
    predicate = json.loads(gates_statement(with_head(built.chain, gates=(gate("accuracy"), odd)), subjects))
    facts = predicate["predicate"]["configuration"][1]["annotations"]["facts"]
    assert facts == {"p95": "nan", "budget": 40}


def test_other_files_than_the_version_at_the_head_are_not_signed(built, subjects):
    for statement in (provenance_statement, gates_statement):
        with pytest.raises(ProvenanceError, match="not the version"):
            statement(built.chain, subjects[:1])


def test_an_engine_without_a_record_is_not_signed(built, subjects):
    with pytest.raises(ProvenanceError, match="there is no record"):
        provenance_statement(with_head(built.chain, record=None), subjects)
