"""Verified statements of trusted keys about exactly these files, the newest of each kind.

A bundle may contain envelopes of other engines, of other signers and of other tools, in any order. Those are skipped
(https://github.com/in-toto/attestation/blob/main/spec/v1/bundle.md), and the reasons kept for the case that none is
left.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar

from robot_assets.provenance.envelope import Signed, open_envelope
from robot_assets.provenance.errors import ProvenanceError
from robot_assets.provenance.public_key import PublicKey, Trust
from robot_assets.provenance.statements import (
    BUILD_TYPE,
    BUILDER,
    PROVENANCE_TYPE,
    STATEMENT_TYPE,
    TEST_RESULT_TYPE,
)
from robot_assets.provenance.subjects import Subject, differences


@dataclass(frozen=True)
class Provenance:
    """A verified statement about how an engine was made.

    Attributes:
        subjects: sha256 of the engine's files, by name.
        signer: The trusted key that signed it.
        made_at: When the build had finished.
        asset: Name of the engine.
        version: Its data version.
        run_id: The run that built it.
        dependencies: Everything that it was made of, as ``resolvedDependencies`` of the statement has it.
    """

    subjects: Mapping[str, str]
    signer: PublicKey
    made_at: datetime
    asset: str
    version: str
    run_id: str
    dependencies: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class GateResults:
    """Verified results of the gates of an engine, the newest of each gate.

    Attributes:
        subjects: sha256 of the engine's files, by name.
        signer: The trusted key that signed the newest statement.
        made_at: When the last of the gates was evaluated.
        passed_gates: Gates that passed.
        failed_gates: Gates that failed.
        open_gates: Expected gates that were not evaluated.
        figures: Measured figures and budgets of each evaluated gate, by name.
    """

    subjects: Mapping[str, str]
    signer: PublicKey
    made_at: datetime
    passed_gates: tuple[str, ...]
    failed_gates: tuple[str, ...]
    open_gates: tuple[str, ...]
    figures: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether every expected gate has passed."""
        return bool(self.passed_gates) and not self.failed_gates and not self.open_gates


@dataclass(frozen=True)
class Evidence:
    """Verified statements about some files.

    Attributes:
        provenance: The newest statement about exactly these files; where there is none, the newest about others, so
            that the differences can be named.
        gates: Results of the gates, for exactly these files.
        refusals: Why envelopes were skipped, one sentence each.
    """

    provenance: Provenance | None
    gates: GateResults | None
    refusals: tuple[str, ...]


_Statement = TypeVar("_Statement", Provenance, GateResults)


def gather(envelopes: Iterable[bytes], subjects: Sequence[Subject], trust: Trust) -> Evidence:
    """Verify envelopes and collect their statements about files.

    Args:
        envelopes: DSSE envelopes as JSON, good and bad, in any order.
        subjects: The present files.
        trust: Whose signatures count.
    """
    provenances: list[Provenance] = []
    gates: list[GateResults] = []
    refusals: list[str] = []
    for envelope in envelopes:
        try:
            statement = _statement(open_envelope(envelope, trust))
        except ProvenanceError as error:
            refusals.append(error.found)
            continue
        if isinstance(statement, Provenance):
            provenances.append(statement)
        else:
            gates.append(statement)
    about_these = _about(provenances, subjects)
    return Evidence(
        provenance=_newest(about_these or provenances),
        gates=_together(_about(gates, subjects)),
        refusals=tuple(dict.fromkeys(refusals)),
    )


def _about(statements: Sequence[_Statement], subjects: Sequence[Subject]) -> list[_Statement]:
    return [statement for statement in statements if not differences(subjects, statement.subjects)]


def _newest(statements: Sequence[_Statement]) -> _Statement | None:
    return max(statements, key=lambda statement: statement.made_at, default=None)


def _together(statements: Sequence[GateResults]) -> GateResults | None:
    """All gate results as one. The newest statement names the expected gates."""
    newest = _newest(statements)
    if newest is None:
        return None
    ended: dict[str, bool] = {}
    figures: dict[str, Mapping[str, Any]] = {}
    for statement in sorted(statements, key=lambda one: one.made_at, reverse=True):
        figures = {**statement.figures, **figures}
        for name in statement.failed_gates:
            ended.setdefault(name, False)
        for name in statement.passed_gates:
            ended.setdefault(name, True)
    expected = {*newest.passed_gates, *newest.failed_gates, *newest.open_gates}
    return replace(
        newest,
        passed_gates=tuple(sorted(name for name in expected if ended.get(name) is True)),
        failed_gates=tuple(sorted(name for name in expected if ended.get(name) is False)),
        open_gates=tuple(sorted(expected - ended.keys())),
        figures={name: figures[name] for name in sorted(expected & figures.keys())},
    )


def _statement(signed: Signed) -> Provenance | GateResults:
    """Read a payload whose signature has been verified.

    Raises:
        ProvenanceError: It is not a statement that this version of robot-assets reads.
    """
    try:
        document: Any = json.loads(signed.payload)
        kind = document["_type"], document["predicateType"]
        subjects = {str(one["name"]): str(one["digest"]["sha256"]) for one in document["subject"]}
        if kind == (STATEMENT_TYPE, PROVENANCE_TYPE):
            return _provenance(document["predicate"], subjects, signed.signer)
        if kind == (STATEMENT_TYPE, TEST_RESULT_TYPE):
            return _gate_results(document["predicate"], subjects, signed.signer)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _refused(f"a signed statement does not parse ({type(error).__name__}: {error})") from None
    raise _refused(f"a signed statement is of the unknown type {kind[1]!r}")


def _provenance(predicate: Any, subjects: Mapping[str, str], signer: PublicKey) -> Provenance:
    build, run = predicate["buildDefinition"], predicate["runDetails"]
    kind = build["buildType"], run["builder"]["id"], set(build["externalParameters"])
    # SLSA: a verifier accepts known builders only, and no unexpected external parameter
    if kind != (BUILD_TYPE, BUILDER, {"asset", "params"}):
        raise ValueError(f"the build type {kind[0]!r} of the builder {kind[1]!r} with {sorted(kind[2])} is not ours")
    return Provenance(
        subjects=subjects,
        signer=signer,
        made_at=_moment(run["metadata"]["finishedOn"]),
        asset=str(build["externalParameters"]["asset"]),
        version=str(build["internalParameters"]["dataVersion"]),
        run_id=str(run["metadata"]["invocationId"]),
        dependencies=tuple(build["resolvedDependencies"]),
    )


def _gate_results(predicate: Any, subjects: Mapping[str, str], signer: PublicKey) -> GateResults:
    passed, failed = set(predicate["passedTests"]), set(predicate["failedTests"])
    expected = {gate["name"]: gate.get("annotations", {}) for gate in predicate["configuration"]}
    return GateResults(
        subjects=subjects,
        signer=signer,
        made_at=max(_moment(expected[name]["evaluatedOn"]) for name in passed | failed),
        passed_gates=tuple(sorted(passed)),
        failed_gates=tuple(sorted(failed)),
        open_gates=tuple(sorted(set(expected) - passed - failed)),
        figures={name: dict(expected[name].get("facts", {})) for name in sorted(passed | failed)},
    )


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return moment


def _refused(found: str) -> ProvenanceError:
    return ProvenanceError(
        found,
        needed="an in-toto statement with SLSA provenance v1 or test results v0.1, as robot-assets writes them",
        fix="verify with the version of robot-assets that signed it, or sign the engine again",
    )
