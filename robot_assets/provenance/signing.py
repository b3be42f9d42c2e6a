"""Signing an engine when it was built, and its gates when they were evaluated. Doing it again changes nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from robot_assets.lineage.chain import Chain
from robot_assets.pipeline.project import Project
from robot_assets.provenance.envelope import sign
from robot_assets.provenance.keys import signing_key
from robot_assets.provenance.statements import gates_statement, provenance_statement
from robot_assets.provenance.subjects import Subject, read_subjects

_RUN_DIGITS = 8


def sign_engine(project: Project, chain: Chain) -> None:
    """Sign how the engine at the head of ``chain`` was made, and keep that beside the engine in the store.

    Args:
        project: Whose store has the engine, and whose key signs.
        chain: The engine and everything below it.

    Raises:
        ProvenanceError: The key cannot be used, or the store's bytes are not the version at the head.
        StoreError: The store lacks the engine, or cannot take the signature.
    """
    run_id = chain.head.record.run_id if chain.head.record else ""
    _sign(project, chain, f"provenance-{_short(run_id)}", provenance_statement)


def sign_gates(project: Project, chain: Chain) -> None:
    """Sign how the gates of the engine at the head of ``chain`` ended, each by itself.

    Gates run at the same time in processes of their own, and none of them knows how the others end.

    Args:
        project: Whose store has the engine, and whose key signs.
        chain: The engine with its gates; nothing is signed where none was evaluated yet.

    Raises:
        ProvenanceError: As for ``sign_engine``.
        StoreError: As for ``sign_engine``.
    """
    for gate in chain.head.gates:
        if gate.name in chain.head.expected_gates:
            alone = Chain(links=(chain.head.model_copy(update={"gates": (gate,)}), *chain.links[1:]))
            _sign(project, alone, f"gate-{_short(gate.name, 40)}-{_short(gate.run_id)}", gates_statement)


def _sign(project: Project, chain: Chain, name: str, statement: Callable[[Chain, Sequence[Subject]], bytes]) -> None:
    head = chain.head
    payload = statement(chain, read_subjects(project.store.open(head.version)))
    project.store.attest(head.version, name, sign(payload, signing_key(project)))


def _short(text: str, length: int = _RUN_DIGITS) -> str:
    """The first letters of a run id or of a gate's name, fit for a name."""
    return re.sub(r"[^a-z0-9_-]", "-", text.lower())[:length]
