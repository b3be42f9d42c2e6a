"""Signing an engine after its build, and its gates after their evaluation. Repeating it changes nothing."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence

from robot_assets.lineage.chain import Chain
from robot_assets.provenance.envelope import sign
from robot_assets.provenance.keys import KeyLocation, signing_key
from robot_assets.provenance.statements import gates_statement, provenance_statement
from robot_assets.provenance.subjects import Subject, read_subjects
from robot_assets.store import Store

_RUN_DIGITS = 8
_ASSET_DIGITS = 6


def sign_engine(store: Store, key: KeyLocation, chain: Chain) -> None:
    """Sign how the engine at the head of ``chain`` was made, and keep the statement beside the engine in the store.

    Args:
        store: Has the engine.
        key: Where the signing key is.
        chain: The engine and everything below it.

    Raises:
        ProvenanceError: The key cannot be used, or the store's bytes are not the version at the head.
        StoreError: The store lacks the engine, or cannot be written to.
    """
    run_id = chain.head.record.run_id if chain.head.record else ""
    _sign(store, key, chain, f"provenance-{_short(run_id)}", provenance_statement)


def sign_gates(store: Store, key: KeyLocation, chain: Chain) -> None:
    """Sign the results of the gates of the engine at the head of ``chain``, each in a statement of its own.

    Gates run at the same time in separate processes, and none of them knows the results of the others.

    Args:
        store: Has the engine.
        key: Where the signing key is.
        chain: The engine with its gates; nothing is signed where none was evaluated yet.

    Raises:
        ProvenanceError: As for ``sign_engine``.
        StoreError: As for ``sign_engine``.
    """
    for gate in chain.head.gates:
        if gate.name in chain.head.expected_gates:
            alone = Chain(links=(chain.head.model_copy(update={"gates": (gate,)}), *chain.links[1:]))
            _sign(store, key, alone, f"gate-{_short(gate.name, 40)}-{_short(gate.run_id)}", gates_statement)


def _sign(
    store: Store, key: KeyLocation, chain: Chain, name: str, statement: Callable[[Chain, Sequence[Subject]], bytes]
) -> None:
    version = chain.head.version
    payload = statement(chain, read_subjects(store.open(version)))
    # engines of two targets may be the same bytes, built by one run: one must not replace the statement of the other
    asset = hashlib.md5(chain.head.asset.encode(), usedforsecurity=False).hexdigest()[:_ASSET_DIGITS]
    store.attest(version, f"{name}-{asset}", sign(payload, signing_key(key)))


def _short(text: str, length: int = _RUN_DIGITS) -> str:
    """The first letters of a run id or of a gate's name, with only characters that a name may have."""
    return re.sub(r"[^a-z0-9_-]", "-", text.lower())[:length]
