"""In-toto statements about an engine. Byte for byte the same for the same history.

Two statements, both about the files of one engine directory:

* how it was made: SLSA provenance v1, https://slsa.dev/spec/v1.0/provenance
* the results of its gates: test result v0.1,
  https://github.com/in-toto/attestation/blob/main/spec/predicates/test-result.md

Only fields of those specifications are written; fields of our own are in ``annotations`` and in the parameters, which
are open. ``docs/provenance.md`` describes the build type.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Any

from robot_assets.lineage.chain import Chain, GateRecord, Link
from robot_assets.lineage.record import Record, by_module
from robot_assets.provenance.errors import ProvenanceError
from robot_assets.provenance.subjects import Subject, version_of

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PROVENANCE_TYPE = "https://slsa.dev/provenance/v1"
TEST_RESULT_TYPE = "https://in-toto.io/attestation/test-result/v0.1"
BUILD_TYPE = "urn:robot-assets:build:v1"
BUILDER = "urn:robot-assets:builder:v1"

Json = dict[str, Any]


def provenance_statement(chain: Chain, subjects: Sequence[Subject]) -> bytes:
    """The statement about how the engine at the head of ``chain`` was made.

    Args:
        chain: The engine and everything below it.
        subjects: The files of the engine.

    Raises:
        ProvenanceError: The files are not the version at the head, or it has no record.
    """
    head, record = chain.head, _record_of(chain.head)
    predicate = {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {"asset": head.asset, "params": record.params},
            "internalParameters": {
                "dataVersion": head.version,
                "desiredState": record.desired_state,
                "node": record.node,
            },
            "resolvedDependencies": list(_dependencies(chain)),
        },
        "runDetails": {
            "builder": {"id": BUILDER, "version": {"robot-assets": version("robot-assets"), **record.libraries}},
            "metadata": {"invocationId": record.run_id, **_times(record)},
        },
    }
    return _statement(head, subjects, PROVENANCE_TYPE, predicate)


def gates_statement(chain: Chain, subjects: Sequence[Subject]) -> bytes:
    """The statement about the results of the gates of the engine at the head of ``chain``.

    The result is PASSED when all gates that the chain has an evaluation of have passed. ``configuration`` has every
    gate that params.yaml describes, so that a statement about one gate names the other expected ones.

    Args:
        chain: The engine with its gates.
        subjects: The files of the engine.

    Raises:
        ProvenanceError: The files are not the version at the head.
    """
    head = chain.head
    evaluated = {gate.name: gate for gate in head.gates if gate.name in head.expected_gates}
    passed = sorted(name for name, gate in evaluated.items() if gate.passed)
    expected = sorted(set(head.expected_gates))
    predicate = {
        "result": "PASSED" if passed and len(passed) == len(evaluated) else "FAILED",
        "configuration": [_gate(name, evaluated.get(name)) for name in expected],
        "passedTests": passed,
        "failedTests": sorted(name for name, gate in evaluated.items() if not gate.passed),
    }
    return _statement(head, subjects, TEST_RESULT_TYPE, predicate)


def _statement(head: Link, subjects: Sequence[Subject], predicate_type: str, predicate: Json) -> bytes:
    if (found := version_of(subjects)) != head.version:
        raise ProvenanceError(
            f"the files of {head.asset} are {found}, not the version {head.version} that is to be signed",
            needed="exactly the bytes that the build wrote",
            fix=f"check the store for damage, then run: robot-assets build {head.asset}",
        )
    document = {
        "_type": STATEMENT_TYPE,
        "subject": [
            {"name": subject.name, "digest": {"sha256": subject.sha256, "md5": subject.md5}}
            for subject in sorted(subjects)
        ],
        "predicateType": predicate_type,
        "predicate": predicate,
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def _dependencies(chain: Chain) -> Iterator[Json]:
    """Every link below the engine, then the code and the container image of each link."""
    for link in chain.links[1:]:
        yield _artifact(link)
    for link in chain.links:
        if link.record is not None:
            yield _code(link.asset, link.record)
    for link in chain.links:
        if link.record is not None and link.record.image:
            yield _image(link.asset, link.record.image)


def _artifact(link: Link) -> Json:
    annotations: Json = {"gates": {gate.name: "PASSED" if gate.passed else "FAILED" for gate in link.gates}}
    if link.record is not None:
        record = link.record
        annotations |= {
            "inputs": record.inputs,
            "libraries": record.libraries,
            "node": record.node,
            "params": record.params,
            "runId": record.run_id,
            **_times(record),
        }
    if link.observed_at is not None:
        annotations["observedOn"] = _utc(link.observed_at)
    if link.declared:
        annotations["declared"] = link.declared
    if link.hole:
        annotations["hole"] = link.hole
    return {
        "name": link.asset,
        "uri": f"urn:robot-assets:asset:{link.asset}@{link.version}",
        "digest": {"md5": link.version.removesuffix(".dir")},
        "annotations": annotations,
    }


def _code(asset: str, record: Record) -> Json:
    descriptor: Json = {
        "name": f"code of {asset}",
        "uri": f"urn:robot-assets:code:{record.code_version}",
        "annotations": {**_parts(record), "uncommittedChanges": record.git_dirty},
    }
    if record.git_commit:
        descriptor["digest"] = {"gitCommit": record.git_commit}
    return descriptor


def _parts(record: Record) -> Json:
    """The digests that make up a code version, by module: a statement travels to robots, and has no need of more."""
    if record.code_rule == 1:
        return {"modules": record.modules}
    return {"modules": by_module(record.code), "rule": record.code_rule}


def _image(asset: str, image: str) -> Json:
    descriptor: Json = {"name": f"image of {asset}", "uri": f"docker://{image}"}
    if pinned := re.search(r"@sha256:([0-9a-f]{64})$", image):
        descriptor["digest"] = {"sha256": pinned[1]}
    return descriptor


def _gate(name: str, gate: GateRecord | None) -> Json:
    descriptor: Json = {"name": name, "uri": f"urn:robot-assets:gate:{name}"}
    if gate is not None:
        descriptor["annotations"] = {
            "evaluatedOn": _utc(gate.evaluated_at),
            "facts": _figures(gate.facts),
            "runId": gate.run_id,
            "summary": gate.summary,
        }
    return descriptor


def _figures(facts: Json) -> Json:
    """The scalars among the facts of a gate; series such as all latencies are only in the history."""
    return {
        name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in facts.items()
        if isinstance(value, str | int | float)
    }


def _times(record: Record) -> Json:
    return {
        "startedOn": _utc(record.started_at),
        "finishedOn": _utc(record.started_at, timedelta(seconds=record.duration_s)),
    }


def _utc(moment: str, later: timedelta = timedelta()) -> str:
    """An ISO 8601 time as in-toto requires it: RFC 3339 in UTC with a Z, in milliseconds so that text sorts by time."""
    parsed = datetime.fromisoformat(moment)
    known = parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    return (known + later).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _record_of(link: Link) -> Record:
    if link.record is None:
        raise ProvenanceError(
            f"there is no record of how {link.asset} {link.version} was made",
            needed="a version that was built by this system",
            fix=f"robot-assets build {link.asset}",
        )
    return link.record
